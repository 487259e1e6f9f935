//! Writing a stream as a whole, as the REST door's clients do: what it is, what all of its tags should be and which repository it takes
//! in, in one transaction.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::image_repository::ImageRepository;
use super::platforms::chosen_platforms;
use super::tag_specs::{renews, same_spec};
use super::{Entry, Error, Result, Store, StreamFields, TagSpec, WriteTx, check_version};
use crate::model::{Actor, SourceKind, SourceName, Stream, StreamName, Tag, TagName};

/// A tag and what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedTag {
    pub name: TagName,
    pub spec: TagSpec,
    /// Take the source's image again even though nothing else changed.
    pub again: bool,
}

impl WantedTag {
    /// Whether a tag of the stream is that already.
    pub fn is_as(&self, tag: &Tag) -> bool {
        !self.again && tag.has_spec != 0 && tag.name == self.name.as_str() && same_spec(tag, &self.spec)
    }
}

/// A stream as it is to be, with all that its users may say of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WholeStream {
    pub fields: StreamFields,
    pub tags: Vec<WantedTag>,
    /// The repository whose tags it takes in.
    pub repository: Option<ImageRepository>,
}

impl Store {
    /// Makes a stream with its tags.
    pub async fn create_whole_stream(
        &self,
        project: &str,
        name: &StreamName,
        wanted: &WholeStream,
        actor: &Actor,
    ) -> Result<Stream> {
        let mut tx = self.write_tx().await?;
        if tx.find_stream(project, name.as_str()).await?.is_some() {
            return Err(Error::Exists { kind: "imagestreams", name: name.to_string() });
        }
        let stream = tx.ensure_stream(project, name, actor).await?;
        tx.describe_stream(&stream, &wanted.fields).await?;
        // All of it is the first generation.
        let unmade = Stream { generation: 0, ..stream };
        tx.set_image_repository(&unmade, wanted.repository.as_ref(), actor).await?;
        let limited = tx.limited_tags(&unmade).await?;
        let tags: Vec<WantedTag> = wanted.tags.iter().map(|tag| WantedTag { again: true, ..tag.clone() }).collect();
        tx.set_tags(&unmade, tags.iter().collect(), &HashMap::new(), actor).await?;
        tx.check_more_tags(&unmade, limited).await?;
        let stream = tx.stream(project, name.as_str()).await?;
        tx.commit().await?;
        Ok(stream)
    }

    /// Sets what a stream and its tags should be; tags that are not named lose their spec and keep their image and history, all but those
    /// that came with the repository: clients write what they know of a stream. Refuses when the stream is not at `version` any more.
    pub async fn replace_whole_stream(
        &self,
        project: &str,
        name: &str,
        wanted: &WholeStream,
        version: i64,
        actor: &Actor,
    ) -> Result<Stream> {
        let mut tx = self.write_tx().await?;
        let stream = tx.stream(project, name).await?;
        check_version(stream.version, Some(version))?;
        let WholeStream { fields, tags, repository } = wanted;
        if !same_fields(&stream, fields) {
            tx.change_stream(&stream, fields, actor).await?;
        }
        let before: Vec<Tag> = tx.spec_tags(&stream.id).await?;
        let limited = tx.limited_tags(&stream).await?;
        let of_repository = tx.tags_of_image_repository(&stream).await?;
        tx.set_image_repository(&stream, repository.as_ref(), actor).await?;
        let named: HashSet<&str> = tags.iter().map(|wanted| wanted.name.as_str()).collect();
        let is_named = |tag: &Tag| named.contains(tag.name.as_str());
        for gone in before.iter().filter(|tag| !is_named(tag) && !of_repository.contains(&tag.id)) {
            tx.unset_tag(&stream, gone, actor).await?;
        }
        let before: HashMap<&str, &Tag> = before.iter().map(|tag| (tag.name.as_str(), tag)).collect();
        let is_there = |wanted: &&WantedTag| before.get(wanted.name.as_str()).is_some_and(|tag| wanted.is_as(tag));
        let changed = tags.iter().filter(|wanted| !is_there(wanted)).collect();
        tx.set_tags(&stream, changed, &before, actor).await?;
        tx.check_more_tags(&stream, limited).await?;
        tx.follow_choice(&stream, &fields.annotations, actor).await?;
        let stream = tx.stream(project, name).await?;
        tx.commit().await?;
        Ok(stream)
    }

