//! `imagestreamtags`: one tag of a stream, `<stream>:<tag>`, with the image it points to.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::body::{Body, Warnings};
use super::caller::Caller;
use super::images::{self, typed};
use super::kind::IMAGE_STREAM_TAGS;
use super::list::{ListQuery, envelope};
use super::metadata::{GivenMeta, ObjectMeta, read_head, texts};
use super::past::AsOf;
use super::status::{Cause, Status};
use super::tag_specs::GivenTag;
use super::{Door, deleted, image_streams, past, tag_specs};
use crate::model::{Lookup, Stream, StreamName, Tag, TagFacts, TagName, TagTitle, resolve};
use crate::server::store::TagSpec;

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
        return Ok(Json(past::tags(&door, &project, &moment, &query).await?));
    }
    query.check_fields(&[])?;
    let version = door.store.last_sequence().await?;
    // A tag carries its stream's labels, so that only a selector on labels needs the streams before the page is full.
    let streams = if query.asks_labels() { streams_by_name(&door, &project).await? } else { BTreeMap::new() };
    let page = query
        .page(
            |after, limit| {
                let (store, project) = (&door.store, &project);
                async move {
                    let (stream, tag) = TagTitle::halves(&after).unwrap_or((&after, ""));
                    store.list_project_tags(project, (stream, tag), limit).await
                }
            },
            Tag::title,
            |tag| {
                let labels = streams.get(&tag.stream).map(|stream| texts(&stream.labels)).unwrap_or_default();
                query.wants(&tag.title(), &labels)
            },
        )
        .await?;
    let mut shown: Option<Stream> = None;
    let mut items = Vec::with_capacity(page.items.len());
    for tag in &page.items {
        let stream = match shown.take().filter(|stream| stream.name == tag.stream) {
            Some(stream) => stream,
            None => door.store.stream(&project, &tag.stream).await?,
        };
        let reference = reference(&door, tag);
        let image = images::bare(tag.digest.as_deref().unwrap_or_default(), &reference);
        items.push(shape(&stream, tag, image, Vec::new()));
        shown = Some(stream);
    }
    Ok(Json(envelope(&IMAGE_STREAM_TAGS, version, page.next.as_deref(), items)))
}

async fn streams_by_name(door: &Door, project: &str) -> Result<BTreeMap<String, Stream>, Status> {
    let mut streams = BTreeMap::new();
    let mut after = String::new();
    loop {
        let page = door.store.list_streams(project, &after, 500).await?;
        match page.last() {
            None => return Ok(streams),
            Some(last) => after.clone_from(&last.name),
        }
        streams.extend(page.into_iter().map(|stream| (stream.name.clone(), stream)));
    }
}

/// One tag with its image.
pub async fn get(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
    AsOf(as_of): AsOf,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "get", &IMAGE_STREAM_TAGS, &project, &name).await?;
    let (stream, tag) = split(&name)?;
    if let Some(moment) = as_of {
        return Ok(Json(past::tag(&door, &project, stream, tag, &moment).await?));
    }
    let stream = door.store.stream(&project, stream).await?;
    let tag = door.store.tag(&project, &stream.name, tag).await?;
    if tag.digest.as_deref().unwrap_or_default().is_empty() {
        return Err(Status::not_found(&IMAGE_STREAM_TAGS, &name));
    }
    Ok(Json(show(&door, &stream, &tag).await?))
}

