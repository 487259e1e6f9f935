//! Images that no automation may put on a tag: marking them, and allowing them again, without moving the tag.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::tags::{Names, read_reason, show_rejected, title};
use crate::model::Digest;
use crate::server::openshift::Door;
use crate::server::openshift::body::{Body, Warnings};
use crate::server::openshift::caller::Caller;
use crate::server::openshift::kind::IMAGE_STREAM_TAGS;
use crate::server::openshift::status::Status;

/// Keeps automations from putting the image of a `digest` on a tag.
pub async fn reject(
    State(door): State<Door>,
    caller: Caller,
    Path((project, stream, tag)): Names,
    body: Body,
) -> Result<(Warnings, Json<Value>), Status> {
    caller.may(&door, "update", &IMAGE_STREAM_TAGS, &project, &title(&stream, &tag)).await?;
    let ((digest, reason), warnings) = body.read(|root| {
        let field = root.get("digest");
        let digest: Digest = field.required()?.parse().map_err(|error| field.invalid(error))?;
        Ok((digest, read_reason(&root)?))
    })?;
    door.store.reject_image(&project, &stream, &tag, &digest, reason.as_deref(), &caller.actor()).await?;
    Ok((warnings, Json(all(&door, &project, &stream, &tag).await?)))
}

/// Lets automations put an image on a tag again.
pub async fn allow(
    State(door): State<Door>,
    caller: Caller,
    Path((project, stream, tag, digest)): Path<(String, String, String, String)>,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "update", &IMAGE_STREAM_TAGS, &project, &title(&stream, &tag)).await?;
    let digest: Digest = digest.parse().map_err(|error| Status::bad_request(format!("{error}")))?;
    door.store.allow_image(&project, &stream, &tag, &digest, &caller.actor()).await?;
    Ok(Json(all(&door, &project, &stream, &tag).await?))
}

async fn all(door: &Door, project: &str, stream: &str, tag: &str) -> Result<Value, Status> {
    let tag = door.store.tag(project, stream, tag).await?;
    let rejected = door.store.list_rejected(&tag.id).await?;
    Ok(json!({"tag": tag.title(), "rejected": rejected.iter().map(show_rejected).collect::<Vec<_>>()}))
}
