//! The console's door: its pages, what their forms post to, and the event stream.

use axum::Router;
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use leptos::config::LeptosOptions;
use leptos::prelude::provide_context;
use leptos_axum::{LeptosRoutes as _, generate_route_list};

use super::app::{self, App};
use super::context::UiState;
use super::{live, pages};
use crate::server::auth::{AuthError, Principal};
use crate::server::state::AppState;

/// Everything under `/` that is the console's. Needs the session layer and the same-origin layer around it.
pub fn router(app: AppState) -> Router {
    let leptos = LeptosOptions::builder().output_name("weir").build();
    let state = UiState { app, leptos };
    let pages_state = state.clone();
    Router::new()
        .leptos_routes_with_context(&state, generate_route_list(App), move || provide_context(pages_state.clone()), App)
        .merge(pages::app::router())
        .merge(pages::app_form::router())
        .merge(pages::app_rollback::router())
        .merge(pages::build::router())
        .merge(pages::build_form::router())
        .merge(pages::cascades::router())
        .merge(pages::freezes::router())
        .merge(pages::import_rule_form::router())
        .merge(pages::import_rules::router())
        .merge(pages::look::router())
        .merge(pages::notice::router())
        .merge(pages::notices::router())
        .merge(pages::projects::router())
        .merge(pages::registries::router())
        .merge(pages::registry_hook::router())
        .merge(pages::run::router())
        .merge(pages::settings::router())
        .merge(pages::sign_in::router())
        .merge(pages::stream::router())
        .merge(pages::stream_settings::router())
        .merge(pages::streams_new::router())
        .merge(pages::cool_down::router())
        .merge(pages::tag::router())
        .merge(pages::tag_users::router())
        .merge(pages::tag_add::router())
        .merge(pages::hold_end::router())
        .merge(pages::tag_rejected::router())
        .merge(pages::tag_rollback::router())
        .merge(pages::tag_rules::router())
        .merge(pages::tags_deleted::router())
        .merge(pages::tokens::router())
        .route("/events", get(live::events))
        .fallback(not_found)
        .layer(from_fn_with_state(state.clone(), identify))
        .with_state(state)
}

async fn not_found(State(state): State<UiState>, request: Request) -> Response {
    app::render(&state, request).await
}

/// Finds out once who asks; pages and handlers look into the request's extensions. Credentials that are not right count as none: the
/// answer is the sign-in page.
async fn identify(State(state): State<UiState>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match <Option<Principal> as FromRequestParts<UiState>>::from_request_parts(&mut parts, &state).await {
        Ok(_) | Err(AuthError::Missing | AuthError::Wrong) => next.run(Request::from_parts(parts, body)).await,
        Err(error) => error.into_response(),
    }
}
