//! Taking a whole repository: its tags are listed and taken in OpenShift's order, up to a limit; the others are named.

use serde_json::{Value, json};
use tokio::time::timeout_at;

use super::super::fields::Field;
use super::super::status::Status;
use super::super::tag_specs::{self, GivenTag};
use super::asked::{Wanted, read_from};
use super::looks::refusal;
use super::success;
use super::take::{Taken, Taking};
use crate::model::{ImageReference, SourceKind, TagName, by_import_priority};
use crate::server::importer::ImportError;
use crate::server::store::TagSpec;

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

/// Which tags a repository has, or why that cannot be told.
pub(super) enum Listed {
    /// Those to take, and the names of the others.
    Tags {
        wanted: Vec<Wanted>,
        others: Vec<String>,
    },
    Refused(Status),
}

impl Listed {
    pub fn wanted(&self) -> &[Wanted] {
        match self {
            Self::Tags { wanted, .. } => wanted,
            Self::Refused(_) => &[],
        }
    }
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

    /// Lists its tags.
    pub async fn list(&self, taking: &Taking<'_>) -> Result<Listed, Status> {
        let door = taking.door;
        let list = door.importer.list_tags(taking.target.project, &self.text, self.spec.insecure);
        match timeout_at(taking.until, list).await.unwrap_or(Err(ImportError::Late)) {
            Ok(tags) => {
                let (wanted, others) = self.choose(tags, door.repository_import_limit);
                Ok(Listed::Tags { wanted, others })
            }
            Err(ImportError::Store(error)) => Err(error.into()),
            Err(error) => Ok(Listed::Refused(refusal(&self.text, &error))),
        }
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
        let (tag, with_texts) = (Some(name.parse().ok()?), self.with_texts);
        Some(Wanted { index, tag, reference, parsed, spec, with_texts, given: Value::Null })
    }
}

impl Taking<'_> {
    /// How it went with a repository, of whose tags these were taken, or were to be.
    pub async fn told_of(&self, listed: Listed, taken: Vec<Taken>) -> Result<Value, Status> {
        let others = match listed {
            Listed::Tags { others, .. } => others,
            Listed::Refused(status) => return Ok(json!({"status": status.to_json()})),
        };
        let failed = taken.iter().filter(|taken| !taken.is_taken).count();
        let (mut images, mut failed_tags) = (Vec::with_capacity(taken.len()), Vec::new());
        for taken in taken {
            images.push(taken.answer);
            failed_tags.extend(taken.was_made);
        }
        // Nobody asked for these very tags: they are not to stay as some that fail.
        self.door.store.take_back_imports(&failed_tags, self.actor).await?;
        let mut answer = json!({"status": overall(failed), "images": images});
        if !others.is_empty() {
            answer["additionalTags"] = others.into();
        }
        Ok(answer)
    }
}

fn overall(failed: usize) -> Value {
    match failed {
        0 => success(),
        1 => Status::import_failed("one of the images from this repository failed to import".to_owned()).to_json(),
        n => Status::import_failed(format!("{n} of the images from this repository failed to import")).to_json(),
    }
}
