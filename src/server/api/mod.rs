//! Weir's own REST dialect under `/weir/v1`, for what OpenShift has no words for: histories, going back, holds, cascades, the graph,
//! what everything holds.
//!
//! It is the same door as [`super::openshift`], with the same callers, bodies and `Status` errors. Lists are newest first and paged:
//! `limit` says how many, `before` takes the `next` of the page before; what is listed by name takes `after`. `dry_run=1` shows what a change would set off, and changes nothing.

mod activity;
mod apps;
mod cascades;
mod freezes;
mod images;
mod import_rules;
mod limits;
mod notices;
mod packages;
mod past_tags;
mod plans;
mod registries;
mod registry_hook;
mod rejections;
mod resolution;
mod retention;
mod search;
mod secrets;
mod tag_rules;
mod tags;
mod usage;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use serde::Deserialize;
use serde_json::{Value, json};

use super::openshift::status::Status;
use super::openshift::{self, Door, past};
use super::state::AppState;

const DEFAULT_LIMIT: i64 = 50;
const MAX_LIMIT: i64 = 500;

/// The whole REST door: OpenShift's groups and Weir's own dialect.
pub fn rest(state: &AppState) -> Router {
    let door = Door::new(state);
    openshift::router(door.clone()).merge(router(door))
}

/// All routes of the dialect.
fn router(door: Door) -> Router {
    let with_dry_run = Router::new()
        .route("/streams/{stream}/tags/{tag}/rollback", post(tags::roll_back))
        .route("/streams/{stream}/tags/{tag}/resume", post(tags::resume))
        .route("/streams/{stream}/retention", put(retention::put))
        .route("/apps/{app}/rollback", post(apps::roll_back))
        .route("/apps/{app}/deploy", post(apps::deploy))
        .route("/apps/{app}/resume", post(apps::resume));
    let without = Router::new()
        .route("/streams/{stream}/tags/{tag}", get(tags::get))
        .route("/streams/{stream}/tags/{tag}/history", get(tags::history))
        .route("/streams/{stream}/tags/{tag}/hold", post(tags::hold))
        .route("/streams/{stream}/tags/{tag}/rejected", post(rejections::reject))
        .route("/streams/{stream}/tags/{tag}/rejected/{digest}", delete(rejections::allow))
        .route("/streams/{stream}/tags/{tag}/traffic", get(usage::tag_days))
        .route("/streams/{stream}/tags/{tag}/check", post(tags::check))
        .route("/streams/{stream}/tags/{tag}/adopt", post(tags::adopt))
        .route("/streams/{stream}/tags/{tag}/restore", post(tags::restore))
        .route("/streams/{stream}/images/{id}", get(images::get))
        .route("/streams/{stream}/tag-rules", get(tag_rules::get).put(tag_rules::put))
        .route("/streams/{stream}/import-rules", get(import_rules::list).post(import_rules::create))
        .route("/streams/{stream}/import-rules/dry-run", post(import_rules::try_out))
        .route(
            "/streams/{stream}/import-rules/{name}",
            get(import_rules::get).put(import_rules::put).delete(import_rules::delete),
        )
        .route("/streams/{stream}/import-rules/{name}/check", post(import_rules::check))
        .route("/streams/{stream}/retention", get(retention::get))
        .route("/streams/{stream}/images/{id}/packages", get(packages::list))
        .route("/streams/{stream}/compare", get(packages::compare_images))
        .route("/apps/{app}", get(apps::get))
        .route("/apps/{app}/rollouts", get(apps::rollouts))
        .route("/apps/{app}/hold", post(apps::hold))
        .route("/cascades", get(cascades::list))
        .route("/cascades/{number}", get(cascades::get))
        .route("/cascades/{number}/undo", post(cascades::undo))
        .route("/cascades/{number}/pause", post(cascades::pause))
        .route("/cascades/{number}/resume", post(cascades::resume))
        .route("/cascades/{number}/cancel", post(cascades::cancel))
        .route("/freezes", get(freezes::list).post(freezes::create))
        .route("/freezes/{number}", get(freezes::get))
        .route("/freezes/{number}/end", post(freezes::end))
        .route("/graph", get(plans::graph))
        .route("/plan", post(plans::plan))
        .route("/resolve", get(resolution::get))
        .route("/search", get(search::in_project))
        .route("/secrets", get(secrets::list).post(secrets::create))
        .route("/secrets/{name}", delete(secrets::delete))
        .route("/notices", get(notices::list).post(notices::create))
        .route("/notices/{name}", get(notices::get).put(notices::put).delete(notices::delete))
        .route("/notices/{name}/secret", post(notices::replace_secret))
        .route("/notices/{name}/test", post(notices::test))
        .route("/notices/{name}/deliveries", get(notices::deliveries))
        .route("/notices/{name}/deliveries/{id}", get(notices::delivery))
        .route("/notices/{name}/deliveries/{id}/resend", post(notices::resend))
        .route("/activity", get(activity::list))
        .route("/usage", get(usage::get))
        .route("/limits", get(limits::get).put(limits::put).delete(limits::delete))
        .route("/quota", put(usage::set_quota).delete(usage::remove_quota))
        .route(
            "/registry-hook",
            get(registry_hook::get).delete(registry_hook::renew).post(registry_hook::receive).layer(hook_limit()),
        )
        .route("/registry-hook/{secret}", post(registry_hook::receive_with_secret).layer(hook_limit()))
        .layer(middleware::from_fn(refuse_dry_run));
    Router::new()
        .nest("/weir/v1/projects/{project}", with_dry_run.merge(without))
        .route("/weir/v1/search", get(search::everywhere))
        .route("/weir/v1/registries", get(registries::list))
        .route("/weir/v1/registries/{host}/pause", post(registries::pause))
        .route("/weir/v1/registries/{host}/resume", post(registries::resume))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn(past::refuse_elsewhere))
        .with_state(door)
}

