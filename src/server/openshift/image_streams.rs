//! `imagestreams`: streams as a whole, what their tags should be and what they became.

use std::collections::{BTreeMap, HashMap};

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::body::{Body, Warnings};
use super::caller::Caller;
use super::images::typed;
use super::import_status::import_status;
use super::kind::IMAGE_STREAMS;
use super::list::{ListQuery, envelope};
use super::metadata::{GivenMeta, ObjectMeta, read_object, texts};
use super::past::AsOf;
use super::preconditions::Preconditions;
use super::status::Status;
use super::{Door, deleted, past, stream_repository, tag_specs};
use crate::model::{Stream, StreamName, Tag, TagName, rfc3339};
use crate::server::store::{ImageRepository, StreamFields, StreamParts, TagParts, WantedTag, WholeStream};

/// Streams of a project.
pub async fn list(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
    query: ListQuery,
    AsOf(as_of): AsOf,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "list", &IMAGE_STREAMS, &project, "").await?;
    if let Some(moment) = as_of {
        return Ok(Json(past::streams(&door, &project, &moment, &query).await?));
    }
    query.check_fields(&["spec.dockerImageRepository", "status.dockerImageRepository"])?;
    let version = door.store.last_sequence().await?;
    let page = query
        .page(
            |after, limit| {
                let (store, project) = (&door.store, &project);
                async move { store.list_streams(project, &after, limit).await }
            },
            |stream| stream.name.clone(),
            |stream| {
                query.wants(&stream.name, &texts(&stream.labels))
                    && query.wants_field(
                        "spec.dockerImageRepository",
                        stream.image_repository.as_deref().unwrap_or_default(),
                    )
                    && query.wants_field("status.dockerImageRepository", &door.repository(stream))
            },
        )
        .await?;
    let parts = match (page.items.first(), page.items.last()) {
        (Some(first), Some(last)) => door.store.stream_parts(&project, &first.name, &last.name).await?,
        _ => StreamParts::default(),
    };
    let items = page.items.iter().map(|stream| shape(&door, stream, &parts)).collect();
    Ok(Json(envelope(&IMAGE_STREAMS, version, page.next.as_deref(), items)))
}

/// One stream.
pub async fn get(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
    AsOf(as_of): AsOf,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "get", &IMAGE_STREAMS, &project, &name).await?;
    if let Some(moment) = as_of {
        return Ok(Json(past::stream(&door, &project, &name, &moment).await?));
    }
    let stream = door.store.stream(&project, &name).await?;
    Ok(Json(show(&door, &stream).await?))
}

/// Makes a stream, with the tags it says.
pub async fn create(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
    body: Body,
) -> Result<(StatusCode, Warnings, Json<Value>), Status> {
    caller.may(&door, "create", &IMAGE_STREAMS, &project, "").await?;
    let (given, warnings) = read_stream(&body, &project, "")?;
    let about = |status: Status| status.about(&IMAGE_STREAMS, &given.meta.name);
    let name = given.meta.name.parse();
    let name: StreamName =
        name.map_err(|error| about(Status::bad_name(given.meta.name_field(), &given.meta.name, &error)))?;
    check_sources(&door, &caller, name.as_str(), &given.tags, &HashMap::new()).await?;
    stream_repository::check_rights(&door, &caller, &project, None, given.repository.as_ref()).await?;
    let stream = door
        .store
        .create_whole_stream(&project, &name, &given.whole(String::new())?, &caller.actor())
        .await
        .map_err(|error| given.meta.not_made(about(error.into())))?;
    Ok((StatusCode::CREATED, warnings, Json(show(&door, &stream).await?)))
}

