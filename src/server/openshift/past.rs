//! Streams, tags and apps as they were at a moment (`?as_of=`): what there was and where it pointed. What they should have been, labels and
//! conditions are not kept, so these objects have no `spec`; their annotation says which moment it is. Builds are in `builds/past.rs`.

use std::collections::BTreeMap;

use axum::extract::{FromRequestParts, MatchedPath, Query, Request};
use axum::http::Method;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Door;
use super::images::{bare, typed};
use super::kind::{DEPLOYMENTS, IMAGE_STREAMS, IMAGE_TAGS, Kind};
use super::list::{ListQuery, envelope};
use super::metadata::ObjectMeta;
use super::status::Status;
use crate::model::{Moment, TagTitle, pulled_from, rfc3339};
use crate::server::store::{self, AppThen, StreamThen, TagThen};

/// The annotation that tells the moment.
pub const AS_OF: &str = "weir.dev/as-of";
/// Tags of a stream that are read together.
const BATCH: i64 = 500;

/// The ends of the routes that know the past.
const KEPT: [&str; 13] = [
    "/imagestreams",
    "/imagestreams/{name}",
    "/imagestreamtags",
    "/imagestreamtags/{name}",
    "/imagetags",
    "/imagetags/{name}",
    "/deployments",
    "/deployments/{name}",
    "/tags/{tag}/history",
    "/builds",
    "/builds/{name}",
    "/apps/{app}/rollouts",
    "/activity",
];

/// The moment that a request asks for.
#[derive(Debug, Clone)]
pub struct AsOf(pub Option<Moment>);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Raw {
    as_of: String,
    #[serde(rename = "as-of")]
    dashed: String,
}

impl<S: Send + Sync> FromRequestParts<S> for AsOf {
    type Rejection = Status;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Status> {
        let Query(raw) =
            Query::<Raw>::try_from_uri(&parts.uri).map_err(|error| Status::bad_request(error.body_text()))?;
        let text = if raw.as_of.is_empty() { raw.dashed } else { raw.as_of };
        if text.is_empty() {
            return Ok(Self(None));
        }
        text.parse().map(|moment| Self(Some(moment))).map_err(|error| Status::bad_request(format!("as_of: {error}")))
    }
}

/// Passes on what asks for the past only where that is kept: nobody is to take the present for it.
pub async fn refuse_elsewhere(request: Request, next: Next) -> Response {
    // What cannot be read is refused by whoever reads it for good.
    let asks = Query::<Raw>::try_from_uri(request.uri())
        .is_ok_and(|Query(raw)| !raw.as_of.is_empty() || !raw.dashed.is_empty());
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let knows = reads && KEPT.iter().any(|end| route.ends_with(end));
    if asks && !knows {
        let message = "the past of this is not kept: only streams, tags with their histories, builds, apps with their rollouts, and the activity can be read as of a moment";
        return Status::bad_request(message).into_response();
    }
    next.run(request).await
}

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
    let items = page.items.iter().map(|(stream, tag)| show_tag(door, kind, project, stream, tag, moment)).collect();
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
    let tag = door.store.find_tag_then(&stream, name, moment).await?.ok_or_else(missing)?;
    Ok(typed(kind, show_tag(door, kind, project, &stream, &tag, moment)))
}

/// The apps that a project has and had: what each was to run.
pub async fn apps(door: &Door, project: &str, moment: &Moment, query: &ListQuery) -> Result<Value, Status> {
    let (project_id, version) = begin(door, project, query).await?;
    let page = query
        .page(
            |after, limit| {
                let (store, id) = (&door.store, &project_id);
                async move { store.list_apps_then(id, moment, &after, limit).await }
            },
            |app| app.name.clone(),
            |app| query.wants(&app.name, &BTreeMap::new()),
        )
        .await?;
    let items = page.items.iter().map(|app| show_app(door, project, app, moment)).collect();
    Ok(envelope(&DEPLOYMENTS, version, page.next.as_deref(), items))
}