fn hook_limit() -> DefaultBodyLimit {
    DefaultBodyLimit::max(registry_hook::LONGEST)
}

async fn method_not_allowed() -> Status {
    Status::method_not_allowed("the server does not allow this method on the requested resource")
}

/// Which page of a list.
#[derive(Debug, Clone, Copy)]
struct PageQuery {
    before: Option<i64>,
    limit: i64,
}

#[derive(Debug, Deserialize)]
struct RawPage {
    before: Option<i64>,
    limit: Option<i64>,
}

impl<S: Send + Sync> FromRequestParts<S> for PageQuery {
    type Rejection = Status;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Status> {
        let Query(raw) =
            Query::<RawPage>::try_from_uri(&parts.uri).map_err(|error| Status::bad_request(error.body_text()))?;
        Ok(Self { before: raw.before, limit: limit_in_range(raw.limit)? })
    }
}

fn limit_in_range(asked: Option<i64>) -> Result<i64, Status> {
    let limit = asked.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Status::bad_request(format!("limit is a number from 1 to {MAX_LIMIT}, not {limit}")));
    }
    Ok(limit)
}

impl PageQuery {
    /// One row more than fits, which tells whether there is a next page.
    fn rows(self) -> i64 {
        self.limit + 1
    }

    /// The page as it goes over the wire; `key` is what `before` takes.
    fn envelope<T>(self, mut rows: Vec<T>, key: impl Fn(&T) -> i64, show: impl Fn(&T) -> Value) -> Value {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(key);
        json!({"items": rows.iter().map(show).collect::<Vec<_>>(), "next": next})
    }
}

/// Whether the caller only wants to know.
#[derive(Debug, Clone, Copy)]
struct DryRun(bool);

impl<S: Send + Sync> FromRequestParts<S> for DryRun {
    type Rejection = Status;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Status> {
        Ok(Self(asks_dry_run(parts.uri.query())?))
    }
}

fn asks_dry_run(query: Option<&str>) -> Result<bool, Status> {
    for pair in query.unwrap_or_default().split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, "1"));
        if key == "dry_run" || key == "dryRun" {
            return match value {
                "1" | "true" | "All" => Ok(true),
                "0" | "false" | "" => Ok(false),
                other => Err(Status::bad_request(format!("{key} is 1 or 0, not {other:?}"))),
            };
        }
    }
    Ok(false)
}

/// A dry run promises that nothing is changed: what has no plan to show must refuse it.
async fn refuse_dry_run(request: Request, next: Next) -> Response {
    match asks_dry_run(request.uri().query()) {
        Ok(false) => next.run(request).await,
        Ok(true) => Status::bad_request("this has no dry run: nothing was changed").into_response(),
        Err(status) => status.into_response(),
    }
}
