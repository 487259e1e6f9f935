//! Tags: their history, going back in it, holding and resuming, and looking at their source now.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::plans::{dry, moved_steps};
use super::{DryRun, PageQuery, past_tags};
use crate::model::{Hold, HoldUntil, RejectedDigest, RollbackMode, Tag, TagEvent, TagImport, now, rfc3339};
use crate::server::openshift::Door;
use crate::server::openshift::Field;
use crate::server::openshift::body::{Body, Warnings};
use crate::server::openshift::caller::Caller;
use crate::server::openshift::kind::IMAGE_STREAM_TAGS;
use crate::server::openshift::past::AsOf;
use crate::server::openshift::status::Status;
use crate::server::store::{ImmutableTags, TagRollback};

/// Project, stream and tag of a URL.
pub type Names = Path<(String, String, String)>;

/// A reason longer than this is no reason any more.
const MAX_REASON: usize = 300;

/// Where a tag stands: what it points to, what holds it, what waits, what is rejected, how its imports go. With `as_of` where it stood at that
/// moment.
pub async fn get(
    State(door): State<Door>,
    caller: Caller,
    Path((project, stream, tag)): Names,
    AsOf(as_of): AsOf,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "get", &IMAGE_STREAM_TAGS, &project, &title(&stream, &tag)).await?;
    if let Some(moment) = as_of {
        return Ok(Json(past_tags::standing(&door, &project, (&stream, &tag), &moment).await?));
    }
    let tag = door.store.tag(&project, &stream, &tag).await?;
    let hold = door.store.tag_hold(&tag.id).await?;
    let waiting = door.store.tag_waiting(&tag.id).await?;
    let rejected = door.store.list_rejected(&tag.id).await?;
    let import = door.store.find_import(&tag.id).await?;
    let immutable = ImmutableTags::read(&tag.immutable_tags)?.covers(&tag.name);
    Ok(Json(json!({
        "project": tag.project,
        "stream": tag.stream,
        "tag": tag.name,
        "digest": tag.digest,
        "reference": tag.reference,
        "sequence": tag.event_sequence,
        "movedAt": tag.moved_at.map(rfc3339),
        "immutable": immutable,
        "hold": hold.as_ref().map(show_hold),
        "waiting": waiting.as_ref().map(show_event),
        "rejected": rejected.iter().map(show_rejected).collect::<Vec<_>>(),
        "import": import.as_ref().map(|import| show_import(&tag, import)),
    })))
}

/// A tag's history, newest first; that of a deleted tag, too. With `as_of` the history it had at that moment, be its stream there or not.
pub async fn history(
    State(door): State<Door>,
    caller: Caller,
    Path((project, stream, tag)): Names,
    query: PageQuery,
    AsOf(as_of): AsOf,
) -> Result<Json<Value>, Status> {
    let title = title(&stream, &tag);
    caller.may(&door, "get", &IMAGE_STREAM_TAGS, &project, &title).await?;
    if let Some(moment) = as_of {
        return Ok(Json(past_tags::history(&door, &project, (&stream, &tag), &moment, query).await?));
    }
    let not_found = || Status::not_found(&IMAGE_STREAM_TAGS, &title);
    let tag = door.store.find_tag(&project, &stream, &tag).await?.ok_or_else(not_found)?;
    let before = match query.before {
        None => None,
        Some(sequence) => match door.store.find_event(sequence).await? {
            Some(event) if event.tag_id == tag.id => Some(event.number),
            _ => return Err(no_row(sequence)),
        },
    };
    let rows = door.store.list_history(&tag.id, before, query.rows()).await?;
    Ok(Json(query.envelope(rows, |event| event.sequence, show_event)))
}

/// What a page of a history was to begin before is not of it.
pub fn no_row(sequence: i64) -> Status {
    Status::bad_request(format!("before={sequence} is no row of this history: take the next of a page"))
}

