//! Apps: their rollouts, going back, holding, resuming, and running the newest image now.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::plans::{dry, rollout_step};
use super::tags::{read_reason, read_until, show_hold};
use super::{DryRun, PageQuery, past_tags};
use crate::model::{App, Moment, RolloutRow, rfc3339};
use crate::server::openshift::Door;
use crate::server::openshift::body::{Body, Warnings};
use crate::server::openshift::caller::Caller;
use crate::server::openshift::kind::{DEPLOYMENTS, ROLLOUTS};
use crate::server::openshift::past::AsOf;
use crate::server::openshift::status::Status;
use crate::server::store::AppThen;

/// Project and app of a URL.
type Names = Path<(String, String)>;

/// Where an app stands: what it should run, what holds it, and how far it can go back. With `as_of` where it stood at that moment; how far it
/// could go back is not kept.
pub async fn get(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Names,
    AsOf(as_of): AsOf,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "get", &DEPLOYMENTS, &project, &name).await?;
    if let Some(moment) = as_of {
        return Ok(Json(standing_then(&door, &project, &name, &moment).await?));
    }
    let app = door.store.app(&project, &name).await?;
    let hold = door.store.app_hold(&app.id).await?;
    let depth = door.store.app_depth(&app).await?;
    Ok(Json(json!({
        "app": app.name,
        "rollout": app.last_number,
        "digest": app.wanted_digest,
        "phase": app.wanted_phase,
        "hold": hold.as_ref().map(show_hold),
        "rollbackDepth": {"whole": depth.whole, "of": depth.of, "verifiedAt": depth.verified_at.map(rfc3339)},
    })))
}

async fn standing_then(door: &Door, project: &str, name: &str, moment: &Moment) -> Result<Value, Status> {
    let app = app_then(door, project, name, moment).await?;
    let hold = door.store.app_hold_then(&app, moment).await?;
    let newest = door.store.list_rollouts_then(&app, moment, None, 1).await?.into_iter().next();
    Ok(json!({
        "asOf": moment.words,
        "app": app.name,
        "rollout": newest.as_ref().map_or(0, |rollout| rollout.number),
        "digest": newest.as_ref().map(|rollout| rollout.digest.as_str()),
        "phase": newest.as_ref().map(|rollout| rollout.phase),
        "hold": hold.as_ref().map(past_tags::show_hold),
        "deletedAt": app.deleted_at.map(rfc3339),
    }))
}

/// The app of that name that a project had.
async fn app_then(door: &Door, project: &str, name: &str, moment: &Moment) -> Result<AppThen, Status> {
    let project_id = door.store.project(project).await?.id;
    let missing = || Status::not_found(&DEPLOYMENTS, &format!("{name} at {}", moment.words));
    door.store.find_app_then(&project_id, name, moment).await?.ok_or_else(missing)
}

/// An app's rollouts, newest first; `before` takes a rollout's number. With `as_of` those it had at that moment, as they were then.
pub async fn rollouts(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Names,
    query: PageQuery,
    AsOf(as_of): AsOf,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "get", &DEPLOYMENTS, &project, &name).await?;
    let rows = match as_of {
        None => {
            let app = door.store.app(&project, &name).await?;
            door.store.list_rollouts(&app.id, query.before, query.rows()).await?
        }
        Some(moment) => {
            let app = app_then(&door, &project, &name, &moment).await?;
            door.store.list_rollouts_then(&app, &moment, query.before, query.rows()).await?
        }
    };
    Ok(Json(query.envelope(rows, |rollout| rollout.number, show_rollout)))
}

