//! What a request asks for, as it came.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::fields::Field;
use super::super::status::Status;
use super::super::tag_specs::{self, GivenTag};
use super::repository::WantedRepository;
use crate::model::{ImageReference, SourceKind, Tag, TagName};
use crate::server::store::TagSpec;

const MAX_IMAGES: usize = 100;
/// What old clients write for a whole repository; it has long meant nothing.
const EVERYTHING: &str = "*";

/// One image to take.
pub(super) struct Wanted {
    /// Where it stands in the request.
    pub index: usize,
    /// Nothing, of an image by its digest that is only looked at.
    pub tag: Option<TagName>,
    /// As it was typed.
    pub reference: String,
    pub parsed: ImageReference,
    pub spec: TagSpec,
    /// Whether the answer is to have the texts of its manifest and configuration.
    pub with_texts: bool,
    /// The body's own entry, to be given back.
    pub given: Value,
}

impl Wanted {
    /// What the tag should be. What an import says nothing of stays as the tag has it: its annotations, with how often its source is
    /// checked and its cool-down; and so does the reference policy of a tag that has one, as in OpenShift.
    pub fn spec_beside(&self, before: Option<&Tag>) -> TagSpec {
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

    /// The image's part of the answer, with how it went.
    pub fn told(&self, status: Value) -> Value {
        match &self.tag {
            Some(tag) => json!({"status": status, "tag": tag}),
            None => json!({"status": status}),
        }
    }

    /// The repository in which it is, with Docker's defaults filled in.
    pub fn repository(&self) -> String {
        repository_of(&self.parsed)
    }
}

/// A repository by one name, whichever way it was typed.
fn repository_of(reference: &ImageReference) -> String {
    reference.canonical().as_repository().exact()
}

/// What a request asks for.
pub(super) struct Asked {
    pub images: Vec<Wanted>,
    pub repository: Option<WantedRepository>,
    /// Or else they are only looked at.
    pub keep: bool,
}

impl Asked {
    pub fn read(spec: &Field<'_>) -> Result<Self, Status> {
        let repository = WantedRepository::read(&spec.get("repository"))?;
        let list = spec.get("images");
        if repository.is_none() && list.items()?.is_empty() {
            return Err(list.missing("you must specify at least one image or a repository import"));
        }
        let keep = spec.get("import").flag()?;
        Ok(Self { images: read_images(&list, keep)?, repository, keep })
    }

    /// Everything that would be taken, and the field that names it.
    pub fn references(&self) -> impl Iterator<Item = (String, &ImageReference, &TagSpec)> {
        let images = self.images.iter();
        let images = images.map(|one| (format!("spec.images[{}].from.name", one.index), &one.parsed, &one.spec));
        let repository = self.repository.iter();
        images.chain(repository.map(|one| ("spec.repository.from.name".to_owned(), &one.reference, &one.spec)))
    }

    /// Lets the first word on a repository say for all of the request whether that is reached by plain HTTP; tells whose word does not
    /// count.
    pub fn agree_on_insecure(&mut self) -> Vec<String> {
        let mut decided: BTreeMap<String, (bool, String)> = BTreeMap::new();
        let mut remarks = Vec::new();
        let images = self.images.iter_mut();
        let images = images.map(|one| (one.repository(), format!("spec.images[{}]", one.index), &mut one.spec));
        let repository = self.repository.iter_mut();
        let repository =
            repository.map(|one| (repository_of(&one.reference), "spec.repository".to_owned(), &mut one.spec));
        for (repository, field, spec) in images.chain(repository) {
            let (insecure, first) = decided.entry(repository).or_insert_with(|| (spec.insecure, field.clone()));
            if spec.insecure != *insecure {
                remarks.push(format!(
                    "{field}.importPolicy.insecure does not count: {first} says {insecure} for that repository"
                ));
                spec.insecure = *insecure;
            }
        }
        remarks
    }

    /// The spec to be given back.
    pub fn given(&self) -> Value {
        let images: Vec<&Value> = self.images.iter().map(|one| &one.given).collect();
        let mut spec = json!({"import": self.keep, "images": images});
        if let Some(repository) = &self.repository {
            spec["repository"] = repository.given.clone();
        }
        spec
    }
}

/// Reads what an image or a repository is taken from.
pub(super) fn read_from(from: &Field<'_>) -> Result<(String, ImageReference), Status> {
    let kind = from.get("kind");
    if kind.required()? != "DockerImage" {
        return Err(kind.invalid("only DockerImage is supported"));
    }
    let name = from.get("name");
    let text = name.required()?;
    let parsed = text.parse().map_err(|error| name.invalid(error))?;
    Ok((text, parsed))
}

fn read_images(list: &Field<'_>, keep: bool) -> Result<Vec<Wanted>, Status> {
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
        let tag = read_target(&item.get("to").get("name"), &parsed, keep)?;
        let with_texts = item.get("includeManifest").flag()?;
        let GivenTag { spec, .. } = tag_specs::read_policies(&item)?;
        let spec = TagSpec { source: Some((SourceKind::DockerImage, reference.clone())), ..spec };
        let given = item.raw().cloned().unwrap_or_default();
        wanted.push(Wanted { index, tag, reference, parsed, spec, with_texts, given });
    }
    Ok(wanted)
}

/// The tag that an image is taken to: the one that is said, or else the one that it has where it comes from. One that is only looked at
/// needs none.
fn read_target(to: &Field<'_>, from: &ImageReference, keep: bool) -> Result<Option<TagName>, Status> {
    let tag = match to.text()? {
        Some(text) if text.is_empty() => return Err(to.missing("the name of the target tag must be specified")),
        Some(text) => text,
        None => from.docker_client_defaults().tag,
    };
    match tag.as_str() {
        "" if keep => Err(to.missing("the image is named by its digest: say here which tag it is to have")),
        "" => Ok(None),
        tag => tag.parse().map(Some).map_err(|error| to.invalid(error)),
    }
}