/// Rolls a tag back to a row of its history. An immutable tag moves for project admins only, and only with a reason.
pub async fn roll_back(
    State(door): State<Door>,
    caller: Caller,
    Path((project, stream, name)): Names,
    DryRun(dry_run): DryRun,
    body: Body,
) -> Result<(Warnings, Json<Value>), Status> {
    caller.may(&door, "update", &IMAGE_STREAM_TAGS, &project, &title(&stream, &name)).await?;
    let tag = door.store.tag(&project, &stream, &name).await?;
    let (asked, warnings) = body.read(read_rollback).map_err(|status| about(status, &tag))?;
    let is_admin = caller.is_admin(&door, &project).await?;
    if dry_run {
        if ImmutableTags::read(&tag.immutable_tags)?.covers(&tag.name) && !(is_admin && asked.reason.is_some()) {
            return Err(Status::conflict(format!(
                "{} is immutable: only a project admin may move it, with a reason",
                tag.title()
            )));
        }
        let to = door.store.find_event(asked.to).await?.filter(|event| event.tag_id == tag.id);
        let digest = to.and_then(|event| event.digest).ok_or_else(|| {
            Status::conflict(format!("{} is no row of the history of {} with an image", asked.to, tag.title()))
        })?;
        let steps = moved_steps(&door, &caller, &tag.id, asked.mode, true).await?;
        return Ok((warnings, Json(dry(tag.digest.as_deref(), Some(&digest), steps))));
    }
    let rollback = TagRollback {
        to: asked.to,
        mode: asked.mode,
        reason: asked.reason.as_deref(),
        seen: asked.seen,
        reject: asked.reject,
        until: asked.until,
    };
    door.importer.check_row(&tag.id, asked.to).await.map_err(|error| about(error.into(), &tag))?;
    let (store, actor) = (&door.store, caller.actor());
    let moved = match is_admin {
        true => store.roll_back_tag_as_admin(&project, &stream, &name, &rollback, &actor).await,
        false => store.roll_back_tag(&project, &stream, &name, &rollback, &actor).await,
    };
    let moved = moved.map_err(|error| about(error.into(), &tag))?;
    Ok((warnings, Json(event_of(&door, moved.sequence).await?)))
}

struct AskedRollback {
    to: i64,
    mode: RollbackMode,
    reason: Option<String>,
    seen: Option<i64>,
    reject: bool,
    until: HoldUntil,
}

fn read_rollback(root: Field<'_>) -> Result<AskedRollback, Status> {
    let to = root.get("to");
    let mode = root.get("mode");
    Ok(AskedRollback {
        to: to.number()?.ok_or_else(|| to.missing("the sequence of the row to go back to, as the history has it"))?,
        mode: match mode.filled()? {
            None => RollbackMode::Rebuild,
            Some(word) => word.parse().map_err(|error| mode.invalid(error))?,
        },
        reason: read_reason(&root)?,
        seen: root.get("seen").number()?,
        reject: root.get("reject").flag_or_none()?.unwrap_or(true),
        until: read_until(&root)?,
    })
}

/// The `until` of a body: what ends the hold besides a person.
pub fn read_until(root: &Field<'_>) -> Result<HoldUntil, Status> {
    let until = root.get("until");
    match until.filled()? {
        None => Ok(HoldUntil::Resumed),
        Some(text) => match text.parse().map_err(|error| until.invalid(error))? {
            HoldUntil::Date(at) if at <= now() => Err(until.invalid("the time is over")),
            found => Ok(found),
        },
    }
}

/// The `reason` of a body.
pub fn read_reason(root: &Field<'_>) -> Result<Option<String>, Status> {
    let field = root.get("reason");
    let reason = field.filled()?;
    if reason.as_ref().is_some_and(|reason| reason.chars().count() > MAX_REASON) {
        return Err(field.invalid(format!("may have at most {MAX_REASON} characters")));
    }
    Ok(reason)
}

