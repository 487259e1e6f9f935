//! `/healthz`: the process lives. `/readyz`: what it stands on, each part with its state in words.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::state::AppState;
use super::store::{SEARCH_FILLING, Store};

/// How long a part may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// For how long an answer is repeated: anyone may ask, and asking must not be work.
const REPEATED: Duration = Duration::from_secs(2);

/// One part's state.
#[derive(Debug, Clone, Serialize)]
struct Part {
    /// `ok`, `failed`, `off` when it was switched off, or `filling`.
    state: &'static str,
    /// What is wrong and what helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// The answer of `/readyz`. Without database or blobs nothing works; without builder or rollout target everything else does.
#[derive(Debug, Clone, Serialize)]
struct Readiness {
    ready: bool,
    database: Part,
    blobs: Part,
    builder: Part,
    rollout: Part,
    search: Part,
}

#[derive(Clone)]
struct Health {
    state: AppState,
    last: Arc<Mutex<Option<(Instant, Readiness)>>>,
}

/// Both are open to everyone.
pub fn router(state: AppState) -> Router {
    let health = Health { state, last: Arc::default() };
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz)).with_state(health)
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(health): State<Health>) -> Response {
    let mut last = health.last.lock().await;
    let readiness = match &*last {
        Some((at, readiness)) if at.elapsed() < REPEATED => readiness.clone(),
        _ => {
            let fresh = look(&health.state).await;
            *last = Some((Instant::now(), fresh.clone()));
            fresh
        }
    };
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(readiness)).into_response()
}

async fn look(state: &AppState) -> Readiness {
    let database = async {
        part(state.store.ping(), |cause| {
            tracing::warn!("The database does not answer: {cause}");
            "The database does not answer; the server's log says why.".to_owned()
        })
        .await
    };
    let blobs = async { part(state.blobs.check(), |cause| format!("Blobs cannot be written: {cause}")).await };
    let builder = async {
        match &state.builder {
            Some(builder) => part(builder.check(), |message| message).await,
            None => off("Builds are switched off (--builder none)."),
        }
    };
    let rollout = async {
        match &state.rollout {
            Some(rollout) => part(rollout.check(), |message| message).await,
            None => off("Apps are not run here (--rollout none)."),
        }
    };
    let (database, blobs, builder, rollout, search) =
        tokio::join!(database, blobs, builder, rollout, search(&state.store));
    Readiness { ready: database.state == "ok" && blobs.state == "ok", database, blobs, builder, rollout, search }
}

async fn search(store: &Store) -> Part {
    match timeout(PATIENCE, store.is_search_filling()).await {
        Ok(Ok(false)) => Part { state: "ok", message: None },
        Ok(Ok(true)) => Part { state: "filling", message: Some(SEARCH_FILLING.to_owned()) },
        _ => Part { state: "failed", message: Some("The database does not answer.".to_owned()) },
    }
}

async fn part<E>(check: impl Future<Output = Result<(), E>>, say: impl FnOnce(E) -> String) -> Part {
    match timeout(PATIENCE, check).await {
        Ok(Ok(())) => Part { state: "ok", message: None },
        Ok(Err(cause)) => Part { state: "failed", message: Some(say(cause)) },
        Err(_) => {
            Part { state: "failed", message: Some(format!("It did not answer within {} s.", PATIENCE.as_secs())) }
        }
    }
}

fn off(message: &str) -> Part {
    Part { state: "off", message: Some(message.to_owned()) }
}
