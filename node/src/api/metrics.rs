//! What the API counts about itself.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::time::Duration;

/// The content type of the `/metrics` text.
pub(super) const METRICS_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Counters and histograms of the API. Cloning gives another handle to the same numbers.
#[derive(Clone, Debug)]
pub struct ApiMetrics {
    requests: Family<RequestLabels, Counter>,
    latency: Family<RouteLabels, Histogram, fn() -> Histogram>,
    transactions: Counter,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

impl ApiMetrics {
    /// Registers the API's metrics in the node's registry, as `…api_requests_total`, `…api_request_seconds` and
    /// `…api_transactions_total`.
    pub fn register(registry: &mut Registry) -> ApiMetrics {
        let metrics = ApiMetrics {
            requests: Family::default(),
            latency: Family::new_with_constructor(latency_histogram),
            transactions: Counter::default(),
        };
        registry.register("api_requests", "HTTP requests answered, by route", metrics.requests.clone());
        registry.register("api_request_seconds", "Seconds from request to answer, by route", metrics.latency.clone());
        registry.register("api_transactions", "Transactions submitted through the API", metrics.transactions.clone());
        metrics
    }

    /// Counts one answered request. `route` is the pattern that matched, so that clients cannot make labels.
    pub(super) fn answered(&self, route: &str, method: &axum::http::Method, status: u16, took: Duration) {
        let labels = RequestLabels { route: route.into(), method: method_label(method), status };
        self.requests.get_or_create(&labels).inc();
        self.latency.get_or_create(&RouteLabels { route: route.into() }).observe(took.as_secs_f64());
    }

    /// Counts transactions handed to the node.
    pub(super) fn submitted(&self, transactions: usize) {
        self.transactions.inc_by(transactions as u64);
    }
}

/// Clients may invent methods; labels may not be invented.
fn method_label(method: &axum::http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        "POST" => "POST",
        _ => "other",
    }
}

/// 0.5 ms to 16 s, and above.
fn latency_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 16))
}
