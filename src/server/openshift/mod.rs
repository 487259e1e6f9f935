//! The REST door in OpenShift's and Kubernetes' shapes, so that `oc`, `kubectl` and their libraries work with Weir.
//!
//! A handler reads its body field by field, asks whether the caller may, calls one store verb and shows what became of it. What OpenShift
//! has no words for is in [`super::api`], which shares this door's errors, bodies and callers.

mod app_specs;
pub mod body;
mod build_configs;
mod build_log;
mod build_specs;
mod builds;
pub mod caller;
mod deployments;
mod fields;
mod image_stream_images;
mod image_stream_imports;
mod image_stream_mappings;
mod image_stream_parts;
mod image_stream_tags;
mod image_streams;
mod image_tags;
mod images;
mod import_status;
pub mod kind;
pub mod list;
mod metadata;
pub mod past;
mod patch;
mod preconditions;
mod projects;
pub mod status;
mod stream_repository;
mod tag_page;
mod tag_specs;
mod tag_writes;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRef, Request};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::kind::Kind;
use self::status::Status;
use super::auth::Auth;
use super::importer::Importer;
use super::notices::Reach;
use super::packages::Views;
use super::state::AppState;
use super::store::Store;
use crate::model::{Stream, Tag, pulled_from};

pub use self::fields::Field;

/// What the door needs.
#[derive(Clone)]
pub struct Door {
    pub store: Store,
    pub auth: Auth,
    /// Host and port under which clients reach the registry, as it stands in references.
    pub registry_host: Arc<str>,
    /// Every host and port by which references may name this registry.
    pub own_hosts: Arc<[String]>,
    /// Asks other registries what a reference means now. What is kept, the import controller fetches.
    pub importer: Importer,
    /// How many tags of a whole repository one request takes.
    pub repository_import_limit: Option<usize>,
    /// How long one request waits for what it imports.
    pub import_patience: Duration,
    /// What images hold and how they differ, as it is shown.
    pub views: Views,
    /// How long what nothing needs rests before it goes, in milliseconds.
    pub gc_grace_ms: i64,
    /// Which addresses notices may go to.
    pub notice_reach: Reach,
    /// Cancelled when the server stops.
    pub stop: CancellationToken,
}

impl FromRef<Door> for Auth {
    fn from_ref(door: &Door) -> Self {
        door.auth.clone()
    }
}

impl Door {
    /// Where a stream's images are pulled: `<host>/<project>/<stream>`.
    pub fn repository(&self, stream: &Stream) -> String {
        format!("{}/{}", self.registry_host, stream.repository())
    }

    /// The door of a server made from these parts.
    pub fn new(state: &AppState) -> Self {
        let host = state.settings.registry_host();
        Self {
            store: state.store.clone(),
            repository_import_limit: state.settings.repository_import_limit,
            import_patience: state.settings.import_patience,
            gc_grace_ms: i64::try_from(state.settings.gc_grace.as_millis()).unwrap_or(i64::MAX),
            notice_reach: state.settings.notice_reach,
            auth: state.auth.clone(),
            registry_host: host.into(),
            own_hosts: state.settings.own_hosts().into(),
            importer: state.importer.clone(),
            views: state.views.clone(),
            stop: state.stop.clone(),
        }
    }

    /// The reference of a tag's move as clients see it.
    fn shown_reference(&self, tag: &Tag, reference: Option<&str>) -> String {
        pulled_from(&self.registry_host, &tag.project, &tag.stream, reference.unwrap_or_default())
    }
}

/// The routes of OpenShift's and Kubernetes' groups.
pub fn router(door: Door) -> Router {
    // Whatever can be read and replaced can be patched.
    let patched = |methods, kind| patch::patched(methods, &door, kind);
    let images = Router::new()
        .route("/imagestreams", get(image_streams::list).post(image_streams::create))
        .route(
            "/imagestreams/{name}",
            patched(
                get(image_streams::get).put(image_streams::update).delete(image_streams::delete),
                &kind::IMAGE_STREAMS,
            ),
        )
        .route("/imagestreams/{name}/layers", get(image_stream_parts::layers))
        .route("/imagestreams/{name}/secrets", get(image_stream_parts::secrets))
        .route("/imagestreamtags", get(image_stream_tags::list).post(image_stream_tags::create))
        .route(
            "/imagestreamtags/{name}",
            patched(
                get(image_stream_tags::get).put(image_stream_tags::put).delete(image_stream_tags::delete),
                &kind::IMAGE_STREAM_TAGS,
            ),
        )
        .route("/imagetags", get(image_tags::list).post(image_tags::create))
        .route(
            "/imagetags/{name}",
            patched(get(image_tags::get).put(image_tags::put).delete(image_tags::delete), &kind::IMAGE_TAGS),
        )
        .route("/imagestreamimages/{name}", get(image_stream_images::get))
        .route("/imagestreamimports", post(image_stream_imports::create))
        .route("/imagestreammappings", post(image_stream_mappings::create));
    let builds = Router::new()
        .route("/buildconfigs", get(build_configs::list).post(build_configs::create))
        .route(
            "/buildconfigs/{name}",
            patched(
                get(build_configs::get).put(build_configs::update).delete(build_configs::delete),
                &kind::BUILD_CONFIGS,
            ),
        )
        .route("/buildconfigs/{name}/instantiate", post(build_configs::instantiate))
        .route("/builds", get(builds::list))
        .route("/builds/{name}", patched(get(builds::get).put(builds::update).delete(builds::delete), &kind::BUILDS))
        .route("/builds/{name}/log", get(builds::log))
        .route("/builds/{name}/clone", post(builds::clone));
    let apps = Router::new().route("/deployments", get(deployments::list).post(deployments::create)).route(
        "/deployments/{name}",
        patched(get(deployments::get).put(deployments::update).delete(deployments::delete), &kind::DEPLOYMENTS),
    );
    let projects = Router::new()
        .route("/projects", get(projects::list))
        .route("/projects/{name}", get(projects::get).delete(projects::delete))
        .route("/projectrequests", get(projects::may_request).post(projects::request));
    Router::new()
        .nest("/apis/image.openshift.io/v1/namespaces/{project}", images)
        .nest("/apis/build.openshift.io/v1/namespaces/{project}", builds)
        .nest("/apis/apps/v1/namespaces/{project}", apps)
        .nest("/apis/project.openshift.io/v1", projects)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn(refuse_dry_run))
        .layer(middleware::from_fn(past::refuse_elsewhere))
        .with_state(door)
}

async fn method_not_allowed() -> Status {
    Status::method_not_allowed("the server does not allow this method on the requested resource")
}

/// Kubernetes' dry run promises that nothing is changed; a door that cannot keep that must refuse it.
async fn refuse_dry_run(request: Request, next: Next) -> Response {
    let asks = request
        .uri()
        .query()
        .unwrap_or_default()
        .split('&')
        .any(|pair| pair.strip_prefix("dryRun=").is_some_and(|value| !value.is_empty()));
    if asks {
        return Status::bad_request("dryRun is not supported here: nothing was changed").into_response();
    }
    next.run(request).await
}

/// The answer to a deletion.
fn deleted(kind: &Kind, name: &str, uid: &str) -> Value {
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"name": name, "group": kind.group, "kind": kind.plural, "uid": uid},
    })
}
