//! `imagestreamimages`: an image of a stream's history by digest, `<stream>@<digest>`; the digest may be shortened.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::Door;
use super::caller::Caller;
use super::images::{bare, image, typed};
use super::kind::IMAGE_STREAM_IMAGES;
use super::metadata::{ObjectMeta, texts};
use super::past::{self, AsOf};
use super::status::Status;
use crate::model::{DigestPrefix, Moment, image_halves, pulled_from};

/// One image of a stream. With `as_of` one that it had at that moment.
pub async fn get(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
    AsOf(as_of): AsOf,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "get", &IMAGE_STREAM_IMAGES, &project, &name).await?;
    let wrong = || Status::bad_request("ImageStreamImages must be retrieved with <name>@<id>");
    let (stream_name, id) = image_halves(&name).ok_or_else(wrong)?;
    if let Some(moment) = as_of {
        return Ok(Json(get_then(&door, &project, (stream_name, id), &moment).await?));
    }
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

/// An image itself never changes: what is of the moment is that the stream had it. Where the repository has it no more, nothing is told but
/// its digest.
async fn get_then(
    door: &Door,
    project: &str,
    (stream_name, id): (&str, &str),
    moment: &Moment,
) -> Result<Value, Status> {
    let name = format!("{stream_name}@{id} at {}", moment.words);
    let not_found = || Status::not_found(&IMAGE_STREAM_IMAGES, &name);
    let stream = door.store.stream_then(&door.store.project(project).await?.id, stream_name, moment).await?;
    let id: DigestPrefix = id.parse().map_err(|_| not_found())?;
    let digest = door.store.find_stream_digest_then(&stream, &id, moment).await?.ok_or_else(not_found)?;
    let local = format!("{project}/{stream_name}@{digest}");
    let reference = door.store.reference_in_stream_then(&stream, &digest, moment).await?.unwrap_or(local);
    let reference = past::reference_of(door, project, &stream, Some(&reference));
    let image = match door.store.serves(&stream, &digest).await? {
        true => image(door, &stream.id, &digest, &reference).await?,
        false => bare(&digest, &reference),
    };
    let mut meta = past::stream_meta(project, &stream, moment);
    meta.name = format!("{stream_name}@{digest}");
    meta.creation_timestamp = image["metadata"]["creationTimestamp"].as_str().unwrap_or_default().to_owned();
    Ok(typed(&IMAGE_STREAM_IMAGES, json!({"metadata": meta, "image": image})))
}
