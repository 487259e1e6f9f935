//! `imagestreamimports`: import now, and say how each image went.
//!
//! The work is the import controller's, as it is for schedules and for *Check now*: this says what the tags should be, and waits until
//! their checks have ended. With `import: false` the other registry is only asked, and nothing is kept.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::body::{Body, Warnings};
use super::caller::Caller;
use super::fields::Field;
use super::images::{self, typed};
use super::kind::{IMAGE_STREAM_IMPORTS, IMAGE_STREAMS, IMAGES};
use super::metadata::{ObjectMeta, read_head};
use super::status::{Cause, Status};
use super::tag_specs::GivenTag;
use super::{Door, image_streams, tag_specs};
use crate::model::{ImageReference, SourceKind, StreamName, Tag, TagName, now};
use crate::server::importer::ImportError;
use crate::server::store::TagSpec;

/// How long one request waits for its imports; they go on after it.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long a lost signal can delay the answer.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
const MAX_IMAGES: usize = 100;
/// What old clients write for a whole repository; it has long meant nothing.
const EVERYTHING: &str = "*";

struct Wanted {
    tag: TagName,
    reference: String,
    spec: TagSpec,
    /// The body's own entry, to be given back.
    given: Value,
}

impl Wanted {
    /// What the tag should be. What an import says nothing of stays as the tag has it: how often its source is checked, and its cool-down.
    fn spec_beside(&self, before: Option<&Tag>) -> TagSpec {
        let kept = before.filter(|tag| tag.deleted_at.is_none());
        let (interval_ms, cool_down_ms) = kept.map_or((None, None), |tag| (tag.interval_ms, tag.cool_down_ms));
        TagSpec { interval_ms, cool_down_ms, ..self.spec.clone() }
    }
}

/// Imports images into a stream.
pub async fn create(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
    body: Body,
) -> Result<(StatusCode, Warnings, Json<Value>), Status> {
    caller.may(&door, "create", &IMAGE_STREAM_IMPORTS, &project, "").await?;
    let ((meta, wanted, import), warnings) = body.read(|root| {
        let meta = read_head(&root, &IMAGE_STREAM_IMPORTS, &project)?;
        root.pass_over_all(&["status"]);
        let spec = root.get("spec");
        let wanted = read_images(&spec)?;
        Ok((meta, wanted, spec.get("import").flag()?))
    })?;
    let name =
        image_streams::stream_name(&meta.name).map_err(|status| status.about(&IMAGE_STREAM_IMPORTS, &meta.name))?;
    let stream = door.store.find_stream(&project, name.as_str()).await?;
    match (&stream, meta.version) {
        (None, Some(_)) => return Err(Status::not_found(&IMAGE_STREAMS, name.as_str())),
        (Some(stream), Some(version)) if version != stream.version => {
            return Err(Status::conflict(format!(
                "the image stream was updated from \"{version}\" to \"{}\"",
                stream.version
            )));
        }
        _ => {}
    }
    let mut status = json!({});
    let results = if import {
        let results = import_all(&door, &caller, &project, &name, &wanted).await?;
        let stream = door.store.stream(&project, name.as_str()).await?;
        status["import"] = image_streams::show(&door, &stream).await?;
        results
    } else {
        join_all(wanted.iter().map(|one| look(&door, &project, one))).await
    };
    status["images"] = results.into();
    let images: Vec<&Value> = wanted.iter().map(|one| &one.given).collect();
    let object = json!({
        "metadata": ObjectMeta { creation_timestamp: crate::model::rfc3339(now()), ..ObjectMeta::new(name.as_str(), &project, "", 0, 0) },
        "spec": {"import": import, "images": images},
        "status": status,
    });
    Ok((StatusCode::CREATED, warnings, Json(typed(&IMAGE_STREAM_IMPORTS, object))))
}

fn read_images(spec: &Field<'_>) -> Result<Vec<Wanted>, Status> {
    let repository = spec.get("repository");
    repository.pass_over();
    if repository.is_present() {
        return Err(repository.invalid("Weir imports the tags it is told: name them in spec.images"));
    }
    let list = spec.get("images");
    let items = list.items()?;
    if items.is_empty() {
        return Err(list.missing("you must specify at least one image or a repository import"));
    }
    if items.len() > MAX_IMAGES {
        return Err(list.invalid(format!("may have at most {MAX_IMAGES} images")));
    }
    let mut wanted = Vec::with_capacity(items.len());
    for item in items {
        let from = item.get("from");
        let kind = from.get("kind");
        if kind.required()? != "DockerImage" {
            return Err(kind.invalid("only DockerImage is supported"));
        }
        let name = from.get("name");
        let reference = name.required()?;
        if reference == EVERYTHING {
            item.pass_over();
            continue;
        }
        let parsed: ImageReference = reference.parse().map_err(|error| name.invalid(error))?;
        item.pass_over_all(&["includeManifest"]);
        let to = item.get("to").get("name");
        let tag = match to.text()? {
            Some(text) if text.is_empty() => return Err(to.missing("the name of the target tag must be specified")),
            Some(text) => text,
            None => parsed.docker_client_defaults().tag,
        };
        let tag: TagName = match tag.as_str() {
            "" => return Err(to.missing("the name of the target tag must be specified")),
            tag => tag.parse().map_err(|error| to.invalid(error))?,
        };
        let GivenTag { spec, .. } = tag_specs::read_policies(&item)?;
        let spec = TagSpec { source: Some((SourceKind::DockerImage, reference.clone())), ..spec };
        let given = item.raw().cloned().unwrap_or_default();
        wanted.push(Wanted { tag, reference, spec, given });
    }
    Ok(wanted)
}

