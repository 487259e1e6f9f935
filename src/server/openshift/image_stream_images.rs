//! `imagestreamimages`: an image of a stream's history by digest, `<stream>@<digest>`; the digest may be shortened.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::Door;
use super::caller::Caller;
use super::images::{image, typed};
use super::kind::IMAGE_STREAM_IMAGES;
use super::metadata::{ObjectMeta, texts};
use super::status::Status;

/// One image of a stream.
pub async fn get(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "get", &IMAGE_STREAM_IMAGES, &project, &name).await?;
    let (stream_name, id) = match name.split_once('@') {
        Some((stream, id)) if !stream.is_empty() && !id.is_empty() && !id.contains('@') => (stream, id),
        _ => return Err(Status::bad_request("ImageStreamImages must be retrieved with <name>@<id>")),
    };
    let stream = door.store.stream(&project, stream_name).await?;
    let not_found = || Status::not_found(&IMAGE_STREAM_IMAGES, &name);
    if !id.chars().all(|c| c.is_ascii_alphanumeric() || c == ':') {
        return Err(not_found());
    }
    let digests = door.store.list_digests_like(&stream.id, id).await?;
    let digest = match digests.as_slice() {
        [] => return Err(not_found()),
        [digest] => digest,
        several => {
            return Err(Status::conflict(format!("multiple images match the prefix \"{id}\": {}", several.join(", "))));
        }
    };
    let local = format!("{}@{digest}", stream.repository());
    let reference = door.store.reference_in_stream(&stream.id, digest).await?.unwrap_or(local);
    let image = image(&door, digest, &door.in_repository(&stream.repository(), &reference)).await?;
    let mut meta = ObjectMeta::new(&format!("{stream_name}@{digest}"), &project, &stream.id, stream.version, 0);
    meta.creation_timestamp = image["metadata"]["creationTimestamp"].as_str().unwrap_or_default().to_owned();
    meta.labels = texts(&stream.labels);
    Ok(Json(typed(&IMAGE_STREAM_IMAGES, json!({"metadata": meta, "image": image}))))
}
