//! Taking a whole repository: its tags are listed and taken in OpenShift's order, up to a limit; the others are named.

use serde_json::{Value, json};

use super::super::fields::Field;
use super::super::status::Status;
use super::super::tag_specs::{self, GivenTag};
use super::take::{Taking, refusal, success};
use super::{Wanted, read_from};
use crate::model::{ImageReference, SourceKind, TagName, by_import_priority};
use crate::server::store::TagSpec;

/// How many tags are waited for together.
const AT_ONCE: usize = 50;

/// A repository to take.
pub(super) struct WantedRepository {
    /// As it was typed.
    text: String,
    pub reference: ImageReference,
    /// What its tags have in common.
    pub spec: TagSpec,
    with_texts: bool,
    /// The body's own words, to be given back.
    pub given: Value,
}

impl WantedRepository {
    pub fn read(repository: &Field<'_>) -> Result<Option<Self>, Status> {
        if !repository.is_present() {
            return Ok(None);
        }
        let from = repository.get("from");
        let (text, reference) = read_from(&from)?;
        if !(reference.tag.is_empty() && reference.id.is_empty()) {
            return Err(from.get("name").invalid("you must specify an image repository, not a tag or ID"));
        }
        let with_texts = repository.get("includeManifest").flag()?;
        let GivenTag { spec, .. } = tag_specs::read_policies(repository)?;
        let given = repository.raw().cloned().unwrap_or_default();
        Ok(Some(Self { text, reference, spec, with_texts, given }))
    }

    /// Takes the first of its tags, and tells how each went.
    pub async fn take(&self, taking: &Taking<'_>) -> Result<Value, Status> {
        let door = taking.door;
        let tags = match door.importer.list_tags(taking.project, &self.text, self.spec.insecure).await {
            Ok(tags) => tags,
            Err(error) => return Ok(json!({"status": refusal(&self.text, error)})),
        };
        let (wanted, others) = self.choose(tags, door.repository_import_limit);
        let mut taken = Vec::with_capacity(wanted.len());
        for some in wanted.chunks(AT_ONCE) {
            taken.extend(taking.all(some).await?);
        }
        let failed = taken.iter().filter(|taken| !taken.is_taken).count();
        let mut images = Vec::with_capacity(taken.len());
        for taken in taken {
            // Nobody asked for this very tag: it is not to stay as one that fails.
            if let Some(tag) = taken.was_made {
                door.store.take_back_tag(&tag, None, taking.actor).await?;
            }
            images.push(taken.answer);
        }
        let mut answer = json!({"status": overall(failed), "images": images});
        if !others.is_empty() {
            answer["additionalTags"] = others.into();
        }
        Ok(answer)
    }

    /// The tags to take, and the names of the others. What is no name here is passed over.
    fn choose(&self, tags: Vec<String>, limit: Option<usize>) -> (Vec<Wanted>, Vec<String>) {
        let mut tags: Vec<String> = tags.into_iter().filter(|tag| tag.parse::<TagName>().is_ok()).collect();
        by_import_priority(&mut tags);
        tags.dedup();
        let others = tags.split_off(limit.unwrap_or(usize::MAX).min(tags.len()));
        let wanted = tags.into_iter().enumerate().filter_map(|(index, name)| self.wanted(index, &name));
        (wanted.collect(), others)
    }

    fn wanted(&self, index: usize, name: &str) -> Option<Wanted> {
        let parsed = self.reference.at_tag(name);
        let reference = format!("{}:{name}", self.text);
        let spec = TagSpec { source: Some((SourceKind::DockerImage, reference.clone())), ..self.spec.clone() };
        let (tag, with_texts) = (name.parse().ok()?, self.with_texts);
        Some(Wanted { index, tag, reference, parsed, spec, with_texts, given: Value::Null })
    }
}

fn overall(failed: usize) -> Value {
    match failed {
        0 => success(),
        1 => Status::import_failed("one of the images from this repository failed to import".to_owned()).to_json(),
        n => Status::import_failed(format!("{n} of the images from this repository failed to import")).to_json(),
    }
}
