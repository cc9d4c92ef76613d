//! The OpenAPI document, the pages, the metrics, and cross-origin requests.

use super::Server;
use super::fake_node::address;
use farthing_client::ProblemCode;
use serde_json::Value;
use std::collections::BTreeSet;

/// Everything there is, but for the document itself and its pages.
const ROUTES: [(&str, &str); 27] = [
    ("get", "/healthz"),
    ("get", "/metrics"),
    ("get", "/readyz"),
    ("get", "/v1/accounts/{address}"),
    ("get", "/v1/accounts/{address}/bandwidth"),
    ("get", "/v1/accounts/{address}/events"),
    ("get", "/v1/accounts/{address}/history"),
    ("get", "/v1/accounts/{address}/holds"),
    ("get", "/v1/accounts/{address}/keys"),
    ("get", "/v1/accounts/{address}/keys/{key}/proof"),
    ("get", "/v1/accounts/{address}/policy"),
    ("get", "/v1/accounts/{address}/proof"),
    ("get", "/v1/blocks/events"),
    ("get", "/v1/blocks/{height}"),
    ("get", "/v1/evidence"),
    ("get", "/v1/genesis"),
    ("get", "/v1/holds/{id}"),
    ("get", "/v1/holds/{id}/events"),
    ("get", "/v1/holds/{id}/history"),
    ("get", "/v1/holds/{id}/proof"),
    ("get", "/v1/references/{reference}"),
    ("get", "/v1/references/{reference}/events"),
    ("get", "/v1/status"),
    ("get", "/v1/transactions/{id}"),
    ("get", "/v1/transactions/{id}/receipt"),
    ("get", "/v1/validators"),
    ("post", "/v1/transactions"),
];

fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let mut operations: Vec<_> = paths
        .iter()
        .flat_map(|(path, item)| {
            let item = item.as_object().expect("an item");
            item.iter().map(|(method, operation)| (method.clone(), path.clone(), operation))
        })
        .collect();
    operations.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    operations
}

#[tokio::test]
async fn the_document_lists_exactly_the_routes() {
    let server = Server::start().await;
    let document: Value = server.get("/openapi.json").await.json();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1.")));
    let operations = operations(&document);
    let listed: Vec<_> = operations.iter().map(|(method, path, _)| (method.as_str(), path.as_str())).collect();
    assert_eq!(listed, ROUTES);
    for (method, path, operation) in operations {
        // The route exists: what is wrong with it is its variable segment or the missing body, never the path or the method.
        let path = path.replace(['{', '}'], "").replace("/blocks/events", "/blocks/events?after=x");
        let status = server.request(&method.to_uppercase(), &path, "", b"").await.status;
        assert!(matches!(status, 200 | 400 | 415), "{method} {path}: {status}");
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}");
        assert!(operation["responses"]["200"]["description"].is_string(), "{method} {path}");
        assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{method} {path}");
    }
}

#[tokio::test]
async fn the_document_describes_errors_and_refers_to_nothing_missing() {
    let server = Server::start().await;
    let text = server.get("/openapi.json").await.text().to_string();
    let document: Value = serde_json::from_str(&text).expect("JSON");
    for (method, path, operation) in operations(&document) {
        for (status, response) in operation["responses"].as_object().expect("responses") {
            if status.starts_with(['4', '5']) {
                let schema = &response["content"]["application/problem+json"]["schema"]["$ref"];
                assert_eq!(schema, "#/components/schemas/Problem", "{method} {path} {status}");
            }
        }
    }
    let prefix = "\"$ref\":\"#/components/schemas/";
    let references: BTreeSet<_> =
        text.match_indices(prefix).filter_map(|(at, _)| text[at + prefix.len()..].split('"').next()).collect();
    assert!(references.contains("SignedTransactionJson") && references.contains("TransactionStatus"));
    for reference in references {
        assert!(document["components"]["schemas"][reference].is_object(), "{reference}");
    }
}

#[tokio::test]
async fn the_pages_come_from_the_node_itself() {
    let server = Server::start().await;
    let moved = server.get("/docs").await;
    assert_eq!((moved.status, moved.header("location")), (303, "/docs/"));
    let page = server.get("/docs/").await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("swagger-ui") && !page.text().contains("https://"));
    assert_eq!(server.get("/docs/swagger-ui-bundle.js").await.status, 200);
    let initializer = server.get("/docs/swagger-initializer.js").await;
    assert!(initializer.text().contains("/openapi.json"));
    assert!(initializer.text().contains("\"validatorUrl\": \"none\""), "{}", initializer.text());
}

#[tokio::test]
async fn metrics_count_by_route() {
    let server = Server::start().await;
    server.get("/healthz").await;
    server.get("/v1/accounts/x").await;
    server.get("/v1/accounts/y").await;
    server.get("/nowhere/1").await;
    server.request("BREW", "/nowhere/2", "", b"").await;
    let payments = [1, 2].map(|nonce| server.node.payment(nonce, &[(address(2), 5, false)]));
    server.post_encoded("", &payments).await;
    let answer = server.get("/metrics").await;
    assert!(answer.header("content-type").starts_with("application/openmetrics-text"));
    for line in [
        "api_requests_total{route=\"/healthz\",method=\"GET\",status=\"200\"} 1",
        "api_requests_total{route=\"/v1/accounts/{address}\",method=\"GET\",status=\"400\"} 2",
        "api_requests_total{route=\"none\",method=\"GET\",status=\"404\"} 1",
        "api_requests_total{route=\"none\",method=\"other\",status=\"404\"} 1",
        "api_requests_total{route=\"/v1/transactions\",method=\"POST\",status=\"202\"} 0",
        "api_requests_total{route=\"/v1/transactions\",method=\"POST\",status=\"200\"} 1",
        "api_request_seconds_count{route=\"/v1/accounts/{address}\"} 2",
        "api_transactions_total 2",
    ] {
        let counted = !line.ends_with(" 0");
        assert_eq!(answer.text().lines().any(|seen| seen == line), counted, "{line}\n{}", answer.text());
    }
    assert!(answer.text().ends_with("# EOF\n"));
}

#[tokio::test]
async fn other_origins_may_read_and_not_submit() {
    let server = Server::start().await;
    let origin = "origin: https://shop.example\r\n";
    let answer = server.request("GET", "/v1/status", origin, b"").await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, "*"));
    let answer = server.request("GET", "/v1/accounts/x", origin, b"").await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (400, "*"));
    let preflight =
        format!("{origin}access-control-request-method: POST\r\naccess-control-request-headers: content-type\r\n");
    let answer = server.request("OPTIONS", "/v1/transactions", &preflight, b"").await;
    assert_eq!(answer.header("access-control-allow-methods"), "GET");
    assert_eq!(answer.header("access-control-allow-headers"), "");
    // What needs no preflight is no submission.
    let answer =
        server.request("POST", "/v1/transactions", &format!("{origin}content-type: text/plain\r\n"), b"x").await;
    answer.assert_problem(ProblemCode::UnsupportedMediaType, "");
}
