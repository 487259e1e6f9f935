//! `imagetags`: one tag of a stream, `<stream>:<tag>`, with what it should be and what it became. Unlike an `imagestreamtag` it is there
//! without an image, too.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::body::{Body, Warnings};
use super::caller::Caller;
use super::images::{self, typed};
use super::kind::IMAGE_TAGS;
use super::list::{ListQuery, envelope};
use super::past::AsOf;
use super::preconditions::Preconditions;
use super::status::{Cause, Status};
use super::tag_page::TagPage;
use super::tag_writes::TagWrites;
use super::{Door, image_stream_tags, image_streams, past, tag_specs};
use crate::model::{Stream, Tag};
use crate::server::store::TagParts;

const WRITES: TagWrites = TagWrites { kind: &IMAGE_TAGS, spec: "spec", takes_back: true };

/// Tags of a project, each with its status; images are named only.
pub async fn list(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
    query: ListQuery,
    AsOf(as_of): AsOf,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "list", &IMAGE_TAGS, &project, "").await?;
    if let Some(moment) = as_of {
        return Ok(Json(past::tags(&door, &IMAGE_TAGS, &project, &moment, &query).await?));
    }
    let (page, version) = TagPage::read(&door, &project, &query, false).await?;
    let parts = door.store.tag_parts(&page.tags.items).await?;
    let shape_one = |tag: &Tag| {
        let digest = tag.digest.as_ref().filter(|_| !tag.is_mere_reference());
        let image = digest.map(|digest| images::bare(digest, &image_stream_tags::reference(&door, tag)));
        page.streams.get(&tag.stream).map(|stream| shape(&door, stream, tag, &parts, image))
    };
    let items = page.tags.items.iter().filter(|tag| !tag.is_only_named()).filter_map(shape_one).collect();
    Ok(Json(envelope(&IMAGE_TAGS, version, page.tags.next.as_deref(), items)))
}

/// One tag.
pub async fn get(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
    AsOf(as_of): AsOf,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "get", &IMAGE_TAGS, &project, &name).await?;
    let (stream, tag) = WRITES.split(&name)?;
    if let Some(moment) = as_of {
        return Ok(Json(past::tag(&door, &IMAGE_TAGS, &project, (stream, tag), &moment).await?));
    }
    let stream = door.store.stream(&project, stream).await?;
    let tag = door
        .store
        .find_tag(&project, &stream.name, tag)
        .await?
        .filter(|tag| tag.deleted_at.is_none() && !tag.is_only_named());
    let tag = tag.ok_or_else(|| Status::not_found(&IMAGE_TAGS, &name))?;
    Ok(Json(show(&door, &stream, &tag).await?))
}

/// Makes a tag, which the body must say what it should be; its stream, too, when there is none.
pub async fn create(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
    body: Body,
) -> Result<(StatusCode, Warnings, Json<Value>), Status> {
    caller.may(&door, "create", &IMAGE_TAGS, &project, "").await?;
    let (given, warnings) = WRITES.read(&body, &project, "")?;
    let about = |cause| Status::invalid(vec![cause]).about(&IMAGE_TAGS, &given.meta.name);
    let named = given.meta.name.split_once(':').map_or("latest", |(_, tag)| tag);
    match (&given.tag, given.spec_name.as_deref()) {
        (None, _) => return Err(about(Cause::required("spec", "spec is a required field during creation"))),
        (Some(_), Some(name)) if name != named => {
            let message = "must match the tag's name in metadata.name";
            return Err(about(Cause::invalid_value("spec.name", name, message)));
        }
        _ => {}
    }
    let (stream, tag) = WRITES.make(&door, &caller, &project, &given).await?;
    Ok((StatusCode::CREATED, warnings, Json(show(&door, &stream, &tag).await?)))
}

/// Says what a tag should be; makes it and its stream when they are not there.
pub async fn put(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
    body: Body,
) -> Result<(StatusCode, Warnings, Json<Value>), Status> {
    let put = WRITES.put(&door, &caller, &project, &name, &body).await?;
    Ok((put.code, put.warnings, Json(show(&door, &put.stream, &put.tag).await?)))
}

/// Deletes a tag, what it should be and what it is. Its history stays.
pub async fn delete(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
    wanted: Preconditions,
) -> Result<Json<Value>, Status> {
    Ok(Json(WRITES.delete(&door, &caller, &project, &name, &wanted).await?))
}

async fn show(door: &Door, stream: &Stream, tag: &Tag) -> Result<Value, Status> {
    let parts = door.store.tag_parts([tag]).await?;
    let image = match tag.digest.as_ref().filter(|_| !tag.is_mere_reference()) {
        None => None,
        Some(digest) => Some(images::known(door, &stream.id, digest, &image_stream_tags::reference(door, tag)).await?),
    };
    Ok(typed(&IMAGE_TAGS, shape(door, stream, tag, &parts, image)))
}

fn shape(door: &Door, stream: &Stream, tag: &Tag, parts: &TagParts, image: Option<Value>) -> Value {
    json!({
        "metadata": image_stream_tags::meta(stream, tag),
        "spec": if tag.has_spec != 0 { tag_specs::show(tag) } else { Value::Null },
        "status": image_streams::status_tag(door, tag, parts),
        "image": image,
    })
}