/// One app.
pub async fn app(door: &Door, project: &str, name: &str, moment: &Moment) -> Result<Value, Status> {
    let project_id = door.store.project(project).await?.id;
    let missing = || Status::not_found(&DEPLOYMENTS, &format!("{name} at {}", moment.words));
    let found = door.store.find_app_then(&project_id, name, moment).await?.ok_or_else(missing)?;
    Ok(typed(&DEPLOYMENTS, show_app(door, project, &found, moment)))
}

/// The project's id, and the version that lists carry.
async fn begin(door: &Door, project: &str, query: &ListQuery) -> Result<(String, i64), Status> {
    refuse_labels(query)?;
    query.check_fields(&[])?;
    Ok((door.store.project(project).await?.id, door.store.last_sequence().await?))
}

/// Nobody knows by which labels things could have been chosen.
pub fn refuse_labels(query: &ListQuery) -> Result<(), Status> {
    if query.asks_labels() {
        return Err(Status::bad_request("labels are not kept: labelSelector cannot be used with as_of"));
    }
    Ok(())
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

fn title(stream: &StreamThen, tag: &TagThen) -> String {
    format!("{}:{}", stream.name, tag.name)
}

async fn show_stream(door: &Door, project: &str, stream: &StreamThen, moment: &Moment) -> Result<Value, Status> {
    let (mut tags, mut after) = (Vec::new(), String::new());
    loop {
        let page = door.store.list_tags_then(stream, moment, &after, BATCH).await?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.name);
        tags.extend(page.iter().map(|tag| status_tag(door, project, stream, tag)));
    }
    let meta = ObjectMeta::new(&stream.name, project, &stream.id, 0, stream.created_at);
    Ok(json!({
        "metadata": past(meta, moment, stream.deleted_at, None),
        "status": {"dockerImageRepository": format!("{}/{project}/{}", door.registry_host, stream.name), "tags": tags},
    }))
}

fn status_tag(door: &Door, project: &str, stream: &StreamThen, tag: &TagThen) -> Value {
    let item = json!({
        "created": rfc3339(tag.at),
        "dockerImageReference": reference(door, project, stream, tag),
        "image": tag.digest,
        "generation": tag.generation,
    });
    json!({"tag": tag.name, "items": [item]})
}

fn show_tag(door: &Door, kind: &Kind, project: &str, stream: &StreamThen, tag: &TagThen, moment: &Moment) -> Value {
    let meta = ObjectMeta::new(&title(stream, tag), project, &stream.id, 0, tag.at);
    let mut shown = json!({
        "metadata": past(meta, moment, stream.deleted_at, tag.held_by.as_deref()),
        "image": bare(&tag.digest, &reference(door, project, stream, tag)),
    });
    if *kind == IMAGE_TAGS {
        shown["status"] = status_tag(door, project, stream, tag);
    } else {
        shown["generation"] = tag.generation.into();
    }
    shown
}

/// What the newest rollout of then was to run. What an engine was seen running is not kept.
fn show_app(door: &Door, project: &str, app: &AppThen, moment: &Moment) -> Value {
    let meta = ObjectMeta { generation: app.number, ..ObjectMeta::new(&app.name, project, &app.id, 0, app.created_at) };
    let image = app.repository.as_ref().zip(app.digest.as_ref());
    let image = image.map(|(repository, digest)| format!("{}/{repository}@{digest}", door.registry_host));
    let container = json!({"name": app.name, "image": image.unwrap_or_default()});
    json!({
        "metadata": past(meta, moment, None, app.held_by.as_deref()),
        "spec": {"template": {"spec": {"containers": [container]}}},
    })
}

/// The metadata of a past object, which cannot be written back.
fn past(meta: ObjectMeta, moment: &Moment, deleted_at: Option<i64>, held_by: Option<&str>) -> ObjectMeta {
    let mut meta = ObjectMeta { resource_version: String::new(), ..meta };
    let notes = [
        (AS_OF, Some(moment.words.clone())),
        ("weir.dev/deleted-at", deleted_at.map(rfc3339)),
        ("weir.dev/held-by", held_by.map(str::to_owned)),
    ];
    meta.annotations.extend(notes.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    meta
}

fn reference(door: &Door, project: &str, stream: &StreamThen, tag: &TagThen) -> String {
    pulled_from(&door.registry_host, project, &stream.name, tag.reference.as_deref().unwrap_or_default())
}
