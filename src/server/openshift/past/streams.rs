//! Streams and tags as they were at a moment: what there was and where it had pointed.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use super::{begin, past};
use crate::model::{Moment, TagTitle, pulled_from, rfc3339};
use crate::server::openshift::Door;
use crate::server::openshift::images::{bare, typed};
use crate::server::openshift::kind::{IMAGE_STREAMS, IMAGE_TAGS, Kind};
use crate::server::openshift::list::{ListQuery, envelope};
use crate::server::openshift::metadata::ObjectMeta;
use crate::server::openshift::status::Status;
use crate::server::store::{self, ShownMove, StreamThen, TagThen};

/// Tags of a stream that are read together.
const BATCH: i64 = 500;

/// The annotation that says what is not told because it is not kept.
const NOT_KEPT: &str = "weir.dev/not-kept";
const NOT_KEPT_OF_STREAMS: &str = "labels, what tags should have been, and which tags were set to only name an image elsewhere: those that never had an image are left out, others are told with what they had pointed to";

/// What tags had pointed to by then, newest first, by their ids.
type Moves = HashMap<String, Vec<ShownMove>>;

/// The streams that a project had.
pub async fn streams(door: &Door, project: &str, moment: &Moment, query: &ListQuery) -> Result<Value, Status> {
    let (project_id, version) = begin(door, project, query).await?;
    let page = query
        .page(
            |after, limit| {
                let (store, id) = (&door.store, &project_id);
                async move { store.list_streams_then(id, moment, &after, limit).await }
            },
            |stream| stream.name.clone(),
            |stream| query.wants(&stream.name, &BTreeMap::new()),
        )
        .await?;
    let mut items = Vec::with_capacity(page.items.len());
    for stream in &page.items {
        items.push(show_stream(door, project, stream, moment).await?);
    }
    Ok(envelope(&IMAGE_STREAMS, version, page.next.as_deref(), items))
}

/// One stream that a project had.
pub async fn stream(door: &Door, project: &str, name: &str, moment: &Moment) -> Result<Value, Status> {
    let stream = door.store.stream_then(&door.store.project(project).await?.id, name, moment).await?;
    Ok(typed(&IMAGE_STREAMS, show_stream(door, project, &stream, moment).await?))
}

/// The tags of all of a project's streams, as objects of one of the two kinds.
pub async fn tags(
    door: &Door,
    kind: &Kind,
    project: &str,
    moment: &Moment,
    query: &ListQuery,
) -> Result<Value, Status> {
    let (project_id, version) = begin(door, project, query).await?;
    let page = query
        .page(
            |after, limit| {
                let id = &project_id;
                async move { list_tags(door, id, moment, &after, limit).await }
            },
            |(stream, tag)| title(stream, tag),
            |(stream, tag)| query.wants(&title(stream, tag), &BTreeMap::new()),
        )
        .await?;
    let mut items = Vec::with_capacity(page.items.len());
    for tags in page.items.chunk_by(|(one, _), (next, _)| one.id == next.id) {
        let Some((stream, _)) = tags.first() else { continue };
        // As now, what only names an image elsewhere is none of the tags that have images.
        let tags: Vec<TagThen> = tags.iter().map(|(_, tag)| tag).filter(|tag| has_place(kind, tag)).cloned().collect();
        let moves = shown_moves(door, kind, stream, &tags, moment).await?;
        items.extend(tags.iter().map(|tag| show_tag(door, kind, project, stream, tag, &moves, moment)));
    }
    Ok(envelope(kind, version, page.next.as_deref(), items))
}

/// One tag, as an object of one of the two kinds.
pub async fn tag(
    door: &Door,
    kind: &Kind,
    project: &str,
    (stream, name): (&str, &str),
    moment: &Moment,
) -> Result<Value, Status> {
    let stream = door.store.stream_then(&door.store.project(project).await?.id, stream, moment).await?;
    let missing = || Status::not_found(kind, &format!("{}:{name} at {}", stream.name, moment.words));
    let tag = door
        .store
        .find_tag_then(&stream, name, moment)
        .await?
        .filter(|tag| has_place(kind, tag))
        .ok_or_else(missing)?;
    let moves = shown_moves(door, kind, &stream, std::slice::from_ref(&tag), moment).await?;
    Ok(typed(kind, show_tag(door, kind, project, &stream, &tag, &moves, moment)))
}

