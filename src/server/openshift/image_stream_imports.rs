//! `imagestreamimports`: import now, and say how each image went.
//!
//! The work is the import controller's, as it is for schedules and for *Check now*: this says what the tags should be, and waits until
//! their checks have ended. With `import: false` the other registry is only asked, and nothing is kept.

mod repository;
mod take;

use std::sync::atomic::AtomicUsize;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::body::{Body, Warnings};
use super::caller::Caller;
use super::fields::Field;
use super::images::typed;
use super::kind::{IMAGE_STREAM_IMPORTS, IMAGE_STREAMS};
use super::metadata::{ObjectMeta, read_head};
use super::status::Status;
use super::tag_specs::GivenTag;
use super::{Door, image_streams, tag_specs};
use crate::model::{ImageReference, SourceKind, Tag, TagName, now};
use crate::server::store::TagSpec;
use repository::WantedRepository;
use take::Taking;

const MAX_IMAGES: usize = 100;
/// What old clients write for a whole repository; it has long meant nothing.
const EVERYTHING: &str = "*";

/// One image to take.
struct Wanted {
    /// Where it stands in the request.
    index: usize,
    tag: TagName,
    /// As it was typed.
    reference: String,
    parsed: ImageReference,
    spec: TagSpec,
    /// Whether the answer is to have the texts of its manifest and configuration.
    with_texts: bool,
    /// The body's own entry, to be given back.
    given: Value,
}

impl Wanted {
    /// What the tag should be. What an import says nothing of stays as the tag has it: its annotations, with how often its source is
    /// checked and its cool-down; and so does the reference policy of a tag that has one, as in OpenShift.
    fn spec_beside(&self, before: Option<&Tag>) -> TagSpec {
        let Some(tag) = before.filter(|tag| tag.deleted_at.is_none() && tag.has_spec != 0) else {
            return self.spec.clone();
        };
        TagSpec {
            interval_ms: tag.interval_ms,
            cool_down_ms: tag.cool_down_ms,
            annotations: tag.annotations.clone(),
            reference_policy: tag.reference_policy.clone(),
            ..self.spec.clone()
        }
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
    let ((meta, asked), warnings) = body.read(|root| {
        let meta = read_head(&root, &IMAGE_STREAM_IMPORTS, &project)?;
        root.pass_over_all(&["status"]);
        Ok((meta, read(&root.get("spec"))?))
    })?;
    let name =
        image_streams::stream_name(&meta.name).map_err(|status| status.about(&IMAGE_STREAM_IMPORTS, &meta.name))?;
    let stream = door.store.find_stream(&project, name.as_str()).await?;
    let is_another = |id: &str| meta.uid.as_deref().is_some_and(|wanted| wanted != id);
    match (&stream, meta.version) {
        (None, version) if version.is_some() || meta.uid.is_some() => {
            return Err(Status::not_found(&IMAGE_STREAMS, name.as_str()));
        }
        (Some(stream), _) if is_another(&stream.id) => {
            return Err(Status::not_found(&IMAGE_STREAMS, name.as_str()));
        }
        (Some(stream), Some(version)) if version != stream.version => {
            return Err(Status::conflict(format!(
                "the image stream was updated from \"{version}\" to \"{}\"",
                stream.version
            )));
        }
        _ => {}
    }
    let actor = caller.actor();
    for (field, reference, spec) in asked.references() {
        door.store
            .check_registry(field, reference, spec.insecure, &actor)
            .await
            .map_err(|error| Status::from(error).about(&IMAGE_STREAM_IMPORTS, name.as_str()))?;
    }
    let taking = Taking {
        door: &door,
        project: &project,
        stream: &name,
        actor: &actor,
        keep: asked.keep,
        told: AtomicUsize::default(),
    };
    let taken = taking.all(&asked.images).await?.into_iter();
    let mut status = json!({"images": taken.map(|taken| taken.answer).collect::<Vec<_>>()});
    if let Some(repository) = &asked.repository {
        status["repository"] = repository.take(&taking).await?;
    }
    if asked.keep
        && let Some(stream) = door.store.find_stream(&project, name.as_str()).await?
    {
        status["import"] = image_streams::show(&door, &stream).await?;
    }
    let images: Vec<&Value> = asked.images.iter().map(|one| &one.given).collect();
    let mut spec = json!({"import": asked.keep, "images": images});
    if let Some(repository) = &asked.repository {
        spec["repository"] = repository.given.clone();
    }
    let object = json!({
        "metadata": ObjectMeta { creation_timestamp: crate::model::rfc3339(now()), ..ObjectMeta::new(name.as_str(), &project, "", 0, 0) },
        "spec": spec,
        "status": status,
    });
    Ok((StatusCode::CREATED, warnings, Json(typed(&IMAGE_STREAM_IMPORTS, object))))
}

/// What a request asks for.
struct Asked {
    images: Vec<Wanted>,
    repository: Option<WantedRepository>,
    /// Or else they are only looked at.
    keep: bool,
}

impl Asked {
    /// Everything that would be taken, and the field that names it.
    fn references(&self) -> impl Iterator<Item = (String, &ImageReference, &TagSpec)> {
        let images = self.images.iter();
        let images = images.map(|one| (format!("spec.images[{}].from.name", one.index), &one.parsed, &one.spec));
        let repository = self.repository.iter();
        images.chain(repository.map(|one| ("spec.repository.from.name".to_owned(), &one.reference, &one.spec)))
    }
}

fn read(spec: &Field<'_>) -> Result<Asked, Status> {
    let repository = WantedRepository::read(&spec.get("repository"))?;
    let list = spec.get("images");
    if repository.is_none() && list.items()?.is_empty() {
        return Err(list.missing("you must specify at least one image or a repository import"));
    }
    Ok(Asked { images: read_images(&list)?, repository, keep: spec.get("import").flag()? })
}

/// Reads what an image or a repository is taken from.
fn read_from(from: &Field<'_>) -> Result<(String, ImageReference), Status> {
    let kind = from.get("kind");
    if kind.required()? != "DockerImage" {
        return Err(kind.invalid("only DockerImage is supported"));
    }
    let name = from.get("name");
    let text = name.required()?;
    let parsed = text.parse().map_err(|error| name.invalid(error))?;
    Ok((text, parsed))
}

fn read_images(list: &Field<'_>) -> Result<Vec<Wanted>, Status> {
    let items = list.items()?;
    if items.len() > MAX_IMAGES {
        return Err(list.invalid(format!("may have at most {MAX_IMAGES} images")));
    }
    let mut wanted = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let from = item.get("from");
        if from.get("name").text()?.as_deref() == Some(EVERYTHING) {
            item.pass_over();
            continue;
        }
        let (reference, parsed) = read_from(&from)?;
        let with_texts = item.get("includeManifest").flag()?;
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
        wanted.push(Wanted { index, tag, reference, parsed, spec, with_texts, given });
    }
    Ok(wanted)
}
