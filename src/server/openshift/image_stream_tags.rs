//! `imagestreamtags`: one tag of a stream, `<stream>:<tag>`, with the image it points to.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::body::{Body, Warnings};
use super::caller::Caller;
use super::images::{self, typed};
use super::kind::IMAGE_STREAM_TAGS;
use super::list::{ListQuery, envelope};
use super::metadata::ObjectMeta;
use super::past::AsOf;
use super::preconditions::Preconditions;
use super::status::Status;
use super::tag_page::TagPage;
use super::tag_writes::TagWrites;
use super::{Door, image_streams, past, tag_specs};
use crate::model::{Lookup, Stream, Tag, TagFacts, resolve};

const WRITES: TagWrites = TagWrites { kind: &IMAGE_STREAM_TAGS, spec: "tag", takes_back: false };

/// Tags of a project that point to an image. Images are named only: a list stays cheap.
pub async fn list(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
    query: ListQuery,
    AsOf(as_of): AsOf,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "list", &IMAGE_STREAM_TAGS, &project, "").await?;
    if let Some(moment) = as_of {
        return Ok(Json(past::tags(&door, &IMAGE_STREAM_TAGS, &project, &moment, &query).await?));
    }
    let (page, version) = TagPage::read(&door, &project, &query, true).await?;
    let generations = door.store.move_generations(&page.tags.items).await?;
    let shape_one = |tag: &Tag| {
        let image = images::bare(tag.digest.as_deref().unwrap_or_default(), &reference(&door, tag));
        let generation = generations.get(&tag.id).copied();
        page.streams.get(&tag.stream).map(|stream| shape(stream, tag, generation, image, Vec::new()))
    };
    let items = page.tags.items.iter().filter(|tag| !tag.is_mere_reference()).filter_map(shape_one).collect();
    Ok(Json(envelope(&IMAGE_STREAM_TAGS, version, page.tags.next.as_deref(), items)))
}

/// One tag with its image.
pub async fn get(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
    AsOf(as_of): AsOf,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "get", &IMAGE_STREAM_TAGS, &project, &name).await?;
    let (stream, tag) = WRITES.split(&name)?;
    if let Some(moment) = as_of {
        return Ok(Json(past::tag(&door, &IMAGE_STREAM_TAGS, &project, (stream, tag), &moment).await?));
    }
    let stream = door.store.stream(&project, stream).await?;
    let tag = door.store.tag(&project, &stream.name, tag).await?;
    let Some(digest) = tag.digest.as_ref().filter(|_| !tag.is_mere_reference()) else {
        return Err(Status::not_found(&IMAGE_STREAM_TAGS, &name));
    };
    // That the image is gone is said, and by its kind; lists and histories still name it.
    let image = images::image(&door, &stream.id, digest, &reference(&door, &tag)).await?;
    Ok(Json(show_with(&door, &stream, &tag, image).await?))
}

/// Makes a tag; its stream, too, when there is none.
pub async fn create(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
    body: Body,
) -> Result<(StatusCode, Warnings, Json<Value>), Status> {
    let (stream, tag, warnings) = WRITES.create(&door, &caller, &project, &body).await?;
    Ok((StatusCode::CREATED, warnings, Json(show(&door, &stream, &tag).await?)))
}

/// Says what a tag should be, as `oc tag` does; makes it and its stream when they are not there.
pub async fn put(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
    body: Body,
) -> Result<(StatusCode, Warnings, Json<Value>), Status> {
    let put = WRITES.put(&door, &caller, &project, &name, &body).await?;
    Ok((put.code, put.warnings, Json(show(&door, &put.stream, &put.tag).await?)))
}

/// Deletes a tag. Its image and its history stay. An immutable tag is deleted by project admins only.
pub async fn delete(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
    wanted: Preconditions,
) -> Result<Json<Value>, Status> {
    Ok(Json(WRITES.delete(&door, &caller, &project, &name, &wanted).await?))
}

/// A tag that was set: its image may have to come yet.
async fn show(door: &Door, stream: &Stream, tag: &Tag) -> Result<Value, Status> {
    let image = match tag.digest.as_ref().filter(|_| !tag.is_mere_reference()) {
        None => json!({"metadata": {}, "dockerImageMetadata": null}),
        Some(digest) => images::known(door, &stream.id, digest, &reference(door, tag)).await?,
    };
    show_with(door, stream, tag, image).await
}

async fn show_with(door: &Door, stream: &Stream, tag: &Tag, mut image: Value) -> Result<Value, Status> {
    let conditions = image_streams::conditions(tag, &door.store.tag_parts([tag]).await?);
    let generation = door.store.move_generations([tag]).await?.remove(&tag.id);
    for (key, value) in tag_specs::annotations(tag) {
        image["metadata"]["annotations"][key] = value.into();
    }
    Ok(typed(&IMAGE_STREAM_TAGS, shape(stream, tag, generation, image, conditions)))
}

/// `generation` is that of the tag's newest move; a tag that has none, or names an image instead, has that of what it should be.
fn shape(stream: &Stream, tag: &Tag, generation: Option<i64>, image: Value, conditions: Vec<Value>) -> Value {
    let generation = generation.filter(|_| !tag.is_mere_reference()).unwrap_or(tag.generation);
    let mut object = json!({
        "metadata": meta(stream, tag),
        "tag": if tag.has_spec != 0 { tag_specs::show(tag) } else { Value::Null },
        "generation": generation,
        "lookupPolicy": {"local": stream.local_lookup != 0},
        "image": image,
    });
    if !conditions.is_empty() {
        object["conditions"] = conditions.into();
    }
    object
}

/// The tag's metadata: the stream is what is stored, and its tags go by its id, version and labels.
pub(super) fn meta(stream: &Stream, tag: &Tag) -> ObjectMeta {
    let created = tag.refers_at.or(tag.moved_at).unwrap_or(tag.created_at);
    let meta = ObjectMeta::new(&tag.title(), &stream.project, &stream.id, stream.version, created);
    ObjectMeta { annotations: tag_specs::annotations(tag), ..meta.described(&stream.labels, "{}") }
}

/// Where to pull the tag's image.
pub(super) fn reference(door: &Door, tag: &Tag) -> String {
    let found = resolve(&TagFacts::of(tag), Lookup::Image, &door.registry_host);
    found.map(|found| found.pull_spec).unwrap_or_default()
}