/// Makes a tag; its stream, too, when there is none.
pub async fn create(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
    body: Body,
) -> Result<(StatusCode, Warnings, Json<Value>), Status> {
    caller.may(&door, "create", &IMAGE_STREAM_TAGS, &project, "").await?;
    let (given, warnings) = read_tag(&body, &project, "")?;
    let refuse = |error| Status::bad_name("metadata.name", &given.meta.name, &error);
    let name: TagTitle =
        given.meta.name.parse().map_err(|error| refuse(error).about(&IMAGE_STREAM_TAGS, &given.meta.name))?;
    let title = name.to_string();
    let TagTitle { stream, tag } = name;
    let there = door.store.find_tag(&project, stream.as_str(), tag.as_str()).await?;
    if there.is_some_and(|tag| tag.has_spec != 0 && tag.deleted_at.is_none()) {
        return Err(Status::already_exists_singular(&IMAGE_STREAM_TAGS, &title));
    }
    let spec = given.spec(None)?.unwrap_or_default();
    tag_specs::check_source(&door, &caller, &spec).await?;
    let set = door
        .store
        .set_tag(&project, &stream, &tag, &spec, given.meta.version, &caller.actor())
        .await
        .map_err(|error| Status::from(error).about(&IMAGE_STREAM_TAGS, &title))?;
    let stream = door.store.stream(&project, stream.as_str()).await?;
    Ok((StatusCode::CREATED, warnings, Json(show(&door, &stream, &set.tag).await?)))
}

/// Says what a tag should be, as `oc tag` does; makes it and its stream when they are not there.
pub async fn put(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
    body: Body,
) -> Result<(StatusCode, Warnings, Json<Value>), Status> {
    caller.may(&door, "update", &IMAGE_STREAM_TAGS, &project, &name).await?;
    let (stream, tag) = split(&name)?;
    let (given, warnings) = read_tag(&body, &project, &name)?;
    given.meta.check_name(&name)?;
    let (stream, tag) = names(stream, tag, &name)?;
    if given.meta.version.is_some() {
        // An update of something that was there: without its stream it is not.
        door.store.stream(&project, stream.as_str()).await?;
    }
    let before = door.store.find_tag(&project, stream.as_str(), tag.as_str()).await?;
    let before = before.filter(|tag| tag.has_spec != 0 && tag.deleted_at.is_none());
    let spec = given.spec(before.as_ref())?.ok_or_else(|| {
        Status::bad_request(format!(
            "imagestreamtag {tag} is not a spec tag in imagestream {project}/{stream}, cannot be updated"
        ))
    })?;
    tag_specs::check_source(&door, &caller, &spec).await?;
    let set = door
        .store
        .set_tag(&project, &stream, &tag, &spec, given.meta.version, &caller.actor())
        .await
        .map_err(|error| Status::from(error).about(&IMAGE_STREAM_TAGS, &name))?;
    let stream = door.store.stream(&project, stream.as_str()).await?;
    let code = if set.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((code, warnings, Json(show(&door, &stream, &set.tag).await?)))
}

/// Deletes a tag. Its image and its history stay. An immutable tag is deleted by project admins only.
pub async fn delete(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "delete", &IMAGE_STREAM_TAGS, &project, &name).await?;
    let (stream, tag) = split(&name)?;
    let stream = door.store.stream(&project, stream).await?;
    match caller.is_admin(&door, &project).await? {
        true => door.store.delete_tag_as_admin(&project, &stream.name, tag, &caller.actor()).await?,
        false => door.store.delete_tag(&project, &stream.name, tag, &caller.actor()).await?,
    }
    Ok(Json(deleted(&IMAGE_STREAM_TAGS, &name, &stream.id)))
}

struct Given {
    meta: GivenMeta,
    tag: Option<GivenTag>,
}

impl Given {
    /// The tag's spec, with the object's annotations. A body without one changes the annotations of the spec there is; `None` when there
    /// is none either.
    fn spec(&self, before: Option<&Tag>) -> Result<Option<TagSpec>, Status> {
        let mut spec = match (&self.tag, before) {
            (Some(given), _) => given.spec.clone(),
            (None, Some(tag)) => spec_of(tag)?,
            (None, None) => return Ok(None),
        };
        let annotations = self.meta.annotations_json()?;
        if spec.annotations != "{}" && spec.annotations != annotations && self.tag.is_some() {
            let message = "tag annotations must not be provided or must be equal to the object meta annotations";
            if !self.meta.annotations.is_empty() {
                return Err(Status::invalid(vec![Cause::invalid_value("tag.annotations", &spec.annotations, message)]));
            }
            return Ok(Some(spec));
        }
        spec.annotations = annotations;
        Ok(Some(spec))
    }
}