/// Sets what a stream and its tags should be.
pub async fn update(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
    body: Body,
) -> Result<(Warnings, Json<Value>), Status> {
    caller.may(&door, "update", &IMAGE_STREAMS, &project, &name).await?;
    let before = door.store.stream(&project, &name).await?;
    let (mut given, mut warnings) = read_stream(&body, &project, &name)?;
    given.meta.check_name(&name)?;
    Preconditions::on_uid(given.meta.uid.as_deref()).check(&IMAGE_STREAMS, &name, &before)?;
    let about = |status: Status| status.about(&IMAGE_STREAMS, &name);
    let version = given.meta.required_version().map_err(about)?;
    let parts = door.store.stream_parts(&project, &name, &name).await?;
    let known: HashMap<&str, &Tag> = parts.tags(&before.id).iter().map(|tag| (tag.name.as_str(), tag)).collect();
    for tag in &mut given.tags {
        if let Some(known) = known.get(tag.name.as_str()) {
            tag_specs::echo(&mut tag.spec, known);
        }
    }
    check_sources(&door, &caller, &name, &given.tags, &known).await?;
    stream_repository::check_rights(&door, &caller, &project, Some(&before), given.repository.as_ref()).await?;
    let looks_again = !given.echoes_look
        && parts.looked_at(&before.id).is_some()
        && stream_repository::is_still(&before, given.repository.as_ref());
    let wanted = given.whole(before.description)?;
    let stream = door
        .store
        .replace_whole_stream(&project, &name, &wanted, version, &caller.actor())
        .await
        .map_err(|error| about(error.into()))?;
    if looks_again {
        warnings.0.extend(stream_repository::look_again(&door, &caller, &stream).await?);
    }
    Ok((warnings, Json(show(&door, &stream).await?)))
}

/// Deletes a stream with its tags.
pub async fn delete(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
    wanted: Preconditions,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "delete", &IMAGE_STREAMS, &project, &name).await?;
    let stream = door.store.stream(&project, &name).await?;
    wanted.check(&IMAGE_STREAMS, &name, &stream)?;
    door.store.delete_stream(&project, &name, &caller.actor()).await?;
    Ok(Json(deleted(&IMAGE_STREAMS, &name, &stream.id)))
}

struct Given {
    meta: GivenMeta,
    local_lookup: bool,
    tags: Vec<WantedTag>,
    repository: Option<ImageRepository>,
    /// It has the annotation that tells of the last import: who takes that off asks for the next one.
    echoes_look: bool,
}

impl Given {
    fn whole(&self, description: String) -> Result<WholeStream, Status> {
        let fields = StreamFields {
            description,
            labels: self.meta.labels_json()?,
            annotations: self.meta.annotations_json()?,
            local_lookup: self.local_lookup,
        };
        Ok(WholeStream { fields, tags: self.tags.clone(), repository: self.repository.clone() })
    }
}

fn read_stream(body: &Body, project: &str, name: &str) -> Result<(Given, Warnings), Status> {
    read_object(body, &IMAGE_STREAMS, project, name, |root, mut meta| {
        let echoes_look = stream_repository::take_look(&mut meta);
        let spec = root.get("spec");
        let repository = stream_repository::read(&spec.get("dockerImageRepository"), &meta)?;
        let mut tags: BTreeMap<TagName, WantedTag> = BTreeMap::new();
        for field in spec.get("tags").items()? {
            let name_field = field.get("name");
            let tag: TagName = name_field.required()?.parse().map_err(|error| name_field.invalid(error))?;
            let given = tag_specs::read(&field, project)
                .map_err(|status| status.renamed(field.path(), &format!("spec.tags[{tag}]")))?;
            // Of several entries for one tag the last one counts.
            tags.insert(tag.clone(), WantedTag { name: tag, spec: given.spec, again: given.again });
        }
        let tags = tags.into_values().collect();
        let local_lookup = spec.get("lookupPolicy").get("local").flag()?;
        Ok(Given { meta, local_lookup, tags, repository, echoes_look })
    })
}

/// Passes when the caller may pull from where these tags point to. What stays as it is was allowed once.
async fn check_sources(
    door: &Door,
    caller: &Caller,
    stream: &str,
    tags: &[WantedTag],
    before: &HashMap<&str, &Tag>,
) -> Result<(), Status> {
    let is_there = |tag: &&WantedTag| before.get(tag.name.as_str()).is_some_and(|known| tag.is_as(known));
    let changed: Vec<_> = tags.iter().filter(|tag| !is_there(tag)).collect();
    tag_specs::check_sources(door, caller, (&IMAGE_STREAMS, stream), stream, &changed).await
}