    /// Takes back what a tag was to be. What the tag is stays; one that never had an image goes altogether. With `version` given, refuses
    /// when the stream changed since. False when the tag was deleted or set to something else since: that is left alone.
    pub async fn take_back_tag(&self, set: &Tag, version: Option<i64>, actor: &Actor) -> Result<bool> {
        let mut tx = self.write_tx().await?;
        let tag = tx.tag_by_id(&set.id).await?;
        let stream = tx.stream(&tag.project, &tag.stream).await?;
        check_version(stream.version, version)?;
        if tag.deleted_at.is_some() || tag.generation != set.generation {
            return Ok(false);
        }
        if tag.digest.is_none() {
            tx.delete_tag(&tag, actor).await?;
        } else {
            tx.unset_tag(&stream, &tag, actor).await?;
        }
        tx.commit().await?;
        Ok(true)
    }
}

impl WriteTx {
    /// Sets what may be set of a stream, and records that.
    pub(super) async fn change_stream(&mut self, stream: &Stream, fields: &StreamFields, actor: &Actor) -> Result<()> {
        let entry =
            Entry { action: "stream.update", project: Some(&stream.project), object: &stream.name, ..Entry::default() };
        let sequence = self.record(actor, entry).await?;
        self.describe_stream(stream, fields).await?;
        self.mark_stream(stream, sequence, stream.local_lookup != i64::from(fields.local_lookup)).await
    }

    async fn describe_stream(&mut self, stream: &Stream, fields: &StreamFields) -> Result<()> {
        chosen_platforms(&fields.annotations)?;
        if stream.description != fields.description {
            self.keep_description(stream).await?;
        }
        sqlx::query(
            "update streams set description = $2, labels = $3, annotations = $4, local_lookup = $5 where id = $1",
        )
        .bind(&stream.id)
        .bind(&fields.description)
        .bind(&fields.labels)
        .bind(&fields.annotations)
        .bind(i64::from(fields.local_lookup))
        .execute(&mut **self)
        .await?;
        self.index_stream(&stream.id).await
    }

    /// Labels and annotations leave a stream's generation alone, what it specifies does not: whatever is written together is the next one.
    pub(super) async fn mark_stream(&mut self, stream: &Stream, version: i64, specifies: bool) -> Result<()> {
        sqlx::query(
            "update streams set version = $2, generation = case when $3 = 1 then $4 else generation end where id = $1",
        )
        .bind(&stream.id)
        .bind(version)
        .bind(i64::from(specifies))
        .bind(stream.generation + 1)
        .execute(&mut **self)
        .await?;
        Ok(())
    }

    /// Sets tags together, as if all of them were set at once: what they followed before moves none of them, and each is set after those that
    /// it follows from now on. So what counts as a circle is one in the end, and each tag moves once.
    async fn set_tags(
        &mut self,
        stream: &Stream,
        wanted: Vec<&WantedTag>,
        before: &HashMap<&str, &Tag>,
        actor: &Actor,
    ) -> Result<()> {
        let renewed =
            |one: &&WantedTag| before.get(one.name.as_str()).copied().filter(|tag| renews(tag, &one.spec, one.again));
        for tag in wanted.iter().filter_map(renewed) {
            sqlx::query("update tags set follows_tag_id = null where id = $1")
                .bind(&tag.id)
                .execute(&mut **self)
                .await?;
        }
        let names: BTreeSet<&str> = wanted.iter().map(|one| one.name.as_str()).collect();
        let mut after = HashMap::new();
        for one in &wanted {
            if let Some(source) = self.source_among(stream, &one.spec, &names).await? {
                after.insert(one.name.as_str(), source);
            }
        }
        for one in sources_first(wanted, &after) {
            self.set_tag(stream, &one.name, &one.spec, one.again, actor).await?;
        }
        Ok(())
    }