/// Up to `limit` tags beyond `<stream>:<tag>`, stream by stream.
async fn list_tags(
    door: &Door,
    project_id: &str,
    moment: &Moment,
    after: &str,
    limit: i64,
) -> store::Result<Vec<(StreamThen, TagThen)>> {
    let (stream_name, mut tag_name) = TagTitle::halves(after).unwrap_or((after, ""));
    let mut stream_name = stream_name.to_owned();
    let mut found: Vec<(StreamThen, TagThen)> = Vec::new();
    // The stream in which the page before ended may have more.
    let mut streams = match door.store.stream_then(project_id, &stream_name, moment).await {
        Ok(stream) => vec![stream],
        Err(store::Error::NotFound { .. }) => Vec::new(),
        Err(error) => return Err(error),
    };
    loop {
        for stream in streams {
            let room = limit - i64::try_from(found.len()).unwrap_or(limit);
            let tags = door.store.list_tags_then(&stream, moment, tag_name, room).await?;
            found.extend(tags.into_iter().map(|tag| (stream.clone(), tag)));
            if i64::try_from(found.len()).is_ok_and(|count| count >= limit) {
                return Ok(found);
            }
            (stream_name, tag_name) = (stream.name, "");
        }
        streams = door.store.list_streams_then(project_id, moment, &stream_name, BATCH).await?;
        if streams.is_empty() {
            return Ok(found);
        }
    }
}

fn has_place(kind: &Kind, tag: &TagThen) -> bool {
    *kind == IMAGE_TAGS || tag.refers_to().is_none()
}

fn title(stream: &StreamThen, tag: &TagThen) -> String {
    format!("{}:{}", stream.name, tag.name)
}

async fn show_stream(door: &Door, project: &str, stream: &StreamThen, moment: &Moment) -> Result<Value, Status> {
    let (mut tags, mut after) = (Vec::new(), String::new());
    loop {
        let page = door.store.list_tags_then(stream, moment, &after, BATCH).await?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.name);
        let moves = door.store.moves_then(stream, moment, &page).await?;
        tags.extend(page.iter().map(|tag| status_tag(door, project, stream, tag, &moves)));
    }
    Ok(json!({
        "metadata": stream_meta(project, stream, moment),
        "status": {"dockerImageRepository": format!("{}/{project}/{}", door.registry_host, stream.name), "tags": tags},
    }))
}

/// The metadata of a stream of then, with what an `ImageStream` of then leaves out.
pub fn stream_meta(project: &str, stream: &StreamThen, moment: &Moment) -> ObjectMeta {
    let meta = ObjectMeta::new(&stream.name, project, &stream.id, 0, stream.created_at);
    let mut meta = past(meta, moment, stream.deleted_at, None);
    meta.annotations.insert(NOT_KEPT.to_owned(), NOT_KEPT_OF_STREAMS.to_owned());
    meta
}

/// What tags had pointed to, where objects of that kind tell it.
async fn shown_moves(
    door: &Door,
    kind: &Kind,
    stream: &StreamThen,
    tags: &[TagThen],
    moment: &Moment,
) -> Result<Moves, Status> {
    if *kind != IMAGE_TAGS {
        return Ok(Moves::new());
    }
    Ok(door.store.moves_then(stream, moment, tags).await?)
}

/// The items that the tag had, newest first, as far back as the view of a stream goes.
fn status_tag(door: &Door, project: &str, stream: &StreamThen, tag: &TagThen, moves: &Moves) -> Value {
    let item = |item: &ShownMove| {
        let mut shown = json!({
            "created": rfc3339(item.at),
            "dockerImageReference": reference_of(door, project, stream, item.reference.as_deref()),
            "image": item.digest.as_deref().unwrap_or_default(),
        });
        if let Some(generation) = item.generation {
            shown["generation"] = generation.into();
        }
        shown
    };
    let mut items: Vec<Value> = moves.get(&tag.id).into_iter().flatten().map(item).collect();
    if let Some(name) = tag.refers_to() {
        // A mere reference is no image: what was said is all there was.
        let created = rfc3339(tag.referred_at.unwrap_or(tag.at));
        items.insert(0, json!({"created": created, "dockerImageReference": name, "image": ""}));
    } else if let Some(newest) = items.first_mut() {
        newest["dockerImageReference"] = reference_of(door, project, stream, tag.reference()).into();
    }
    json!({"tag": tag.name, "items": items})
}

fn show_tag(
    door: &Door,
    kind: &Kind,
    project: &str,
    stream: &StreamThen,
    tag: &TagThen,
    moves: &Moves,
    moment: &Moment,
) -> Value {
    let meta = ObjectMeta::new(&title(stream, tag), project, &stream.id, 0, tag.at);
    let mut shown = json!({"metadata": past(meta, moment, stream.deleted_at, tag.held_by.as_deref())});
    if tag.refers_to().is_none() {
        shown["image"] = bare(&tag.digest, &reference_of(door, project, stream, tag.reference()));
    }
    if *kind == IMAGE_TAGS {
        shown["status"] = status_tag(door, project, stream, tag, moves);
    } else if let Some(generation) = tag.generation {
        shown["generation"] = generation.into();
    }
    shown
}

/// The reference of a move as clients see it.
pub fn reference_of(door: &Door, project: &str, stream: &StreamThen, reference: Option<&str>) -> String {
    pulled_from(&door.registry_host, project, &stream.name, reference.unwrap_or_default())
}
