//! Limits of a project's streams.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::usage::may_share_out;
use crate::model::ProjectLimits;
use crate::server::openshift::body::{Body, Warnings};
use crate::server::openshift::caller::Caller;
use crate::server::openshift::kind::{LIMITS, USAGE};
use crate::server::openshift::status::Status;
use crate::server::openshift::{Door, Field};

/// What the project's streams may grow to: `imageBytes`, `streamImages` and `streamTags`, each a number, or null without a limit.
pub async fn get(State(door): State<Door>, caller: Caller, Path(project): Path<String>) -> Result<Json<Value>, Status> {
    caller.may(&door, "get", &USAGE, &project, "").await?;
    Ok(Json(show(&door.store.project_limits(&project).await?)))
}

/// Sets the limits as the body has them; one that is left out, or null, is none.
pub async fn put(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
    body: Body,
) -> Result<(Warnings, Json<Value>), Status> {
    may_share_out(&door, &caller, "update", &LIMITS, &project).await?;
    let (limits, warnings) = body.read(|root| {
        Ok(ProjectLimits {
            image_bytes: most(&root.get("imageBytes"))?,
            stream_images: most(&root.get("streamImages"))?,
            stream_tags: most(&root.get("streamTags"))?,
        })
    })?;
    door.store.set_project_limits(&project, &limits, &caller.actor()).await?;
    Ok((warnings, Json(show(&limits))))
}

/// Lets the streams grow as they will.
pub async fn delete(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
) -> Result<StatusCode, Status> {
    may_share_out(&door, &caller, "delete", &LIMITS, &project).await?;
    door.store.set_project_limits(&project, &ProjectLimits::default(), &caller.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn most(field: &Field<'_>) -> Result<Option<i64>, Status> {
    match field.number::<i64>()? {
        Some(most) if most < 0 => Err(field.invalid("must not be less than 0")),
        most => Ok(most),
    }
}

fn show(limits: &ProjectLimits) -> Value {
    let named: Map<String, Value> =
        limits.named().into_iter().map(|(name, most)| (name.to_owned(), most.into())).collect();
    named.into()
}