    /// The first of these tags of the stream on the way along what the tag is to follow.
    async fn source_among(
        &mut self,
        stream: &Stream,
        spec: &TagSpec,
        names: &BTreeSet<&str>,
    ) -> Result<Option<String>> {
        let Some((SourceKind::ImageStreamTag, from)) = &spec.source else { return Ok(None) };
        // What cannot be read is refused when it is set.
        let Ok(SourceName::Tag { stream: named, tag }) = SourceName::tag(from) else { return Ok(None) };
        let project = spec.source_project.as_deref().unwrap_or(&stream.project);
        let owner = named.as_ref().map_or(&*stream.name, StreamName::as_str);
        if project == stream.project && owner == stream.name && names.contains(tag.as_str()) {
            return Ok(Some(tag.to_string()));
        }
        let mut next = self.find_live_tag(project, owner, tag.as_str()).await?;
        let mut seen = BTreeSet::new();
        while let Some(followed) = next.filter(|tag| seen.insert(tag.id.clone())) {
            if followed.stream_id == stream.id && names.contains(followed.name.as_str()) {
                return Ok(Some(followed.name));
            }
            next = self.followed_by(&followed).await?;
        }
        Ok(None)
    }

    async fn spec_tags(&mut self, stream_id: &str) -> Result<Vec<Tag>> {
        let tags = sqlx::query_as(super::tags::select_tag!(
            "where t.stream_id = $1 and t.deleted_at is null and t.has_spec = 1 order by t.name"
        ))
        .bind(stream_id)
        .fetch_all(&mut **self)
        .await?;
        Ok(tags)
    }

    /// Takes back what a tag should be. What it is stays. As of its new generation nothing that was imported for it before is anybody's wish.
    pub(super) async fn unset_tag(&mut self, stream: &Stream, tag: &Tag, actor: &Actor) -> Result<()> {
        let entry = Entry {
            action: "tag.unset",
            project: Some(&tag.project),
            object: &tag.title(),
            from: tag.source.as_deref(),
            ..Entry::default()
        };
        let sequence = self.record(actor, entry).await?;
        sqlx::query(
            "update tags set has_spec = 0, source_kind = null, source = null, source_project = null, follows_tag_id = null, \
             pinned_stream_id = null, reference_only = 0, insecure = 0, scheduled = 0, interval_ms = null, cool_down_ms = null, annotations = '{}', generation = $2 \
             where id = $1",
        )
        .bind(&tag.id)
        .bind(stream.generation + 1)
        .execute(&mut **self)
        .await?;
        self.end_import(tag, actor).await?;
        self.index_tag(&tag.id).await?;
        self.mark_stream(stream, sequence, true).await
    }
}

/// These tags, each behind the one that it comes after: first those that come after none, then those behind these, and so on. Those in a
/// circle are last, and are refused there.
fn sources_first<'a>(wanted: Vec<&'a WantedTag>, after: &HashMap<&str, String>) -> Vec<&'a WantedTag> {
    let mut behind: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut ready = Vec::new();
    for (place, one) in wanted.iter().enumerate() {
        match after.get(one.name.as_str()) {
            Some(source) => behind.entry(source).or_default().push(place),
            None => ready.push(place),
        }
    }
    let mut ordered = Vec::with_capacity(wanted.len());
    while !ready.is_empty() {
        let mut next = Vec::new();
        for place in ready {
            next.extend(behind.remove(wanted[place].name.as_str()).unwrap_or_default());
            ordered.push(wanted[place]);
        }
        next.sort_unstable();
        ready = next;
    }
    let mut circular: Vec<usize> = behind.into_values().flatten().collect();
    circular.sort_unstable();
    ordered.extend(circular.into_iter().map(|place| wanted[place]));
    ordered
}

fn same_fields(stream: &Stream, fields: &StreamFields) -> bool {
    stream.description == fields.description
        && same_texts(&stream.labels, &fields.labels)
        && same_texts(&stream.annotations, &fields.annotations)
        && (stream.local_lookup != 0) == fields.local_lookup
}

/// Whether two JSON objects of text say the same, in whatever order.
fn same_texts(one: &str, other: &str) -> bool {
    let read = |text: &str| serde_json::from_str::<HashMap<String, String>>(text).ok();
    one == other || read(one).is_some_and(|one| read(other) == Some(one))
}

#[cfg(test)]
mod tests;
