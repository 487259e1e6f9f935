//! What a stream forbids its tags: `immutable`, patterns of tags that stay where they point, and `kindChanges`, whether an artifact may
//! take an image's tag and the other way round.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use crate::model::Stream;
use crate::server::openshift::Door;
use crate::server::openshift::body::{Body, Warnings};
use crate::server::openshift::caller::Caller;
use crate::server::openshift::kind::TAG_RULES;
use crate::server::openshift::status::Status;
use crate::server::store::TagRules;

/// The rules of a stream, with the version that a change may be meant for.
pub async fn get(
    State(door): State<Door>,
    caller: Caller,
    Path((project, stream)): Path<(String, String)>,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "get", &TAG_RULES, &project, &stream).await?;
    show(&door.store.stream(&project, &stream).await?)
}

/// Sets all of a stream's rules; what is left out is as in a new stream.
pub async fn put(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
    body: Body,
) -> Result<(Warnings, Json<Value>), Status> {
    caller.may(&door, "update", &TAG_RULES, &project, &name).await?;
    let read = body.read(|root| {
        let rules =
            TagRules { immutable: root.get("immutable").texts()?, kind_changes: root.get("kindChanges").flag()? };
        Ok((rules, root.get("version").number()?))
    });
    let about = |status: Status| status.about(&TAG_RULES, &name);
    let ((rules, version), warnings) = read.map_err(about)?;
    let set = door.store.set_tag_rules(&project, &name, &rules, version, &caller.actor()).await;
    let stream = set.map_err(|error| about(error.into()))?;
    Ok((warnings, show(&stream)?))
}

fn show(stream: &Stream) -> Result<Json<Value>, Status> {
    let rules = TagRules::of(stream)?;
    Ok(Json(json!({
        "stream": stream.name,
        "immutable": rules.immutable,
        "kindChanges": rules.kind_changes,
        "version": stream.version,
    })))
}