fn spec_of(tag: &Tag) -> Result<TagSpec, Status> {
    let source = match (&tag.source_kind, &tag.source) {
        (Some(kind), Some(name)) => {
            let kind = kind.parse().map_err(|error| Status::internal(&error))?;
            Some((kind, name.clone()))
        }
        _ => None,
    };
    Ok(TagSpec {
        source,
        source_project: tag.source_project.clone(),
        reference_only: tag.reference_only != 0,
        insecure: tag.insecure != 0,
        scheduled: tag.scheduled != 0,
        interval_ms: tag.interval_ms,
        cool_down_ms: tag.cool_down_ms,
        import_mode: tag.import_mode.clone(),
        reference_policy: tag.reference_policy.clone(),
        annotations: tag.annotations.clone(),
    })
}

fn read_tag(body: &Body, project: &str, url_name: &str) -> Result<(Given, Warnings), Status> {
    let mut name = url_name.to_owned();
    let read = body.read(|root| {
        let meta = read_head(&root, &IMAGE_STREAM_TAGS, project)?;
        if name.is_empty() {
            name.clone_from(&meta.name);
        }
        // The image is what the tag points to, and the policy is its stream's: neither is set through a tag.
        root.pass_over_all(&["conditions", "generation", "image", "lookupPolicy"]);
        let tag = root.get("tag");
        tag.pass_over_all(&["name"]);
        let given = if tag.is_present() { Some(tag_specs::read(&tag, project)?) } else { None };
        Ok(Given { meta, tag: given })
    });
    read.map_err(|status| status.about(&IMAGE_STREAM_TAGS, &name))
}

fn split(name: &str) -> Result<(&str, &str), Status> {
    TagTitle::halves(name).ok_or_else(|| Status::bad_request("ImageStreamTags must be retrieved with <name>:<tag>"))
}

fn names(stream: &str, tag: &str, title: &str) -> Result<(StreamName, TagName), Status> {
    let refuse = |error| Status::bad_name("metadata.name", title, &error).about(&IMAGE_STREAM_TAGS, title);
    Ok((stream.parse().map_err(refuse)?, tag.parse().map_err(refuse)?))
}

async fn show(door: &Door, stream: &Stream, tag: &Tag) -> Result<Value, Status> {
    let parts = door.store.stream_parts(&stream.project, &stream.name, &stream.name).await?;
    let conditions = image_streams::conditions(tag, &parts);
    let reference = reference(door, tag);
    let mut image = match &tag.digest {
        // Not imported yet, or the reference is all there is.
        None => json!({"metadata": {}, "dockerImageMetadata": null}),
        Some(digest) => match images::image(door, digest, &reference).await {
            Ok(image) => image,
            Err(status) if status.code() == StatusCode::NOT_FOUND => images::bare(digest, &reference),
            Err(status) => return Err(status),
        },
    };
    for (key, value) in tag_specs::annotations(tag) {
        image["metadata"]["annotations"][key] = value.into();
    }
    Ok(typed(&IMAGE_STREAM_TAGS, shape(stream, tag, image, conditions)))
}

fn shape(stream: &Stream, tag: &Tag, image: Value, conditions: Vec<Value>) -> Value {
    let created = tag.moved_at.unwrap_or(tag.created_at);
    // The stream is what is stored; its tags go by its id and version.
    let meta = ObjectMeta::new(&tag.title(), &stream.project, &stream.id, stream.version, created);
    let mut object = json!({
        "metadata": ObjectMeta { annotations: tag_specs::annotations(tag), ..meta.described(&stream.labels, "{}") },
        "tag": if tag.has_spec != 0 { tag_specs::show(tag) } else { Value::Null },
        "generation": tag.generation,
        "lookupPolicy": {"local": stream.local_lookup != 0},
        "image": image,
    });
    if !conditions.is_empty() {
        object["conditions"] = conditions.into();
    }
    object
}

/// Where to pull the tag's image.
fn reference(door: &Door, tag: &Tag) -> String {
    let found = resolve(&TagFacts::of(tag), Lookup::Image, &door.registry_host);
    found.map(|found| found.pull_spec).unwrap_or_default()
}
