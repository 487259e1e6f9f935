//! Imports that somebody asks for: what all tags of one request should be, said in one transaction, and nothing of it when the request
//! is about what has changed since.

use super::tag_specs::same_spec;
use super::{Entry, Error, Result, Store, TagSet, TagSpec, WriteTx};
use crate::model::{Actor, Stream, StreamName, Tag, TagName, now};
use crate::server::wake::Controller;

/// The stream that a request imports into, as far as it says which.
#[derive(Debug, Clone, Copy)]
pub struct ImportTarget<'a> {
    pub project: &'a str,
    pub stream: &'a StreamName,
    /// Its id; whoever names none means whatever stream has the name, or a new one.
    pub id: Option<&'a str>,
    /// Its version.
    pub version: Option<i64>,
}

impl ImportTarget<'_> {
    /// Refuses what was found under the name when the request is not about that.
    pub fn check(&self, found: Option<&Stream>) -> Result<()> {
        let is_meant = match found {
            Some(stream) => self.id.is_none_or(|id| id == stream.id),
            None => self.id.is_none() && self.version.is_none(),
        };
        if !is_meant {
            return Err(Error::not_found("imagestreams", self.stream.as_str()));
        }
        match (found, self.version) {
            (Some(stream), Some(version)) if version != stream.version => Err(Error::Conflict(format!(
                "the image stream was updated from \"{version}\" to \"{}\"",
                stream.version
            ))),
            _ => Ok(()),
        }
    }
}

/// A tag that an image is to be imported to.
#[derive(Debug, Clone)]
pub struct AskedImport {
    pub name: TagName,
    /// What it is to be.
    pub spec: TagSpec,
    /// The tag as it was when the request looked at it.
    pub seen: Option<Tag>,
}

impl Store {
    /// Says what the tags of an import should be, and has their sources checked at once; makes the stream when there is none and the
    /// target names none. All of it is one generation, and a tag that is so already and has what its source meant is only checked. Gives
    /// for each what became of it: nothing when it was set to something else since it was seen, which then stands.
    pub async fn begin_imports(
        &self,
        target: &ImportTarget<'_>,
        imports: &[AskedImport],
        actor: &Actor,
    ) -> Result<Vec<Option<TagSet>>> {
        let mut tx = self.write_tx().await?;
        let found = tx.find_stream(target.project, target.stream.as_str()).await?;
        target.check(found.as_ref())?;
        let stream = match found {
            Some(stream) => stream,
            // All of it is the first generation.
            None => Stream { generation: 0, ..tx.ensure_stream(target.project, target.stream, actor).await? },
        };
        let limited = tx.limited_tags(&stream).await?;
        let mut begun = Vec::with_capacity(imports.len());
        for import in imports {
            begun.push(tx.begin_import(&stream, import, actor).await?);
        }
        tx.check_more_tags(&stream, limited).await?;
        tx.wake(Controller::Imports);
        tx.commit().await?;
        Ok(begun)
    }

    /// Takes back what an import said of tags of one stream, as one generation. What a tag is stays; one that never had an image goes
    /// altogether, unless something needs it. Those that were deleted or set to something else since are left alone.
    pub async fn take_back_imports(&self, set: &[Tag], actor: &Actor) -> Result<()> {
        let Some(first) = set.first() else { return Ok(()) };
        let mut tx = self.write_tx().await?;
        let stream = tx.find_stream(&first.project, &first.stream).await?;
        let Some(stream) = stream.filter(|stream| stream.id == first.stream_id) else { return Ok(()) };
        for before in set {
            let tag = tx.tag_by_id(&before.id).await?;
            if tag.deleted_at.is_some() || tag.generation != before.generation {
                continue;
            }
            match tag.digest {
                Some(_) => tx.unset_tag(&stream, &tag, actor).await?,
                None => match tx.delete_tag(&tag, actor).await {
                    Err(Error::Conflict(_)) => tx.unset_tag(&stream, &tag, actor).await?,
                    deleted => deleted?,
                },
            }
        }
        let after = tx.stream(&first.project, &first.stream).await?;
        if after.version != stream.version {
            tx.mark_stream(&stream, after.version, true).await?;
        }
        tx.commit().await
    }
}

impl WriteTx {
    async fn begin_import(&mut self, stream: &Stream, import: &AskedImport, actor: &Actor) -> Result<Option<TagSet>> {
        let tag = self.ensure_tag(stream, &import.name).await?;
        let stands = wish(Some(&tag))?;
        let spec = match &stands {
            stands if *stands == wish(import.seen.as_ref())? => &import.spec,
            // Somebody else had it follow the same: what they said of it besides stands.
            Some((_, spec)) if follows_alike(spec, &import.spec) => spec,
            _ => return Ok(None),
        };
        let renews = !self.has_what_its_source_meant(&tag).await?;
        let is_so = stands.is_some() && same_spec(&tag, spec);
        let set = if is_so && !renews {
            let title = tag.title();
            let entry =
                Entry { action: "import.request", project: Some(&stream.project), object: &title, ..Entry::default() };
            self.record(actor, entry).await?;
            TagSet { tag, created: false }
        } else {
            self.set_tag(stream, &import.name, spec, renews, actor).await?
        };
        self.check_at_once(&set.tag, actor).await?;
        Ok(Some(set))
    }

    /// Whether a look at the source is all that an import takes: the tag's last move came from there, or nothing came so far. After anything
    /// else, a push say, the same image has to be taken again.
    async fn has_what_its_source_meant(&mut self, tag: &Tag) -> Result<bool> {
        let (found,): (i64,) = sqlx::query_as(
            "select count(*) from tags t join tag_imports i on i.tag_id = t.id where t.id = $1 \
             and (t.digest is null and i.outcome in ('new', 'failed') or exists (select 1 from tag_events e where e.tag_id = t.id \
               and e.number = t.event_number and e.kind = 'import' and e.outcome = 'moved'))",
        )
        .bind(&tag.id)
        .fetch_one(&mut **self)
        .await?;
        Ok(found > 0)
    }

    /// Asked for by somebody, it comes before what the schedule has in its queue. While its registry is paused it waits.
    async fn check_at_once(&mut self, tag: &Tag, actor: &Actor) -> Result<()> {
        sqlx::query("update tag_imports set requested_at = $2, requested_by = $3 where tag_id = $1")
            .bind(&tag.id)
            .bind(now())
            .bind(&actor.name)
            .execute(&mut **self)
            .await?;
        Ok(())
    }
}

/// Whether both take the same of the same image.
fn follows_alike(one: &TagSpec, other: &TagSpec) -> bool {
    let what = |spec: &TagSpec| (spec.source.clone(), spec.reference_only, spec.import_mode.clone());
    what(one) == what(other)
}

/// What somebody wants a tag to be, if anybody does, and since which generation.
fn wish(tag: Option<&Tag>) -> Result<Option<(i64, TagSpec)>> {
    let tag = tag.filter(|tag| tag.has_spec != 0 && tag.deleted_at.is_none());
    tag.map(|tag| Ok((tag.generation, TagSpec::of(tag)?))).transpose()
}

#[cfg(test)]
mod tests;
