//! Freezes of a project: for how long automation builds and rolls out nothing there, and why. What somebody does goes all the same.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::PageQuery;
use super::tags::read_reason;
use crate::model::{Freeze, now, parse_time, rfc3339};
use crate::server::openshift::body::{Body, Warnings};
use crate::server::openshift::caller::Caller;
use crate::server::openshift::kind::FREEZES;
use crate::server::openshift::past::AsOf;
use crate::server::openshift::status::Status;
use crate::server::openshift::{Door, Field};
use crate::server::store::NewFreeze;

/// What `until` says of a freeze that somebody has to end.
const OPEN: &str = "open";

/// Project and freeze of a URL.
type OfFreeze = Path<(String, String)>;

/// Freezes of a project, newest first; `before` takes a freeze's number. With `as_of` those it had at that moment, as they were.
pub async fn list(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
    query: PageQuery,
    AsOf(as_of): AsOf,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "list", &FREEZES, &project, "").await?;
    let (store, before, rows) = (&door.store, query.before, query.rows());
    Ok(Json(match as_of {
        None => query.envelope(store.list_freezes(&project, before, rows).await?, |freeze| freeze.number, show),
        Some(moment) => {
            let rows = store.list_freezes_then(&project, &moment, before, rows).await?;
            query.envelope(rows, |freeze| freeze.number, |freeze| show_at(freeze, moment.end - 1))
        }
    }))
}

/// One freeze.
pub async fn get(
    State(door): State<Door>,
    caller: Caller,
    Path((project, number)): OfFreeze,
    AsOf(as_of): AsOf,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "get", &FREEZES, &project, &number).await?;
    let parsed = parse(&number)?;
    let Some(moment) = as_of else {
        return Ok(Json(show(&door.store.load_freeze(&project, parsed).await?)));
    };
    let missing = || Status::not_found(&FREEZES, &format!("{number} at {}", moment.words));
    let newest = door.store.list_freezes_then(&project, &moment, Some(parsed.saturating_add(1)), 1).await?;
    let freeze = newest.into_iter().find(|freeze| freeze.number == parsed).ok_or_else(missing)?;
    Ok(Json(show_at(&freeze, moment.end - 1)))
}

/// Freezes a project: `until` a time, or `open` until somebody ends it; `from` now unless it names a time; with a `reason`.
pub async fn create(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
    body: Body,
) -> Result<(StatusCode, Warnings, Json<Value>), Status> {
    caller.may(&door, "create", &FREEZES, &project, "").await?;
    let about = |status: Status| status.about(&FREEZES, "");
    let ((begins_at, ends_at, reason), warnings) = body.read(|root| read(&root)).map_err(about)?;
    let new = NewFreeze { begins_at, ends_at, reason: &reason };
    let made = door.store.freeze_project(&project, &new, &caller.actor()).await;
    let freeze = made.map_err(|error| about(error.into()))?;
    Ok((StatusCode::CREATED, warnings, Json(show(&freeze))))
}

/// Ends a freeze now, or before it has begun. What waited goes at once.
pub async fn end(
    State(door): State<Door>,
    caller: Caller,
    Path((project, number)): OfFreeze,
    body: Body,
) -> Result<(Warnings, Json<Value>), Status> {
    caller.may(&door, "update", &FREEZES, &project, &number).await?;
    let ((), warnings) = body.read(|_| Ok(()))?;
    let ended = door.store.end_freeze(&project, parse(&number)?, &caller.actor()).await?;
    Ok((warnings, Json(show(&ended))))
}

/// Beginning, end and reason of a body.
fn read(root: &Field<'_>) -> Result<(Option<i64>, Option<i64>, String), Status> {
    let (from, until) = (root.get("from"), root.get("until"));
    let begins_at = match from.filled()? {
        None => None,
        Some(text) => Some(time(&from, &text, "must be a time as 2026-12-01T12:00Z; left out it is now")?),
    };
    let ends_at = match until.filled()? {
        None => return Err(until.missing("a time as 2026-12-01T12:00Z, or open for until somebody ends it")),
        Some(word) if word == OPEN => None,
        Some(text) => Some(time(&until, &text, "must be a time as 2026-12-01T12:00Z, or open")?),
    };
    let reason = read_reason(root)?;
    let reason = reason.ok_or_else(|| root.get("reason").missing("say why: everybody in the project will ask"))?;
    Ok((begins_at, ends_at, reason))
}

fn time(field: &Field<'_>, text: &str, expected: &str) -> Result<i64, Status> {
    parse_time(text).ok_or_else(|| field.invalid(expected))
}

fn parse(number: &str) -> Result<i64, Status> {
    number.parse().map_err(|_| Status::not_found(&FREEZES, number))
}

fn show(freeze: &Freeze) -> Value {
    show_at(freeze, now())
}

/// The freeze as it stood at a time.
fn show_at(freeze: &Freeze, at: i64) -> Value {
    json!({
        "number": freeze.number,
        "state": freeze.state(at).as_str(),
        "from": rfc3339(freeze.begins_at),
        "until": freeze.ends_at.map_or_else(|| OPEN.to_owned(), rfc3339),
        "reason": freeze.reason,
        "by": freeze.actor,
        "at": rfc3339(freeze.created_at),
        "sequence": freeze.sequence,
        "endedAt": freeze.ended_at.map(rfc3339),
        "endedBy": freeze.ended_by,
    })
}
