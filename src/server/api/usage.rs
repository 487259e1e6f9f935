//! What a project and its streams hold, how often their images are taken, and how much the project may hold.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::limit_in_range;
use crate::model::{StreamUsage, rfc3339};
use crate::server::openshift::Door;
use crate::server::openshift::body::{Body, Warnings};
use crate::server::openshift::caller::Caller;
use crate::server::openshift::kind::{IMAGE_STREAM_TAGS, Kind, QUOTAS, USAGE};
use crate::server::openshift::status::Status;

/// A day in milliseconds.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Which streams: by name, so that the next page begins behind a name and not before a number.
#[derive(Debug, Deserialize)]
pub struct StreamPage {
    #[serde(default)]
    after: String,
    limit: Option<i64>,
}

/// What the project holds, and its streams by name; `after` takes the `next` of the page before.
pub async fn get(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
    page: Result<Query<StreamPage>, QueryRejection>,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "get", &USAGE, &project, "").await?;
    let Query(page) = page.map_err(|error| Status::bad_request(error.body_text()))?;
    let limit = limit_in_range(page.limit)?;
    let usage = door.store.project_usage(&project).await?;
    let mut streams = door.store.list_stream_usage(&project, &page.after, limit + 1).await?;
    let kept = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = streams.len() > kept;
    streams.truncate(kept);
    let next = streams.last().filter(|_| more).map(|last| last.name.clone());
    Ok(Json(json!({
        "bytes": usage.bytes,
        "own": usage.own_bytes,
        "shared": usage.shared_bytes(),
        "quota": usage.quota_bytes,
        "streams": streams.iter().map(show).collect::<Vec<_>>(),
        "next": next,
    })))
}

/// How often a tag was pulled and pushed, day by day (UTC), the newest first; days without either are left out, and days of more than a year
/// ago are forgotten. `before` takes a day, `2026-01-31`.
pub async fn tag_days(
    State(door): State<Door>,
    caller: Caller,
    Path((project, stream, tag)): Path<(String, String, String)>,
    page: Result<Query<DayPage>, QueryRejection>,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "get", &IMAGE_STREAM_TAGS, &project, &format!("{stream}:{tag}")).await?;
    let Query(page) = page.map_err(|error| Status::bad_request(error.body_text()))?;
    let limit = limit_in_range(page.limit)?;
    let before = match page.before.as_deref() {
        None => i64::MAX,
        Some(text) => read_day(text).ok_or_else(|| Status::bad_request("before must be a day: before=2026-01-31"))?,
    };
    let tag = door.store.tag(&project, &stream, &tag).await?;
    let mut days = door.store.list_tag_days(&tag.id, before, limit + 1).await?;
    let kept = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = days.len() > kept;
    days.truncate(kept);
    let next = days.last().filter(|_| more).map(|last| show_day(last.day));
    let items: Vec<Value> =
        days.iter().map(|day| json!({"day": show_day(day.day), "pulls": day.pulls, "pushes": day.pushes})).collect();
    Ok(Json(json!({"items": items, "next": next})))
}

/// Which days.
#[derive(Debug, Deserialize)]
pub struct DayPage {
    before: Option<String>,
    limit: Option<i64>,
}

fn show_day(day: i64) -> String {
    rfc3339(day.saturating_mul(DAY_MS)).chars().take("2026-01-31".len()).collect()
}

fn read_day(text: &str) -> Option<i64> {
    let midnight: jiff::Timestamp = format!("{text}T00:00:00Z").parse().ok()?;
    Some(midnight.as_millisecond().div_euclid(DAY_MS))
}

fn show(stream: &StreamUsage) -> Value {
    json!({
        "name": stream.name,
        "bytes": stream.bytes,
        "own": stream.own_bytes,
        "shared": stream.shared_bytes(),
        "pulls30d": stream.pulls,
        "pushes30d": stream.pushes,
    })
}

/// Says how much the project may hold: `{"bytes": 50000000000}`.
pub async fn set_quota(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
    body: Body,
) -> Result<(Warnings, Json<Value>), Status> {
    may_share_out(&door, &caller, "update", &QUOTAS, &project).await?;
    let (quota, warnings) = body.read(|root| {
        let bytes = root.get("bytes");
        let quota: i64 = bytes.number()?.ok_or_else(|| bytes.missing("the most the project may hold, in bytes"))?;
        if quota < 0 { Err(bytes.invalid("must not be less than 0")) } else { Ok(quota) }
    })?;
    door.store.set_quota(&project, Some(quota), &caller.actor()).await?;
    Ok((warnings, Json(json!({"project": project, "bytes": quota}))))
}

/// Lets the project hold as much as there is room for.
pub async fn remove_quota(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
) -> Result<StatusCode, Status> {
    may_share_out(&door, &caller, "delete", &QUOTAS, &project).await?;
    door.store.set_quota(&project, None, &caller.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Site admins only: a project's own admins do not share out the site's disk.
pub(super) async fn may_share_out(
    door: &Door,
    caller: &Caller,
    verb: &str,
    kind: &Kind,
    project: &str,
) -> Result<(), Status> {
    caller.may(door, verb, kind, project, "").await?;
    if caller.principal().is_site_admin() {
        return Ok(());
    }
    Err(Status::forbidden(caller.principal().name(), verb, kind, project, ""))
}