/// Brings a deleted tag back to the image it pointed to.
pub async fn restore(
    State(door): State<Door>,
    caller: Caller,
    Path((project, stream, tag)): Names,
    body: Body,
) -> Result<(Warnings, Json<Value>), Status> {
    caller.may(&door, "update", &IMAGE_STREAM_TAGS, &project, &title(&stream, &tag)).await?;
    let (reason, warnings) = body.read(|root| read_reason(&root))?;
    let moved = door.store.restore_tag(&project, &stream, &tag, reason.as_deref(), &caller.actor()).await?;
    Ok((warnings, Json(event_of(&door, moved.sequence).await?)))
}

/// Keeps automation from moving a tag.
pub async fn hold(
    State(door): State<Door>,
    caller: Caller,
    Path((project, stream, tag)): Names,
    body: Body,
) -> Result<(Warnings, Json<Value>), Status> {
    caller.may(&door, "update", &IMAGE_STREAM_TAGS, &project, &title(&stream, &tag)).await?;
    let ((reason, until), warnings) = body.read(|root| Ok((read_reason(&root)?, read_until(&root)?)))?;
    door.store.hold_tag_until(&project, &stream, &tag, reason.as_deref(), until, &caller.actor()).await?;
    let tag = door.store.tag(&project, &stream, &tag).await?;
    let hold = door.store.tag_hold(&tag.id).await?;
    Ok((warnings, Json(json!({"tag": tag.title(), "hold": hold.as_ref().map(show_hold)}))))
}

/// Lets automation move a tag again; what waited follows at once.
pub async fn resume(
    State(door): State<Door>,
    caller: Caller,
    Path((project, stream, name)): Names,
    DryRun(dry_run): DryRun,
    body: Body,
) -> Result<(Warnings, Json<Value>), Status> {
    caller.may(&door, "update", &IMAGE_STREAM_TAGS, &project, &title(&stream, &name)).await?;
    let (_, warnings) = body.read(|_| Ok(()))?;
    let tag = door.store.tag(&project, &stream, &name).await?;
    if dry_run {
        let waiting = door.store.tag_waiting(&tag.id).await?;
        let steps = match &waiting {
            Some(_) => moved_steps(&door, &caller, &tag.id, RollbackMode::Rebuild, true).await?,
            None => Vec::new(),
        };
        let to = waiting.as_ref().and_then(|event| event.digest.as_deref());
        return Ok((warnings, Json(dry(tag.digest.as_deref(), to, steps))));
    }
    let moved = door.store.resume_tag(&project, &stream, &name, &caller.actor()).await?;
    let event = match moved {
        Some(moved) => event_of(&door, moved.sequence).await?,
        None => Value::Null,
    };
    Ok((warnings, Json(json!({"tag": tag.title(), "hold": null, "moved": event}))))
}

/// Looks at the tag's source now, rather than on schedule.
pub async fn check(
    State(door): State<Door>,
    caller: Caller,
    Path((project, stream, tag)): Names,
    body: Body,
) -> Result<(Warnings, Json<Value>), Status> {
    caller.may(&door, "update", &IMAGE_STREAM_TAGS, &project, &title(&stream, &tag)).await?;
    let (_, warnings) = body.read(|_| Ok(()))?;
    door.store.request_check(&project, &stream, &tag, &caller.actor()).await?;
    Ok((warnings, Json(import_of(&door, &project, &stream, &tag).await?)))
}

/// Lets what waits for the tag's cool-down pass now; `digest` names it, so that nothing passes that came meanwhile.
pub async fn adopt(
    State(door): State<Door>,
    caller: Caller,
    Path((project, stream, tag)): Names,
    body: Body,
) -> Result<(Warnings, Json<Value>), Status> {
    caller.may(&door, "update", &IMAGE_STREAM_TAGS, &project, &title(&stream, &tag)).await?;
    let (digest, warnings) = body.read(|root| root.get("digest").filled())?;
    door.store.adopt_now(&project, &stream, &tag, digest.as_deref(), &caller.actor()).await?;
    Ok((warnings, Json(import_of(&door, &project, &stream, &tag).await?)))
}

