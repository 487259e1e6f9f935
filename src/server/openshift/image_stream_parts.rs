//! What hangs below a stream: `imagestreams/layers`, the blobs its images consist of, and `imagestreams/secrets`, what its imports may
//! sign in with.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Map, Value, json};

use super::Door;
use super::caller::Caller;
use super::images::typed;
use super::kind::{SECRETS, STREAM_LAYERS, STREAM_SECRETS};
use super::list::envelope;
use super::metadata::ObjectMeta;
use super::past::AsOf;
use super::status::Status;
use super::{image_streams, past};
use crate::model::{SecretKind, is_artifact};

/// The images in the histories of a stream's tags with those that they list, as far as the view of the stream shows the histories, and all
/// their blobs. For those who may pull. With `as_of` those that the view showed at that moment; what the repository does not have any more is
/// told as missing.
pub async fn layers(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
    AsOf(as_of): AsOf,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "get", &STREAM_LAYERS, &project, &name).await?;
    let (shown, meta) = match as_of {
        None => {
            let stream = door.store.stream(&project, &name).await?;
            (door.store.list_shown_images(&stream.id).await?, image_streams::meta(&stream))
        }
        Some(moment) => {
            let stream = door.store.stream_then(&door.store.project(&project).await?.id, &name, &moment).await?;
            (door.store.list_shown_images_then(&stream, &moment).await?, past::stream_meta(&project, &stream, &moment))
        }
    };
    let (mut blobs, mut images) = (BTreeMap::new(), BTreeMap::new());
    for image in shown.images {
        let mut refers = Map::new();
        match image.media_type {
            None => _ = refers.insert("imageMissing".to_owned(), true.into()),
            Some(media_type) => {
                blobs.insert(image.digest.clone(), json!({"size": image.size, "mediaType": media_type}));
            }
        }
        if let Some(config) = image.config_digest {
            // Of an artifact with a type of its own the manifest alone tells what its configuration is.
            let media_type = image.config_type.filter(|of| !is_artifact(Some(of)));
            let media_type = media_type.unwrap_or_else(|| "application/octet-stream".to_owned());
            blobs.insert(config.clone(), json!({"size": image.config_size.unwrap_or(0), "mediaType": media_type}));
            refers.insert("config".to_owned(), config.into());
        }
        images.insert(image.digest, refers);
    }
    for (list, parts) in [("layers", shown.layers), ("manifests", shown.children)] {
        for part in parts {
            blobs
                .entry(part.digest.clone())
                .or_insert_with(|| json!({"size": part.size, "mediaType": part.media_type}));
            let Some(refers) = images.get_mut(&part.image) else { continue };
            if let Value::Array(all) = refers.entry(list).or_insert_with(|| json!([])) {
                all.push(part.digest.into());
            }
        }
    }
    let object = json!({"metadata": meta, "blobs": blobs, "images": images});
    Ok(Json(typed(&STREAM_LAYERS, object)))
}

/// The secrets for registries that the project has, by name: the stream need not be there, and says nothing of them. What they hold goes in
/// and never comes out.
pub async fn secrets(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "get", &STREAM_SECRETS, &project, &name).await?;
    let version = door.store.last_sequence().await?;
    let secrets = door.store.list_secrets(&project).await?;
    let secrets = secrets.into_iter().filter(|secret| secret.kind == SecretKind::Registry);
    let items = secrets.map(|secret| {
        json!({
            "metadata": ObjectMeta::new(&secret.name, &project, &secret.id, version, secret.created_at),
            "type": "kubernetes.io/dockerconfigjson",
        })
    });
    Ok(Json(envelope(&SECRETS, version, None, items.collect())))
}
