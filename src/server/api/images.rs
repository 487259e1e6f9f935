//! An image of a stream with everything that is known of it: how it runs, what it is made of and on, and which tags point to it.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use crate::model::{DigestPrefix, Image, ImageConfig, ImageLayer, Moment, Stream, rfc3339};
use crate::server::openshift::Door;
use crate::server::openshift::caller::Caller;
use crate::server::openshift::kind::IMAGE_STREAM_IMAGES;
use crate::server::openshift::past::AsOf;
use crate::server::openshift::status::Status;
use crate::server::store::ImageTag;

/// One image; the first digits of its digest do, when no other image of the stream begins so. With `as_of` one that the stream had at that
/// moment, and the tags that had pointed to it then: the image itself never changes.
pub async fn get(
    State(door): State<Door>,
    caller: Caller,
    Path((project, stream, id)): Path<(String, String, String)>,
    AsOf(as_of): AsOf,
) -> Result<Json<Value>, Status> {
    let title = format!("{stream}@{id}");
    caller.may(&door, "get", &IMAGE_STREAM_IMAGES, &project, &title).await?;
    let not_found = || Status::not_found(&IMAGE_STREAM_IMAGES, &title);
    let id: DigestPrefix = id.parse().map_err(|_| not_found())?;
    if let Some(moment) = as_of {
        return Ok(Json(image_then(&door, &caller, &project, (&stream, &id), &moment).await?));
    }
    let stream = door.store.stream(&project, &stream).await?;
    let digest = door.store.find_stream_digest(&stream, &id).await?.ok_or_else(not_found)?;
    let tags = door.store.list_image_tags(&stream.id, &digest).await?;
    let mut shown = whole(&door, &caller, &stream, &digest).await?.ok_or_else(not_found)?;
    shown["tags"] = show_tags(&tags);
    Ok(Json(shown))
}

/// What is known of an image; `None` when nothing is any more.
async fn whole(door: &Door, caller: &Caller, stream: &Stream, digest: &str) -> Result<Option<Value>, Status> {
    let Some(image) = door.store.find_image(digest).await? else { return Ok(None) };
    let layers = door.store.list_layers(digest).await?;
    let children = door.store.list_children(digest).await?;
    let left_out = door.store.list_left_out(&stream.id, digest).await?;
    let base = door.store.find_base(caller.principal().scope(), &door.own_hosts, stream, &image).await?;
    let config: Option<ImageConfig> = image.config.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let mut shown = facts(&image);
    shown["project"] = stream.project.as_str().into();
    shown["stream"] = stream.name.as_str().into();
    shown["base"] = json!(base);
    shown["platforms"] = children
        .iter()
        .map(|child| {
            json!({"digest": child.child_digest, "mediaType": child.media_type, "os": child.os,
                "architecture": child.architecture, "variant": child.variant, "manifestSize": child.size,
                "leftOut": left_out.contains(&child.child_digest)})
        })
        .collect();
    shown["config"] = config.as_ref().map(run).unwrap_or_default();
    shown["layers"] = show_layers(config.as_ref(), &layers);
    shown["history"] = config.as_ref().map(history).unwrap_or_default();
    Ok(Some(shown))
}

/// An image that a stream had. Where its repository has it no more, nothing is told but its digest and its tags.
async fn image_then(
    door: &Door,
    caller: &Caller,
    project: &str,
    (stream, id): (&str, &DigestPrefix),
    moment: &Moment,
) -> Result<Value, Status> {
    let title = format!("{stream}@{id} at {}", moment.words);
    let then = door.store.stream_then(&door.store.project(project).await?.id, stream, moment).await?;
    let found = door.store.find_stream_digest_then(&then, id, moment).await?;
    let digest = found.ok_or_else(|| Status::not_found(&IMAGE_STREAM_IMAGES, &title))?;
    let tags = door.store.list_image_tags_then(&then, &digest, moment).await?;
    let known = match door.store.serves(&then, &digest).await? {
        true => whole(door, caller, &door.store.stream(project, stream).await?, &digest).await?,
        false => None,
    };
    let bare = || json!({"digest": digest, "project": project, "stream": then.name, "gone": true});
    let mut shown = known.unwrap_or_else(bare);
    // Whether what it is built on is behind is a question of now.
    if let Some(base) = shown.get_mut("base").and_then(Value::as_object_mut) {
        base.remove("behind");
    }
    shown["asOf"] = moment.words.as_str().into();
    shown["tags"] = show_tags(&tags);
    Ok(shown)
}

fn show_tags(tags: &[ImageTag]) -> Value {
    tags.iter()
        .map(|tag| json!({"tag": tag.tag, "number": tag.number, "at": rfc3339(tag.at), "current": tag.current == 1}))
        .collect()
}

fn facts(image: &Image) -> Value {
    let annotations: Value = serde_json::from_str(&image.annotations).unwrap_or_default();
    json!({
        "digest": image.digest,
        "mediaType": image.media_type,
        "artifactType": image.artifact_type,
        "size": image.size,
        "os": image.os,
        "architecture": image.architecture,
        "variant": image.variant,
        "subject": image.subject,
        "created": image.created_claimed,
        "firstSeen": rfc3339(image.first_seen_at),
        "annotations": annotations,
    })
}

/// How it runs.
fn run(config: &ImageConfig) -> Value {
    let run = &config.config;
    json!({
        "author": config.author,
        "entrypoint": run.entrypoint,
        "cmd": run.cmd,
        "env": run.env,
        "user": run.user,
        "workingDir": run.working_dir,
        "ports": run.exposed_ports,
        "volumes": run.volumes,
        "labels": run.labels,
        "stopSignal": run.stop_signal,
    })
}

/// Lowest first, each with the instruction that made it, as far as that is known; `createdByGuessed` where it is only likely.
fn show_layers(config: Option<&ImageConfig>, layers: &[ImageLayer]) -> Value {
    let nothing = ImageConfig::default();
    let config = config.unwrap_or(&nothing);
    let steps = config.layer_steps(layers.len());
    let layer = |(layer, step): (&ImageLayer, &Option<usize>)| {
        let made = step.and_then(|step| config.history.get(step)).map(|step| step.created_by.as_str());
        json!({"digest": layer.layer_digest, "size": layer.size, "mediaType": layer.media_type, "createdBy": made,
            "createdByGuessed": steps.guessed && made.is_some()})
    };
    layers.iter().zip(&steps.of_layers).map(layer).collect()
}

/// Oldest first, those without a layer, too.
fn history(config: &ImageConfig) -> Value {
    let step = |step: &crate::model::HistoryStep| json!({"created": step.created, "createdBy": step.created_by, "comment": step.comment, "emptyLayer": step.empty_layer});
    config.history.iter().map(step).collect()
}
