//! Looking up what a reference stands for; the rules themselves are in [`crate::model::resolve`].

use super::{Error, Result, Store};
use crate::model::{
    ImageReference, Lookup, Named, Reason, Resolved, Stream, StreamTag, Tag, TagFacts, TagImport, Unresolved, resolve,
};

/// Who asks, and how.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// How they reach this registry.
    pub host: &'a str,
    pub lookup: Lookup,
    /// A short name means any stream of the project, as in a Dockerfile; else only one with `lookupPolicy.local`, as in a pod.
    pub any_short_name: bool,
}

/// A reference, and what it came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// The stream's tag, when it is one's.
    pub tag: Option<StreamTag>,
    pub resolved: Resolved,
}

impl From<Unresolved> for Error {
    fn from(unresolved: Unresolved) -> Self {
        Self::Conflict(unresolved.to_string())
    }
}

impl Store {
    /// What a reference comes to. Whether whoever asks may know it is for them to check before: see [`Named::project`].
    pub async fn resolve(&self, named: &Named, asker: &Asker<'_>) -> Result<Resolution> {
        let (project, name, short) = match named {
            Named::External(reference) => return Ok(elsewhere(reference, None)),
            Named::Tag { tag, short } => (&tag.project, &tag.stream, *short),
            Named::Image { project, stream, short, .. } => (project, stream, *short),
        };
        let stream = match self.find_stream(project, name).await? {
            Some(stream) if !short || asker.any_short_name || stream.local_lookup == 1 => stream,
            Some(_) => return Ok(not_ours(named, Reason::NotLocal { stream: name.clone(), project: project.clone() })),
            None if short => {
                return Ok(not_ours(named, Reason::NoStream { stream: name.clone(), project: project.clone() }));
            }
            None => return Err(Error::not_found("imagestreams", name)),
        };
        let first = match short {
            true => Reason::ShortName { stream: name.clone(), project: project.clone() },
            false => Reason::ThisRegistry,
        };
        let (tag, mut resolved) = match named {
            Named::Image { digest, .. } => (None, self.resolve_digest(&stream, digest, asker).await?),
            Named::Tag { tag, .. } => {
                let row = self.find_tag(project, name, &tag.tag).await?.filter(|row| row.deleted_at.is_none());
                let resolved = match &row {
                    Some(row) => self.resolve_tag(row, asker.lookup, asker.host).await?,
                    None => {
                        let facts = TagFacts { project, stream: name, tag: &tag.tag, ..TagFacts::default() };
                        resolve(&facts, asker.lookup, asker.host)?
                    }
                };
                (Some(tag.clone()), resolved)
            }
            Named::External(_) => return Err(Error::not_found("imagestreams", name)),
        };
        resolved.why.insert(0, first);
        Ok(Resolution { tag, resolved })
    }

    /// What a tag comes to, with the move that brought it there.
    pub async fn resolve_tag(&self, tag: &Tag, lookup: Lookup, host: &str) -> Result<Resolved> {
        let event = match tag.event_sequence {
            Some(sequence) => self.find_event(sequence).await?,
            None => None,
        };
        let imports = tag.source_kind.as_deref() == Some("DockerImage") && tag.reference_only == 0;
        let import = if imports { self.find_import(&tag.id).await? } else { None };
        let satisfied = event.as_ref().map_or(-1, |event| event.generation).max(import.as_ref().map_or(-1, satisfied));
        let facts = TagFacts { newer: imports && tag.generation > satisfied, ..TagFacts::of(tag) };
        let mut resolved = resolve(&facts, lookup, host)?;
        let points = resolved.why.iter().position(|reason| matches!(reason, Reason::Points { .. }));
        if let (Some(at), Some(event)) = (points, event) {
            let moved = Reason::Move { number: event.number, kind: event.kind.to_string(), actor: event.actor };
            resolved.why.insert(at + 1, moved);
        }
        Ok(resolved)
    }

    /// An image of the stream's history; how it is pulled follows from the tag that pointed to it last.
    async fn resolve_digest(&self, stream: &Stream, digest: &str, asker: &Asker<'_>) -> Result<Resolved> {
        let missing = || Error::not_found("imagestreamimages", format!("{}@{digest}", stream.name));
        let id = digest.parse().map_err(|_| missing())?;
        let digest = self.find_stream_digest(stream, &id).await?.ok_or_else(missing)?;
        let moved: Option<(String, String, Option<String>)> = sqlx::query_as(
            "select t.name, t.reference_policy, case when t.event_sequence = e.sequence then coalesce(t.reference, e.reference) \
             else e.reference end from tag_events e join tags t on t.id = e.tag_id \
             where t.stream_id = $1 and e.digest = $2 and e.outcome = 'moved' order by e.sequence desc limit 1",
        )
        .bind(&stream.id)
        .bind(&digest)
        .fetch_optional(self.pool())
        .await?;
        let (tag, policy, reference) = moved.unwrap_or_default();
        let facts = TagFacts {
            project: &stream.project,
            stream: &stream.name,
            tag: &tag,
            digest: Some(&digest),
            reference: reference.as_deref(),
            local: policy == "Local",
            ..TagFacts::default()
        };
        let mut resolved = resolve(&facts, Lookup::Image, asker.host)?;
        resolved.why[0] = Reason::Digest;
        Ok(resolved)
    }
}

/// The generation that the last check of a source satisfied.
fn satisfied(import: &TagImport) -> i64 {
    if matches!(import.outcome.as_str(), "ok" | "unchanged" | "waiting") { import.generation } else { -1 }
}

/// An image that is taken as it is written.
fn elsewhere(reference: &ImageReference, because: Option<Reason>) -> Resolution {
    let digest = reference.digest().map(String::from);
    let mut why: Vec<Reason> = because.into_iter().collect();
    why.push(Reason::Elsewhere);
    if digest.is_some() {
        why.push(Reason::Digest);
    }
    let pull_spec = reference.pull_spec().unwrap_or_default();
    let resolved =
        Resolved { digest, pull_spec, here: None, newer: false, has_status: false, is_tag_empty: false, why };
    Resolution { tag: None, resolved }
}

/// A short name that means no stream is one of Docker Hub's.
fn not_ours(named: &Named, because: Reason) -> Resolution {
    let reference = match named {
        Named::Tag { tag, .. } => {
            ImageReference { name: tag.stream.clone(), tag: tag.tag.clone(), ..ImageReference::default() }
        }
        Named::Image { stream, digest, .. } => {
            ImageReference { name: stream.clone(), id: digest.clone(), ..ImageReference::default() }
        }
        Named::External(reference) => reference.clone(),
    };
    elsewhere(&reference, Some(because))
}

#[cfg(test)]
mod tests;
