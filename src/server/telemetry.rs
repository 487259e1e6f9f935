//! Logs and metrics: how both are set up, and what is said about each HTTP request.

use std::any::Any;
use std::io::IsTerminal as _;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::FutureExt as _;
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span, error, field, info_span};
use tracing_subscriber::EnvFilter;

use super::config::{LogArgs, LogFormat};

/// Name of the header that names a request.
pub static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// At 10,000 requests a second this keeps half a megabyte of measurements.
const SUMMED_UP_EVERY: Duration = Duration::from_secs(5);
/// Bounds of the duration histograms, in seconds.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Logs go to standard error from here on. A filter that does not read is refused in words.
pub fn start_logging(log: &LogArgs) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&log.log)
        .map_err(|cause| anyhow::anyhow!("--log {}: {cause}; write a level like info, or info,weir=debug", log.log))?;
    let is_terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(is_terminal).with_writer(std::io::stderr);
    let started = match log.log_format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|cause| anyhow::anyhow!("cannot start logging: {cause}"))
}

/// Metrics are recorded from here on. Once for each process.
pub fn start_metrics() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new().set_buckets(&BUCKETS)?.install_recorder()
}

/// Sums up what was measured, again and again: until that is done each measurement is kept by itself, whether anybody reads them or not.
pub async fn sum_up_metrics(metrics: PrometheusHandle, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(SUMMED_UP_EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => metrics.run_upkeep(),
            () = stop.cancelled() => return,
        }
    }
}

/// What the metrics' own listener serves.
pub fn metrics_router(metrics: PrometheusHandle) -> Router {
    Router::new().route("/metrics", get(render)).with_state(Arc::new(metrics))
}

async fn render(State(metrics): State<Arc<PrometheusHandle>>) -> Response {
    metrics.run_upkeep();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render()).into_response()
}

/// Middleware around everything: names the request, opens its span, counts it by route pattern, and turns a panic into a 500 that
/// names the request.
pub async fn observe(mut request: Request, next: Next) -> Response {
    let id = request_id(&request);
    // Pages that fail show it.
    if let Ok(id) = HeaderValue::from_str(&id) {
        request.headers_mut().insert(REQUEST_ID.clone(), id);
    }
    let method = request.method().clone();
    let matched = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = matched.unwrap_or_else(|| "unmatched".to_owned());
    let span =
        info_span!("request", request.id = id, http.method = %method, http.route = route, user.id = field::Empty);
    let began = Instant::now();
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().instrument(span.clone()).await;
    let mut response = answered.unwrap_or_else(|panic| span.in_scope(|| panicked(&*panic, &id)));
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID.clone(), id);
    }
    report(&span, &method, &route, response.status(), began.elapsed());
    response
}

/// A proxy's id is kept when it is harmless to repeat.
fn request_id(request: &Request) -> String {
    let given = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok());
    let harmless = |id: &&str| {
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    given.filter(harmless).map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned)
}

fn panicked(panic: &(dyn Any + Send), id: &str) -> Response {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    error!("A request broke the server's rules: {}", text.unwrap_or("a panic without words"));
    let text = format!("Something is wrong with the server itself. Its log tells more about request {id}.\n");
    (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
}

fn report(span: &Span, method: &Method, route: &str, status: StatusCode, took: Duration) {
    // Anything may stand where a method stands; a label must not.
    let method = match method.as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known.to_owned(),
        _ => "other".to_owned(),
    };
    let labels = [("method", method), ("route", route.to_owned()), ("status", status.as_u16().to_string())];
    metrics::counter!("weir_http_requests_total", &labels).increment(1);
    metrics::histogram!("weir_http_request_duration_seconds", &labels[..2]).record(took.as_secs_f64());
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let _entered = span.enter();
    if status.is_server_error() {
        tracing::warn!(http.status = status.as_u16(), duration_ms, "Answered {status}");
    } else {
        tracing::debug!(http.status = status.as_u16(), duration_ms, "Answered {status}");
    }
}