/// A stream's name, or the error that says what is wrong with it.
pub fn stream_name(name: &str) -> Result<StreamName, Status> {
    name.parse().map_err(|error| Status::bad_name("metadata.name", name, &error))
}

/// A stream as it goes over the wire.
pub async fn show(door: &Door, stream: &Stream) -> Result<Value, Status> {
    let parts = door.store.stream_parts(&stream.project, &stream.name, &stream.name).await?;
    Ok(typed(&IMAGE_STREAMS, shape(door, stream, &parts)))
}

/// The stream's metadata.
pub fn meta(stream: &Stream) -> ObjectMeta {
    let meta = ObjectMeta::new(&stream.name, &stream.project, &stream.id, stream.version, stream.created_at);
    ObjectMeta { generation: Some(stream.generation), ..meta }.described(&stream.labels, &stream.annotations)
}

fn shape(door: &Door, stream: &Stream, parts: &StreamParts) -> Value {
    let tags = parts.tags(&stream.id);
    let spec_tags: Vec<Value> = tags.iter().filter(|tag| tag.has_spec != 0).map(tag_specs::show).collect();
    let status_tags: Vec<Value> = tags.iter().filter_map(|tag| status_tag(door, tag, &parts.tag_parts)).collect();
    let mut spec = json!({"lookupPolicy": {"local": stream.local_lookup != 0}, "tags": spec_tags});
    if let Some(repository) = &stream.image_repository {
        spec["dockerImageRepository"] = repository.as_str().into();
    }
    let mut meta = meta(stream);
    stream_repository::show_look(&mut meta, parts.looked_at(&stream.id));
    json!({
        "metadata": meta,
        "spec": spec,
        "status": {
            "dockerImageRepository": door.repository(stream),
            "publicDockerImageRepository": door.repository(stream),
            "tags": status_tags,
        },
    })
}

/// What became of a tag; nothing when nothing did.
pub(super) fn status_tag(door: &Door, tag: &Tag, parts: &TagParts) -> Option<Value> {
    let mut items: Vec<Value> = parts
        .moves(&tag.id)
        .iter()
        .map(|item| {
            json!({
                "created": rfc3339(item.at),
                "dockerImageReference": door.shown_reference(tag, item.reference.as_deref()),
                "image": item.digest.as_deref().unwrap_or_default(),
                "generation": item.generation,
            })
        })
        .collect();
    if let Some(reference) = &tag.refers_to {
        // A mere reference never moves: what was said is all there is, and it is no image.
        let created = rfc3339(tag.refers_at.unwrap_or(tag.created_at));
        let item =
            json!({"created": created, "dockerImageReference": reference, "image": "", "generation": tag.generation});
        items.insert(0, item);
    }
    let conditions = conditions(tag, parts);
    if items.is_empty() && conditions.is_empty() {
        return None;
    }
    let mut status = json!({"tag": tag.name, "items": items});
    if !conditions.is_empty() {
        status["conditions"] = conditions.into();
    }
    Some(status)
}

/// `ImportSuccess: False`, when the last import failed.
pub fn conditions(tag: &Tag, parts: &TagParts) -> Vec<Value> {
    let Some(failing) = parts.failing(&tag.id) else { return Vec::new() };
    let (reason, message) = (failing.reason.as_deref(), failing.message.as_deref().unwrap_or_default());
    let status =
        import_status(tag.source.as_deref().unwrap_or_default(), reason.unwrap_or_default(), message).to_json();
    vec![json!({
        "type": "ImportSuccess",
        "status": "False",
        "reason": status["reason"],
        "message": message,
        "lastTransitionTime": rfc3339(failing.failing_since.or(failing.last_try_at).unwrap_or_default()),
        "generation": failing.generation,
    })]
}
