//! Cascades: all that one cause moved, built and rolled out, and stopping or undoing it as one.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::PageQuery;
use super::apps::show_rollout;
use super::tags::show_event;
use crate::model::{Moment, rfc3339};
use crate::server::openshift::Door;
use crate::server::openshift::body::{Body, Warnings};
use crate::server::openshift::caller::Caller;
use crate::server::openshift::kind::CASCADES;
use crate::server::openshift::past::AsOf;
use crate::server::openshift::status::Status;
use crate::server::store::{CascadeSteps, CascadeSummary};

/// Cascades of a project, newest first; `before` takes a cascade's number. With `as_of` those that had begun by that moment, as far as they
/// were; whether one was paused then is not kept.
pub async fn list(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
    query: PageQuery,
    AsOf(as_of): AsOf,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "list", &CASCADES, &project, "").await?;
    let (store, before, rows) = (&door.store, query.before, query.rows());
    Ok(Json(match as_of {
        None => query.envelope(store.list_cascades(&project, before, rows).await?, |cascade| cascade.number, show),
        Some(moment) => {
            let rows = store.list_cascades_then(&project, &moment, before, rows).await?;
            query.envelope(rows, |cascade| cascade.number, |cascade| show_then(cascade, &moment))
        }
    }))
}

/// One cascade with its moves, builds and rollouts. With `as_of` as far as it was at that moment.
pub async fn get(
    State(door): State<Door>,
    caller: Caller,
    Path((project, number)): Path<(String, String)>,
    AsOf(as_of): AsOf,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "get", &CASCADES, &project, &number).await?;
    let (mut shown, CascadeSteps { events, builds, rollouts }) = match as_of {
        None => {
            let cascade = door.store.cascade_summary(&project, parse(&number)?).await?;
            let steps = CascadeSteps {
                events: door.store.list_own_cascade_events(&cascade.id).await?,
                builds: door.store.list_cascade_builds(&cascade.id).await?,
                rollouts: door.store.list_cascade_rollouts(&cascade.id).await?,
            };
            (show(&cascade), steps)
        }
        Some(moment) => {
            let cascade = door.store.cascade_then(&project, parse(&number)?, &moment).await?;
            (show_then(&cascade, &moment), door.store.cascade_steps_then(&cascade.id, &moment).await?)
        }
    };
    // A cascade goes on into other projects; what happens there is for those who may see them.
    shown["events"] = events.iter().filter(|event| event.project == project).map(show_event).collect();
    shown["buildRuns"] = builds
        .iter()
        .filter(|build| build.project == project)
        .map(|build| {
            json!({
                "name": build.name(),
                "config": build.config,
                "number": build.number,
                "phase": build.phase,
                "reason": build.reason,
                "trigger": build.trigger_text,
                "queuedAt": rfc3339(build.queued_at),
                "startedAt": build.started_at.map(rfc3339),
                "finishedAt": build.finished_at.map(rfc3339),
                "digest": build.output_digest,
            })
        })
        .collect();
    shown["appRollouts"] = rollouts.iter().filter(|rollout| rollout.project == project).map(show_rollout).collect();
    Ok(Json(shown))
}

fn show_then(cascade: &CascadeSummary, moment: &Moment) -> Value {
    let mut shown = show(cascade);
    shown["asOf"] = moment.words.as_str().into();
    if let Some(fields) = shown.as_object_mut() {
        fields.remove("pausedAt");
    }
    shown
}

/// Puts back every tag and app a cascade moved.
pub async fn undo(
    State(door): State<Door>,
    caller: Caller,
    Path((project, number)): Path<(String, String)>,
    body: Body,
) -> Result<(Warnings, Json<Value>), Status> {
    let warnings = may_change(&door, &caller, &project, &number, &body).await?;
    let undone = door.store.undo_cascade(&project, parse(&number)?, &caller.actor()).await?;
    Ok((warnings, Json(json!({"cascade": undone.cascade, "tags": undone.tags, "apps": undone.apps}))))
}

/// Starts no more of a cascade's builds until it is resumed.
pub async fn pause(
    State(door): State<Door>,
    caller: Caller,
    Path((project, number)): Path<(String, String)>,
    body: Body,
) -> Result<(Warnings, Json<Value>), Status> {
    let warnings = may_change(&door, &caller, &project, &number, &body).await?;
    door.store.pause_cascade(&project, parse(&number)?, true, &caller.actor()).await?;
    Ok((warnings, summary(&door, &project, &number).await?))
}

/// Goes on with a paused cascade.
pub async fn resume(
    State(door): State<Door>,
    caller: Caller,
    Path((project, number)): Path<(String, String)>,
    body: Body,
) -> Result<(Warnings, Json<Value>), Status> {
    let warnings = may_change(&door, &caller, &project, &number, &body).await?;
    door.store.pause_cascade(&project, parse(&number)?, false, &caller.actor()).await?;
    Ok((warnings, summary(&door, &project, &number).await?))
}

/// Stops what a cascade still has to do.
pub async fn cancel(
    State(door): State<Door>,
    caller: Caller,
    Path((project, number)): Path<(String, String)>,
    body: Body,
) -> Result<(Warnings, Json<Value>), Status> {
    let warnings = may_change(&door, &caller, &project, &number, &body).await?;
    door.store.cancel_cascade(&project, parse(&number)?, &caller.actor()).await?;
    Ok((warnings, summary(&door, &project, &number).await?))
}

async fn may_change(
    door: &Door,
    caller: &Caller,
    project: &str,
    number: &str,
    body: &Body,
) -> Result<Warnings, Status> {
    caller.may(door, "update", &CASCADES, project, number).await?;
    Ok(body.read(|_| Ok(()))?.1)
}

async fn summary(door: &Door, project: &str, number: &str) -> Result<Json<Value>, Status> {
    Ok(Json(show(&door.store.cascade_summary(project, parse(number)?).await?)))
}

fn parse(number: &str) -> Result<i64, Status> {
    number.parse().map_err(|_| Status::not_found(&CASCADES, number))
}

fn show(cascade: &CascadeSummary) -> Value {
    json!({
        "number": cascade.number,
        "title": cascade.title,
        "sequence": cascade.root_sequence,
        "kind": cascade.kind,
        "actor": cascade.actor,
        "actorKind": cascade.actor_kind,
        "at": rfc3339(cascade.created_at),
        "pausedAt": cascade.paused_at.map(rfc3339),
        "cancelledAt": cascade.cancelled_at.map(rfc3339),
        "undoneAt": cascade.undone_at.map(rfc3339),
        "undoneBy": cascade.undone_by,
        "moves": cascade.moves,
        "builds": cascade.builds,
        "rollouts": cascade.rollouts,
        "ended": cascade.ended,
        "failed": cascade.failed,
        "running": cascade.is_running(),
    })
}