/// How the imports of a tag go by now.
async fn import_of(door: &Door, project: &str, stream: &str, tag: &str) -> Result<Value, Status> {
    let tag = door.store.tag(project, stream, tag).await?;
    let import = door.store.find_import(&tag.id).await?;
    Ok(json!({"tag": tag.title(), "import": import.as_ref().map(|import| show_import(&tag, import))}))
}

pub fn title(stream: &str, tag: &str) -> String {
    format!("{stream}:{tag}")
}

fn about(status: Status, tag: &Tag) -> Status {
    status.about(&IMAGE_STREAM_TAGS, &tag.title())
}

async fn event_of(door: &Door, sequence: i64) -> Result<Value, Status> {
    Ok(door.store.find_event(sequence).await?.as_ref().map(show_event).unwrap_or_default())
}

/// A row of a tag's history.
pub fn show_event(event: &TagEvent) -> Value {
    let mut shown = json!({
        "sequence": event.sequence,
        "number": event.number,
        "stream": event.stream,
        "tag": event.tag,
        "outcome": event.outcome,
        "digest": event.digest,
        "fromDigest": event.from_digest,
        "reference": event.reference,
        "kind": event.kind,
        "actor": event.actor,
        "actorKind": event.actor_kind,
        "reason": event.why(),
        "cause": event.cause,
        "request": event.request_id,
        "cascade": event.cascade_number,
        "build": event.build,
        "toSequence": event.to_sequence,
        "toNumber": event.to_number,
        "size": event.size,
        "at": rfc3339(event.at),
    });
    if event.is_gone() {
        shown["gone"] = true.into();
    }
    if let Some(problem) = &event.problem {
        shown["problem"] = problem.as_str().into();
    }
    if let Some(at) = event.repeated_at {
        shown["repeats"] = event.repeats.into();
        shown["repeatedAt"] = rfc3339(at).into();
    }
    shown
}

/// A hold.
pub fn show_hold(hold: &Hold) -> Value {
    let mut shown =
        json!({"actor": hold.actor, "reason": hold.reason, "since": rfc3339(hold.since), "sequence": hold.sequence});
    if hold.until() != HoldUntil::Resumed {
        shown["until"] = hold.until().to_string().into();
    }
    shown
}

/// An image that no automation may put on the tag.
pub fn show_rejected(rejected: &RejectedDigest) -> Value {
    json!({
        "digest": rejected.digest,
        "actor": rejected.actor,
        "reason": rejected.reason,
        "since": rfc3339(rejected.since),
        "sequence": rejected.sequence,
    })
}

fn show_import(tag: &Tag, import: &TagImport) -> Value {
    json!({
        "outcome": import.outcome,
        "reason": import.reason,
        "message": import.message,
        "lastTry": import.last_try_at.map(rfc3339),
        "lastOk": import.last_ok_at.map(rfc3339),
        "next": import.next_check_at().map(rfc3339),
        "overdue": import.is_overdue(now()),
        "requested": import.requested_at.map(rfc3339),
        "failingSince": import.failing_since.map(rfc3339),
        "failures": import.failures,
        "upstreamDigest": import.upstream_digest,
        "registryPausedBy": import.paused_by,
        "coolDownSeconds": tag.cool_down_ms.unwrap_or(0) / 1000,
        "cooling": import.cooling(tag).map(|cooling| json!({
            "digest": cooling.digest,
            "firstSeen": rfc3339(cooling.first_seen_at),
            "adoptedFrom": rfc3339(cooling.until),
            "adoptedBy": cooling.adopt_by,
        })),
    })
}