/// Says what the tags should be, waits for their checks, and tells how each went.
async fn import_all(
    door: &Door,
    caller: &Caller,
    project: &str,
    stream: &StreamName,
    wanted: &[Wanted],
) -> Result<Vec<Value>, Status> {
    let actor = caller.actor();
    let mut tags = Vec::with_capacity(wanted.len());
    for one in wanted {
        let before = door.store.find_tag(project, stream.as_str(), one.tag.as_str()).await?;
        let set =
            door.store.set_tag(project, stream, &one.tag, &one.spec_beside(before.as_ref()), None, &actor).await?;
        // Asked for by a person, it comes before what the schedule has in its queue.
        door.store.request_check(project, stream.as_str(), one.tag.as_str(), &actor).await?;
        tags.push(set.tag);
    }
    let results = join_all(tags.iter().zip(wanted).map(|(tag, one)| finish(door, tag, one))).await;
    results.into_iter().collect()
}

async fn finish(door: &Door, tag: &Tag, one: &Wanted) -> Result<Value, Status> {
    let ended = tokio::time::timeout(PATIENCE, check_ended(door, tag)).await;
    let failure = match ended {
        Err(_) => Some(outcome(&one.reference, "timeout", "it goes on; look at the stream again later")),
        Ok(ended) => ended?.map(|(reason, message)| outcome(&one.reference, &reason, &message)),
    };
    if let Some(status) = failure {
        return Ok(json!({"status": status, "tag": one.tag}));
    }
    let tag = door.store.tag_by_id(&tag.id).await?;
    let digest = tag.digest.clone().unwrap_or_default();
    let image = images::image(door, &digest, tag.reference.as_deref().unwrap_or_default()).await?;
    Ok(json!({"status": success(), "image": typed(&IMAGES, image), "tag": one.tag}))
}

/// Waits until the tag's source was checked as its spec has it now. Gives reason and message of a failure.
async fn check_ended(door: &Door, tag: &Tag) -> Result<Option<(String, String)>, Status> {
    let mut changes = door.store.wake().changes();
    loop {
        let Some(import) = door.store.find_import(&tag.id).await? else {
            return Ok(Some(("other".to_owned(), "the tag was changed meanwhile".to_owned())));
        };
        if let Some(person) = &import.paused_by {
            return Ok(Some((
                "paused".to_owned(),
                format!("{person} paused its registry; the import follows when it is resumed"),
            )));
        }
        if import.generation >= tag.generation && import.requested_at.is_none() && import.outcome != "new" {
            let failed = import.outcome == "failed";
            return Ok(failed.then(|| (import.reason.unwrap_or_default(), import.message.unwrap_or_default())));
        }
        tokio::select! {
            _ = changes.recv() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = door.stop.cancelled() => {
                return Ok(Some(("timeout".to_owned(), "the server stops; the import goes on when it is back".to_owned())));
            }
        }
    }
}

/// What the reference means now, with nothing kept.
async fn look(door: &Door, project: &str, one: &Wanted) -> Value {
    let legacy = one.spec.import_mode == "Legacy";
    match door.importer.look(project, &one.reference, one.spec.insecure, legacy).await {
        Ok(found) => {
            let repository = one.reference.parse::<ImageReference>().map(|parsed| parsed.as_repository().exact());
            let reference = format!("{}@{}", repository.unwrap_or_default(), found.image.digest);
            json!({"status": success(), "image": typed(&IMAGES, images::fetched(&found.image, &reference)), "tag": one.tag})
        }
        Err(ImportError::Store(error)) => {
            json!({"status": Status::from(error).to_json(), "tag": one.tag})
        }
        Err(error) => json!({"status": outcome(&one.reference, error.reason(), &error.to_string()), "tag": one.tag}),
    }
}

fn success() -> Value {
    json!({"metadata": {}, "status": "Success"})
}

/// A failure in OpenShift's words, as far as it has words for it.
fn outcome(reference: &str, reason: &str, message: &str) -> Value {
    let status = match reason {
        "not-found" => Status::image_not_found(reference),
        "denied" => {
            Status::import_refused(401, format!("you may not have access to the container image \"{reference}\""))
        }
        "wrong-password" => {
            Status::import_refused(401, format!("incorrect username or password for image {reference:?}"))
        }
        "plain-http" => Status::bad_request(format!(
            "the repository {reference:?} is HTTP only and requires the insecure flag to import"
        )),
        "blocked" => Status::import_refused(403, message.to_owned()),
        "invalid-reference" => Status::invalid(vec![Cause::invalid_value("from.name", reference, message)]),
        _ => Status::import_refused(500, format!("Internal error occurred: {reference}: {message}")),
    };
    status.to_json()
}
