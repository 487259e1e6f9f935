//! Tags as they stood at a moment, with the histories they had; those of streams that were deleted since, too.

use serde_json::{Value, json};

use super::PageQuery;
use super::tags::{no_row, show_event, show_rejected, title};
use crate::model::{Moment, rfc3339};
use crate::server::openshift::Door;
use crate::server::openshift::kind::IMAGE_STREAM_TAGS;
use crate::server::openshift::status::Status;
use crate::server::store::{self, HoldThen};

/// Where a tag stood. What waited for it and how its imports went is not kept, nor whether it was immutable.
pub async fn standing(
    door: &Door,
    project: &str,
    (stream, name): (&str, &str),
    moment: &Moment,
) -> Result<Value, Status> {
    let stream = door.store.stream_then(&door.store.project(project).await?.id, stream, moment).await?;
    let missing =
        || Status::not_found(&IMAGE_STREAM_TAGS, &format!("{} at {}", title(&stream.name, name), moment.words));
    let tag = door.store.find_tag_then(&stream, name, moment).await?.ok_or_else(missing)?;
    let hold = door.store.tag_hold_then(&stream, &tag, moment).await?;
    let mut shown = json!({
        "asOf": moment.words,
        "project": project,
        "stream": stream.name,
        "tag": tag.name,
        "digest": tag.digest,
        "reference": tag.reference(),
        "sequence": tag.sequence,
        "number": tag.number,
        "movedAt": rfc3339(tag.at),
        "kind": tag.kind,
        "actor": tag.actor,
        "actorKind": tag.actor_kind,
        "reason": tag.reason,
        "hold": hold.as_ref().map(show_hold),
        "streamDeletedAt": stream.deleted_at.map(rfc3339),
    });
    if let Some(name) = tag.refers_to() {
        shown["refersTo"] = name.into();
    }
    if stream.is_there() {
        let rejected = door.store.list_rejected_then(&tag, moment).await?;
        shown["rejected"] = rejected.iter().map(show_rejected).collect();
    }
    Ok(shown)
}

/// A hold that there was.
pub fn show_hold(hold: &HoldThen) -> Value {
    json!({"actor": hold.actor, "reason": hold.reason, "since": rfc3339(hold.since), "sequence": hold.sequence})
}

/// A page of the history that a tag had: nothing before its stream was there.
pub async fn history(
    door: &Door,
    project: &str,
    (stream, name): (&str, &str),
    moment: &Moment,
    query: PageQuery,
) -> Result<Value, Status> {
    let missing = || Status::not_found(&IMAGE_STREAM_TAGS, &title(stream, name));
    let then = match door.store.stream_then(&door.store.project(project).await?.id, stream, moment).await {
        Err(store::Error::NotFound { .. }) => {
            door.store.find_tag(project, stream, name).await?.ok_or_else(missing)?;
            return Ok(query.envelope(Vec::new(), |event: &crate::model::TagEvent| event.sequence, show_event));
        }
        found => found?,
    };
    let tag_id = door.store.find_tag_id_then(&then, name).await?.ok_or_else(missing)?;
    let before = match query.before {
        None => None,
        Some(sequence) => {
            let number = door.store.find_number_then(&then, &tag_id, sequence).await?;
            Some(number.ok_or_else(|| no_row(sequence))?)
        }
    };
    let rows = door.store.list_history_then(&then, &tag_id, moment, before, query.rows()).await?;
    Ok(query.envelope(rows, |event| event.sequence, show_event))
}
