//! The routes, each with its documentation: a handler cannot be routed without being in the document, nor the other way round.

use super::{ApiState, accounts, blocks, events, evidence, holds, spending, status, submit, transactions};
use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::{Config, SwaggerUi};

/// Where the document is.
const DOCUMENT_PATH: &str = "/openapi.json";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Farthing node",
        description = "Accounts, and fee-free signed transfers that are final in well under a second.\n\n\
            Amounts are strings of decimal digits, in mites: 1 FAR is 1,000,000,000 mites. Times are milliseconds since the Unix \
            epoch. Hashes, keys and signatures are hexadecimal digits.\n\n\
            A transaction is *final* when its commit is decided and synced at this node, and *certified* when a quorum of \
            validators attests its block: then there is a receipt that anybody can verify offline.\n\n\
            Errors are `application/problem+json` (RFC 9457); decide by `code`. Any endpoint may also answer 429 \
            (`too_many_requests`), 500 (`internal`) and 503 (`unavailable`); with 429 and 503 comes `Retry-After`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "transactions", description = "Submitting transactions, and what became of them."),
        (name = "accounts", description = "Balances, bandwidth, delegated keys, policies, proofs and history."),
        (name = "holds", description = "Money set aside: deposits, tabs, payment channels, swaps."),
        (name = "references", description = "What was paid with a payee's own mark."),
        (name = "events", description = "What happens, as it happens: Server-Sent Events that resume without a gap."),
        (name = "blocks", description = "The ledger's blocks."),
        (name = "node", description = "The node, its committee and its network."),
        (name = "operation", description = "For whoever runs the node."),
    ),
)]
struct Document;

/// All routes, and the document that describes them.
pub(super) fn routes() -> (Router<Arc<ApiState>>, OpenApi) {
    let (router, document) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(submit::submit))
        .routes(routes!(transactions::transaction))
        .routes(routes!(transactions::receipt))
        .routes(routes!(accounts::account))
        .routes(routes!(accounts::account_proof))
        .routes(routes!(accounts::history))
        .routes(routes!(spending::bandwidth))
        .routes(routes!(spending::keys))
        .routes(routes!(spending::key_proof))
        .routes(routes!(spending::policy))
        .routes(routes!(holds::holds))
        .routes(routes!(holds::hold))
        .routes(routes!(holds::hold_proof))
        .routes(routes!(holds::history))
        .routes(routes!(holds::reference))
        .routes(routes!(events::of_account))
        .routes(routes!(events::of_reference))
        .routes(routes!(events::of_hold))
        .routes(routes!(events::of_blocks))
        .routes(routes!(blocks::block))
        .routes(routes!(status::status))
        .routes(routes!(status::validators))
        .routes(routes!(evidence::evidence))
        .routes(routes!(status::genesis))
        .routes(routes!(status::healthz))
        .routes(routes!(status::readyz))
        .routes(routes!(status::metrics))
        .split_for_parts();
    // Swagger UI would otherwise send the document to a validator on the internet.
    let swagger = SwaggerUi::new("/docs").config(Config::new([DOCUMENT_PATH]).validator_url("none"));
    (router.route(DOCUMENT_PATH, get(document_json)).merge(swagger), document)
}

async fn document_json(State(state): State<Arc<ApiState>>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], state.document.clone()).into_response()
}
