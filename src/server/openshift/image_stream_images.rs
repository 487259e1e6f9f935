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
use crate::model::{DigestPrefix, image_halves, pulled_from};

/// One image of a stream.
pub async fn get(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "get", &IMAGE_STREAM_IMAGES, &project, &name).await?;
    let wrong = || Status::bad_request("ImageStreamImages must be retrieved with <name>@<id>");
    let (stream_name, id) = image_halves(&name).ok_or_else(wrong)?;
    let stream = door.store.stream(&project, stream_name).await?;
    let not_found = || Status::not_found(&IMAGE_STREAM_IMAGES, &name);
    let id: DigestPrefix = id.parse().map_err(|_| not_found())?;
    let digest = &door.store.find_stream_digest(&stream, &id).await?.ok_or_else(not_found)?;
    let local = format!("{}@{digest}", stream.repository());
    let reference = door.store.reference_in_stream(&stream.id, digest).await?.unwrap_or(local);
    let reference = pulled_from(&door.registry_host, &project, &stream.name, &reference);
    let image = image(&door, &stream.id, digest, &reference).await?;
    let mut meta = ObjectMeta::new(&format!("{stream_name}@{digest}"), &project, &stream.id, stream.version, 0);
    meta.creation_timestamp = image["metadata"]["creationTimestamp"].as_str().unwrap_or_default().to_owned();
    meta.labels = texts(&stream.labels);
    meta.annotations = texts(&stream.annotations);
    Ok(Json(typed(&IMAGE_STREAM_IMAGES, json!({"metadata": meta, "image": image}))))
}
