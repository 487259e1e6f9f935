//! What streams keep of their tags' histories.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::DryRun;
use crate::model::{Garbage, GarbageKind, RetentionRule, now};
use crate::server::openshift::Door;
use crate::server::openshift::body::{Body, Warnings};
use crate::server::openshift::caller::Caller;
use crate::server::openshift::kind::{IMAGE_STREAMS, RETENTION_RULES};
use crate::server::openshift::status::Status;
use crate::server::store::bytes_of;

/// Project and stream of a URL.
type Names = Path<(String, String)>;

/// The stream's rule; with all numbers null it keeps everything.
pub async fn get(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Names,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "get", &IMAGE_STREAMS, &project, &name).await?;
    let stream = door.store.stream(&project, &name).await?;
    let rule = door.store.find_retention(&stream.id).await?.unwrap_or_default();
    Ok(Json(json!({"stream": stream.name, "rule": rule})))
}

/// Sets the rule. A dry run tells every row that would go by it, and the bytes.
pub async fn put(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Names,
    DryRun(dry_run): DryRun,
    body: Body,
) -> Result<(Warnings, Json<Value>), Status> {
    caller.may(&door, "update", &RETENTION_RULES, &project, &name).await?;
    let stream = door.store.stream(&project, &name).await?;
    let (rule, warnings) = body.read(|root| {
        Ok(RetentionRule {
            keep_versions: root.get("keepVersions").number()?,
            keep_days: root.get("keepDays").number()?,
            untagged_days: root.get("untaggedDays").number()?,
        })
    })?;
    let moment = door.store.moment(now(), door.gc_grace_ms);
    let about = |error| Status::from(error).about(&RETENTION_RULES, &name);
    if !dry_run {
        door.store.set_retention(&stream, &rule, &moment, &caller.actor()).await.map_err(about)?;
        return Ok((warnings, Json(json!({"stream": stream.name, "rule": rule}))));
    }
    let preview = door.store.preview_retention(&stream, &rule, &moment, &caller.actor()).await.map_err(about)?;
    let goes = preview.swept;
    let manifests = goes.iter().filter(|row| row.kind == GarbageKind::Manifest).count();
    let answer = json!({
        "dryRun": true,
        "stream": stream.name,
        "rule": rule,
        "manifests": manifests,
        "bytes": bytes_of(&goes),
        "goes": goes.iter().map(show).collect::<Vec<_>>(),
    });
    Ok((warnings, Json(answer)))
}

fn show(row: &Garbage) -> Value {
    json!({"kind": row.kind, "digest": row.digest, "size": row.size})
}
