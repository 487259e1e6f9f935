//! The door `/v2/`: OCI distribution-spec 1.1 and the Docker Registry API it grew from. A repository is a stream,
//! `<project>/<stream>`; its tags are the stream's.
//!
//! Must be mounted outside of anything that compresses, buffers or times out bodies, and without sessions: this door
//! takes `Authorization` only.

mod blobs;
mod catalog;
mod conditions;
mod enter;
mod error;
mod history;
mod incoming;
mod manifests;
mod memory;
mod mount;
mod paging;
mod past;
mod pulled;
mod referrers;
mod tags;
mod token;
mod uploads;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, OriginalUri};
use axum::http::HeaderValue;
use axum::http::header::HeaderName;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use serde_json::json;

use crate::server::auth::Auth;
use crate::server::blobs::Blobs;
use crate::server::importer::Importer;
use crate::server::pulls::Pulls;
use crate::server::state::{AppState, Settings};
use crate::server::store::Store;
use enter::Caller;
use error::Error;
use memory::Memories;

/// What the door needs of the server.
#[derive(Clone)]
struct Registry {
    store: Store,
    auth: Auth,
    blobs: Arc<dyn Blobs>,
    importer: Importer,
    settings: Arc<Settings>,
    pulls: Pulls,
    /// Of what is pulled again and again. Not in the state, as nobody but this door needs it.
    memory: Arc<Memories>,
}

/// Every route below `/v2`.
pub fn router(state: &AppState) -> Router {
    let AppState { store, auth, blobs, importer, settings, pulls, .. } = state.clone();
    let repository = Router::new()
        .route("/referrers/{digest}", get(referrers::list))
        .route("/_oci/ext/discover", get(history::discover_there))
        .route("/_oci/tag-history/{tag}", get(history::list))
        .route(
            "/manifests/{reference}",
            // `get` answers HEAD too, without the body.
            get(manifests::get).put(manifests::put).delete(manifests::delete),
        )
        .route("/blobs/{digest}", get(blobs::get).delete(blobs::delete))
        .route("/blobs/uploads", post(uploads::begin))
        .route("/blobs/uploads/", post(uploads::begin))
        .route(
            "/blobs/uploads/{id}",
            get(uploads::status).patch(uploads::append).put(uploads::finish).delete(uploads::cancel),
        )
        .layer(middleware::from_fn(past::refuse_elsewhere))
        // Lists that know the past.
        .route("/tags/list", get(tags::list));
    let api = Router::new()
        .route("/", get(version))
        .route("/token", get(token::get).post(token::post))
        .route("/_catalog", get(catalog::list))
        .route("/_oci/ext/discover", get(history::discover))
        .nest("/{project}/{stream}", repository)
        .fallback(unknown)
        .method_not_allowed_fallback(not_allowed);
    Router::new()
        .nest("/v2", api)
        .route("/v2/", get(version))
        // Layers are as large as they are; manifests and forms limit themselves.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::map_response(say_version))
        .with_state(Registry { memory: Arc::new(Memories::of(&store)), store, auth, blobs, importer, settings, pulls })
}

/// `GET /v2/`: whether one is let in at all. Clients begin here.
async fn version(_caller: Caller) -> Response {
    Json(json!({})).into_response()
}

async fn say_version(mut response: Response) -> Response {
    const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
    response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    response
}

async fn not_allowed() -> Error {
    Error::unsupported("this cannot be done here")
}

/// Everything else below `/v2/`: names that are not `<project>/<stream>`, and parts of the API that are not there.
async fn unknown(_caller: Caller, OriginalUri(uri): OriginalUri) -> Error {
    let path = uri.path().trim_start_matches("/v2/");
    let name = ["/manifests/", "/blobs/", "/tags/", "/referrers/"].iter().find_map(|part| path.split_once(part));
    match name {
        Some((name, _)) if name.split('/').count() != 2 => Error::name_invalid(format!(
            "the repository \"{name}\" cannot be: a repository here is <project>/<stream>, for instance demo/base"
        )),
        _ => Error::name_unknown("there is nothing here"),
    }
}