/// Rolls an app back to the image of an earlier rollout, and holds it.
pub async fn roll_back(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Names,
    DryRun(dry_run): DryRun,
    body: Body,
) -> Result<(Warnings, Json<Value>), Status> {
    caller.may(&door, "update", &DEPLOYMENTS, &project, &name).await?;
    let app = door.store.app(&project, &name).await?;
    let ((to, reason, until), warnings) = body.read(|root| {
        let to = root.get("to");
        let number: i64 = to.number()?.ok_or_else(|| to.missing("the number of the rollout to go back to"))?;
        Ok((number, read_reason(&root)?, read_until(&root)?))
    })?;
    if dry_run {
        let found = door.store.find_rollout(&app.id, to).await?;
        let target = found.ok_or_else(|| Status::not_found(&ROLLOUTS, &format!("{name} #{to}")))?;
        let steps = vec![rollout_step(&app)?];
        return Ok((warnings, Json(dry(app.wanted_digest.as_deref(), Some(&target.digest), steps))));
    }
    door.importer.check_rollout(&app, to).await?;
    let done = door.store.roll_back_app(&project, &name, to, reason.as_deref(), until, &caller.actor()).await?;
    Ok((warnings, Json(show_rollout(&done))))
}

/// Rolls an app out to what its tag points to now.
pub async fn deploy(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Names,
    DryRun(dry_run): DryRun,
    body: Body,
) -> Result<(Warnings, Json<Value>), Status> {
    caller.may(&door, "update", &DEPLOYMENTS, &project, &name).await?;
    let (_, warnings) = body.read(|_| Ok(()))?;
    if dry_run {
        let app = door.store.app(&project, &name).await?;
        return Ok((warnings, Json(catching_up(&app)?)));
    }
    let rollout = door.store.deploy_newest(&project, &name, &caller.actor()).await?;
    Ok((warnings, Json(show_rollout(&rollout))))
}

/// Keeps automation from rolling an app out.
pub async fn hold(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Names,
    body: Body,
) -> Result<(Warnings, Json<Value>), Status> {
    caller.may(&door, "update", &DEPLOYMENTS, &project, &name).await?;
    let ((reason, until), warnings) = body.read(|root| Ok((read_reason(&root)?, read_until(&root)?)))?;
    door.store.hold_app(&project, &name, reason.as_deref(), until, &caller.actor()).await?;
    let app = door.store.app(&project, &name).await?;
    let hold = door.store.app_hold(&app.id).await?;
    Ok((warnings, Json(json!({"app": app.name, "hold": hold.as_ref().map(show_hold)}))))
}

/// Lets automation roll an app out again.
pub async fn resume(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Names,
    DryRun(dry_run): DryRun,
    body: Body,
) -> Result<(Warnings, Json<Value>), Status> {
    caller.may(&door, "update", &DEPLOYMENTS, &project, &name).await?;
    let (_, warnings) = body.read(|_| Ok(()))?;
    if dry_run {
        let app = door.store.app(&project, &name).await?;
        return Ok((warnings, Json(catching_up(&app)?)));
    }
    door.store.resume_app(&project, &name, &caller.actor()).await?;
    Ok((warnings, Json(json!({"app": name, "hold": null}))))
}

/// What rolling out the tag's image would do.
fn catching_up(app: &App) -> Result<Value, Status> {
    let steps = if app.is_behind() { vec![rollout_step(app)?] } else { Vec::new() };
    Ok(dry(app.wanted_digest.as_deref(), app.tag_digest.as_deref(), steps))
}

/// A rollout.
pub fn show_rollout(rollout: &RolloutRow) -> Value {
    json!({
        "number": rollout.number,
        "sequence": rollout.sequence,
        "app": rollout.app,
        "digest": rollout.digest,
        "repository": rollout.repository,
        "kind": rollout.kind,
        "toNumber": rollout.to_number,
        "actor": rollout.actor,
        "actorKind": rollout.actor_kind,
        "reason": rollout.reason,
        "cause": rollout.cause,
        "cascade": rollout.cascade_number,
        "phase": rollout.phase,
        "message": rollout.message,
        "at": rfc3339(rollout.created_at),
        "startedAt": rollout.started_at.map(rfc3339),
        "finishedAt": rollout.finished_at.map(rfc3339),
    })
}
