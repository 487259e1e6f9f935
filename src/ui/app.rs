//! The console's document, its routes, and how a page is made.
//!
//! A page is an `async fn(Cx) -> PageResult` in `pages/`: it reads the store and gives a [`Page`]. A new page is that file, a `<Route>` here,
//! and, when it has forms, its `router()` in `ui/mod.rs`. Every route is rendered whole before the first byte is sent, so pages are complete
//! without script, and their status is right.

use std::future::Future;

use axum::body::Body;
use axum::http::header::{CONTENT_SECURITY_POLICY, HeaderValue};
use axum::http::{HeaderName, Request, StatusCode};
use axum::response::Response;
use leptos::nonce::use_nonce;
use leptos::prelude::*;
use leptos_axum::ResponseOptions;
use leptos_meta::{MetaTags, Title, provide_meta_context};
use leptos_router::SsrMode;
use leptos_router::components::{Route, Router, Routes};
use leptos_router::path;

use super::context::{Cx, Look, UiState};
use super::error::{UiError, sign_in_path};
use super::islands::IslandScripts;
use super::pages;
use super::shell::{ErrorPage, Page, frame};
use crate::server::assets;

/// What a page's function gives.
pub type PageResult = Result<Page, UiError>;

/// The whole document.
#[component]
pub fn App() -> impl IntoView {
    provide_meta_context();
    let look = use_context::<axum::http::request::Parts>().map(|parts| Look::of(&parts)).unwrap_or_default();
    provide_context(look);
    set_policy();
    view! {
        <!DOCTYPE html>
        <html lang="en" data-theme=look.theme data-density=look.compact.then_some("compact")>
            <head>
                <meta charset="utf-8" />
                <meta name="viewport" content="width=device-width, initial-scale=1" />
                <link rel="icon" type="image/svg+xml" href=assets::path("favicon.svg") />
                <link rel="stylesheet" href=assets::css_path() />
                <IslandScripts />
                <MetaTags />
            </head>
            <body>
                <Router>
                    <Routes fallback=|| page(pages::not_found)>
                        <Route path=path!("/login") view=|| page(pages::sign_in::page) ssr=SsrMode::Async />
                        <Route path=path!("/") view=|| page(pages::projects::page) ssr=SsrMode::Async />
                        <Route path=path!("/projects/new") view=|| page(pages::projects::new_page) ssr=SsrMode::Async />
                        <Route path=path!("/tokens") view=|| page(pages::tokens::page) ssr=SsrMode::Async />
                        <Route path=path!("/imports/registries") view=|| page(pages::registries::page) ssr=SsrMode::Async />
                        <Route path=path!("/imports/registries/:host") view=|| page(pages::registries::page) ssr=SsrMode::Async />
                        <Route path=path!("/search") view=|| page(pages::search::page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project") view=|| page(pages::overview::page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/streams") view=|| page(pages::streams::page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/streams/new") view=|| page(pages::streams_new::page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/streams/:stream") view=|| page(pages::stream::tags_page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/streams/:stream/tags") view=|| page(pages::stream::tags_page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/streams/:stream/deleted-tags") view=|| page(pages::tags_deleted::page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/streams/:stream/history") view=|| page(pages::stream::history_page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/streams/:stream/imports") view=|| page(pages::stream::imports_page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/streams/:stream/import-rules/new") view=|| page(pages::import_rule_form::new_page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/streams/:stream/import-rules/:rule/edit") view=|| page(pages::import_rule_form::edit_page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/streams/:stream/used-by") view=|| page(pages::stream::used_by_page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/streams/:stream/settings") view=|| page(pages::stream_settings::page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/streams/:stream/add-tag") view=|| page(pages::tag_add::page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/streams/:stream/tags/:tag") view=|| page(pages::tag::page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/streams/:stream/tags/:tag/history") view=|| page(pages::tag::page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/streams/:stream/tags/:tag/used-by") view=|| page(pages::tag_users::used_by_page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/streams/:stream/tags/:tag/rollback") view=|| page(pages::tag_rollback::page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/streams/:stream/tags/:tag/edit") view=|| page(pages::tag_add::edit_page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/streams/:stream/tags/:tag/delete") view=|| page(pages::tag_users::delete_page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/streams/:stream/images/:digest") view=|| page(pages::image::page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/streams/:stream/images/:digest/packages") view=|| page(pages::packages::page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/streams/:stream/compare") view=|| page(pages::compare::page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/imports") view=|| page(pages::imports::page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/activity") view=|| page(pages::activity::page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/settings") view=|| page(pages::settings::page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/freezes") view=|| page(pages::freezes::page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/notices") view=|| page(pages::notices::page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/notices/new") view=|| page(pages::notices::new_page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/notices/:target") view=|| page(pages::notice::page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/notices/:target/edit") view=|| page(pages::notices::edit_page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/notices/:target/deliveries/:notice") view=|| page(pages::notice::delivery_page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/builds") view=|| page(pages::builds::page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/builds/new") view=|| page(pages::build_form::new_page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/builds/:build") view=|| page(pages::build::page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/builds/:build/edit") view=|| page(pages::build_form::edit_page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/builds/:build/start-with") view=|| page(pages::build::start_with_page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/builds/:build/delete") view=|| page(pages::build::delete_page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/builds/:build/runs/:number") view=|| page(pages::run::page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/apps") view=|| page(pages::apps::page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/apps/new") view=|| page(pages::app_form::new_page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/apps/:app") view=|| page(pages::app::page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/apps/:app/edit") view=|| page(pages::app_form::edit_page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/apps/:app/rollback") view=|| page(pages::app_rollback::page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/apps/:app/delete") view=|| page(pages::app::delete_page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/graph") view=|| page(pages::graph::page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/cascades") view=|| page(pages::cascades::page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/cascades/:cascade") view=|| page(pages::cascade::page) ssr=SsrMode::Async />
                        <Route path=path!("/p/:project/cascades/:cascade/cancel") view=|| page(pages::cascade::cancel_page) ssr=SsrMode::Async />
                    </Routes>
                </Router>
            </body>
        </html>
    }
}

/// Renders what `load` gives inside the console's frame, or the refusal.
fn page<F, Fut>(load: F) -> impl IntoView
where
    F: FnOnce(Cx) -> Fut,
    Fut: Future<Output = PageResult> + Send + 'static,
{
    let Some(cx) = Cx::of_page() else { return ().into_any() };
    let loading = load(cx.clone());
    provide_context(cx.clone());
    Suspend::new(async move {
        let page = match loading.await {
            Ok(page) => page,
            Err(UiError::SignIn) => return sign_in(&cx),
            Err(error) => {
                error.log(&cx.request_id);
                set_status(error.status());
                Page::bare("Not shown", view! { <ErrorPage error request_id=cx.request_id.clone() /> })
            }
        };
        let title = page.title();
        let body = frame(&cx, page).await;
        view! {
            <Title text=title />
            {body}
        }
        .into_any()
    })
    .into_any()
}

/// Leads to the sign-in page, and from there back here.
fn sign_in(cx: &Cx) -> AnyView {
    let next = cx.parts.uri.path_and_query().map_or("/", |path| path.as_str());
    redirect(&sign_in_path(next));
    ().into_any()
}

/// Makes the page being rendered a redirect.
pub fn redirect(to: &str) {
    if let (Some(options), Ok(to)) = (use_context::<ResponseOptions>(), HeaderValue::from_str(to)) {
        options.insert_header(axum::http::header::LOCATION, to);
        options.set_status(StatusCode::SEE_OTHER);
    }
}

/// Sets the status of the page being rendered.
pub fn set_status(status: StatusCode) {
    if let Some(options) = use_context::<ResponseOptions>() {
        options.set_status(status);
    }
}

/// The policy of every page: nothing but what this server sends, no inline style, inline script only with this answer's nonce.
fn set_policy() {
    let (Some(options), Some(nonce)) = (use_context::<ResponseOptions>(), use_nonce()) else { return };
    let policy = format!(
        "default-src 'none'; script-src 'self' 'nonce-{nonce}' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data:; \
         connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    );
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, policy.as_str()),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
        (HeaderName::from_static("referrer-policy"), "same-origin"),
        // Pages show what the store holds now, and to this reader only.
        (axum::http::header::CACHE_CONTROL, "no-store"),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            options.insert_header(name, value);
        }
    }
}

/// Renders the page of `request`'s path: what `post_*` handlers answer a refusal with.
pub async fn render(state: &UiState, request: Request<Body>) -> Response {
    let state = state.clone();
    leptos_axum::render_app_async_with_context(move || provide_context(state.clone()), App)(request).await
}
