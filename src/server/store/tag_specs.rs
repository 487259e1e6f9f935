//! What tags should be: fed by pushes, following an image in another registry or another tag, or pinned to an image.

use super::{Entry, Error, Result, Store, WriteTx, check_version};
use crate::model::{
    Actor, ActorKind, DigestPrefix, EventKind, Outcome, SourceKind, SourceName, Stream, StreamName, Tag, TagName, now,
};
use crate::server::store::WantedTag;
use crate::server::store::moves::Move;
use crate::server::store::references::reference_beside;
use crate::server::store::tag_rules::{is_immutable, refusal};
use crate::server::wake::Controller;

/// A source that was not looked at for so long after it was set counts as overdue.
pub(super) const FIRST_CHECK_WITHIN_MS: i64 = 15 * 60 * 1000;

/// What a tag should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagSpec {
    /// What it follows and the name of that as typed; `None` means it is fed by pushes.
    pub source: Option<(SourceKind, String)>,
    /// Project of an `ImageStreamTag` or `ImageStreamImage` source, when it is another one.
    pub source_project: Option<String>,
    pub reference_only: bool,
    pub insecure: bool,
    pub scheduled: bool,
    /// Milliseconds between checks; `None` is the server's default.
    pub interval_ms: Option<i64>,
    /// How old what is new there must be before it is taken over, in milliseconds; `None` or 0: it need not be.
    pub cool_down_ms: Option<i64>,
    pub import_mode: String,
    pub reference_policy: String,
    pub annotations: String,
}

impl Default for TagSpec {
    fn default() -> Self {
        Self {
            source: None,
            source_project: None,
            reference_only: false,
            insecure: false,
            scheduled: false,
            interval_ms: None,
            cool_down_ms: None,
            import_mode: "PreserveOriginal".to_owned(),
            reference_policy: "Source".to_owned(),
            annotations: "{}".to_owned(),
        }
    }
}

impl TagSpec {
    /// Follows an image in another registry, checked on the default schedule.
    pub fn import(reference: impl Into<String>) -> Self {
        Self { source: Some((SourceKind::DockerImage, reference.into())), scheduled: true, ..Self::default() }
    }

    /// What a tag should be now.
    pub fn of(tag: &Tag) -> Result<Self> {
        let source = match (&tag.source_kind, &tag.source) {
            (Some(kind), Some(name)) => {
                let kind = kind.parse().map_err(|error| Error::invalid("from.kind", format!("{error}")))?;
                Some((kind, name.clone()))
            }
            _ => None,
        };
        Ok(Self {
            source,
            source_project: tag.source_project.clone(),
            reference_only: tag.reference_only != 0,
            insecure: tag.insecure != 0,
            scheduled: tag.scheduled != 0,
            interval_ms: tag.interval_ms,
            cool_down_ms: tag.cool_down_ms,
            import_mode: tag.import_mode.clone(),
            reference_policy: tag.reference_policy.clone(),
            annotations: tag.annotations.clone(),
        })
    }

    /// Whether its image is fetched from another registry: a mere reference is not.
    fn imports(&self) -> bool {
        matches!(self.source, Some((SourceKind::DockerImage, _))) && !self.reference_only
    }
}

/// What [`Store::set_tag`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagSet {
    pub tag: Tag,
    /// There was no spec tag of that name before.
    pub created: bool,
}

/// What a tag has from another tag or stream.
#[derive(Debug, Clone, Default)]
struct SourceImage {
    follows: Option<String>,
    /// The other stream whose image it is pinned to.
    pinned_stream: Option<String>,
    digest: Option<String>,
    reference: Option<String>,
    /// What it only names, and since when.
    refers_to: Option<String>,
    refers_at: Option<i64>,
    /// `<project>/<stream>` of it.
    repository: String,
}

impl Store {
    /// Says what a tag should be; makes the stream and the tag when they are not there. An import is then due at once, a follow or a pin
    /// takes effect in the same transaction. With `version` given, refuses when the stream changed since.
    pub async fn set_tag(
        &self,
        project: &str,
        stream: &StreamName,
        name: &TagName,
        spec: &TagSpec,
        version: Option<i64>,
        actor: &Actor,
    ) -> Result<TagSet> {
        let wanted = WantedTag { name: name.clone(), spec: spec.clone(), again: true };
        self.change_tag(project, stream, &wanted, version, actor).await
    }

    /// As [`Store::set_tag`]; where the tag follows what it followed before, its image is taken anew only when that is wanted `again`. A tag
    /// that is all of that already is left as it is, and so is its stream.
    pub async fn change_tag(
        &self,
        project: &str,
        stream: &StreamName,
        wanted: &WantedTag,
        version: Option<i64>,
        actor: &Actor,
    ) -> Result<TagSet> {
        let mut tx = self.write_tx().await?;
        let stream = tx.ensure_stream(project, stream, actor).await?;
        check_version(stream.version, version)?;
        let known = tx.find_live_tag(project, &stream.name, wanted.name.as_str()).await?;
        if let Some(tag) = known.filter(|tag| wanted.is_as(tag)) {
            return Ok(TagSet { tag, created: false });
        }
        let limited = tx.limited_tags(&stream).await?;
        let set = tx.set_tag(&stream, &wanted.name, &wanted.spec, wanted.again, actor).await?;
        tx.check_more_tags(&stream, limited).await?;
        tx.commit().await?;
        Ok(set)
    }
}

impl WriteTx {
    /// Says what a tag should be, as of the stream's next generation. Where the tag follows what it followed before, its image is taken anew
    /// only when somebody wants that `again`.
    pub(super) async fn set_tag(
        &mut self,
        stream: &Stream,
        name: &TagName,
        spec: &TagSpec,
        again: bool,
        actor: &Actor,
    ) -> Result<TagSet> {
        let before = self.ensure_tag(stream, name).await?;
        self.check_registry(&before, spec, actor).await?;
        let renews = renews(&before, spec, again);
        // What is followed as before is not looked up again: that it may be gone by now is no reason to refuse the rest.
        let source =
            if renews { self.resolve_source(stream, &before, spec).await? } else { SourceImage::kept(&before) };
        if source.refers_to.is_some() && is_immutable(&before)? && !before.is_mere_reference() {
            return Err(refusal(&before.title(), Outcome::Immutable));
        }
        let entry = Entry {
            action: "tag.set",
            project: Some(&stream.project),
            object: &before.title(),
            from: before.source.as_deref(),
            to: spec.source.as_ref().map(|(_, name)| name.as_str()),
            ..Entry::default()
        };
        let sequence = self.record(actor, entry).await?;
        if !spec.imports() {
            // A row that stayed would be claimed with all that ask what this tag asked before.
            self.end_import(&before, actor).await?;
        }
        self.write_spec(stream, &before, spec, &source, renews, sequence).await?;
        if renews && spec.imports() {
            // Whose the first import is.
            sqlx::query("update tag_imports set requested_by = $2 where tag_id = $1")
                .bind(&before.id)
                .bind(Some(&actor.name).filter(|_| actor.kind == ActorKind::Person))
                .execute(&mut **self)
                .await?;
        }
        if source.refers_to.is_some() {
            let tag = self.tag_by_id(&before.id).await?;
            self.pass_name_on(&tag, sequence).await?;
        } else if renews && source.digest.is_some() {
            self.take_over(stream, &before, &source, actor, sequence).await?;
        }
        let tag = self.tag_by_id(&before.id).await?;
        Ok(TagSet { created: before.has_spec == 0 || before.deleted_at.is_some(), tag })
    }

    async fn write_spec(
        &mut self,
        stream: &Stream,
        before: &Tag,
        spec: &TagSpec,
        source: &SourceImage,
        renews: bool,
        sequence: i64,
    ) -> Result<()> {
        let generation = stream.generation + 1;
        sqlx::query("update streams set generation = $2, version = $3 where id = $1")
            .bind(&stream.id)
            .bind(generation)
            .bind(sequence)
            .execute(&mut **self)
            .await?;
        let (kind, from) = spec.source.clone().map_or((None, None), |(kind, from)| (Some(kind), Some(from)));
        // Who named an image before, and names another one now, has done so since then: neither is an image.
        sqlx::query(
            "update tags set has_spec = 1, source_kind = $2, source = $3, source_project = $4, follows_tag_id = $5, reference_only = $6, \
             insecure = $7, scheduled = $8, interval_ms = $9, import_mode = $10, reference_policy = $11, annotations = $12, \
             generation = $13, cool_down_ms = $14, pinned_stream_id = $15, refers_to = coalesce(cast($16 as text), refers_to), \
             refers_at = coalesce(refers_at, $17), deleted_at = null where id = $1",
        )
        .bind(&before.id)
        .bind(kind.map(SourceKind::as_str))
        .bind(from.as_deref())
        .bind(spec.source_project.as_deref())
        .bind(source.follows.as_deref())
        .bind(i64::from(spec.reference_only))
        .bind(i64::from(spec.insecure))
        .bind(i64::from(spec.scheduled))
        .bind(spec.interval_ms)
        .bind(&spec.import_mode)
        .bind(&spec.reference_policy)
        .bind(&spec.annotations)
        .bind(if renews { generation } else { before.generation })
        .bind(spec.cool_down_ms)
        .bind(source.pinned_stream.as_deref())
        .bind(source.refers_to.as_deref())
        .bind(source.refers_at)
        .execute(&mut **self)
        .await?;
        let is_other_source = before.source != from || before.source_kind.as_deref() != kind.map(SourceKind::as_str);
        if before.source != from || before.deleted_at.is_some() {
            self.index_tag(&before.id).await?;
        }
        if spec.imports() {
            // What is followed as before is looked at when it is scheduled, on a server with a schedule: no later than an interval from
            // now. What was to be fetched, or to pass when it is old enough, still is.
            let within = spec.interval_ms.unwrap_or(FIRST_CHECK_WITHIN_MS);
            let is_scheduled = spec.scheduled && self.schedules;
            let next_at = match renews {
                true => Some(now()),
                false => is_scheduled.then(|| now().saturating_add(within)),
            };
            sqlx::query(
                "insert into tag_imports (tag_id, next_at, overdue_at) values ($1, $2, $3) on conflict (tag_id) do update \
                 set next_at = case when $4 = 1 or ($5 = 1 and coalesce(tag_imports.next_at, $2) >= $2) then $2 \
                   when $5 = 1 or tag_imports.outcome in ('new', 'waiting') then tag_imports.next_at end, \
                 overdue_at = case when $4 = 1 or ($5 = 1 and coalesce(tag_imports.next_at, $2) >= $2) then $3 \
                   when $5 = 1 or tag_imports.outcome in ('new', 'waiting') then tag_imports.overdue_at end, \
                 budget = null, question = null",
            )
            .bind(&before.id)
            .bind(next_at)
            .bind(next_at.map(|at| at.saturating_add(FIRST_CHECK_WITHIN_MS)))
            .bind(i64::from(renews))
            .bind(i64::from(is_scheduled))
            .execute(&mut **self)
            .await?;
            if is_other_source {
                self.begin_anew(&before.id).await?;
            }
            self.wake(Controller::Imports);
        }
        Ok(())
    }

    /// What the source of a tag gives it at once: the image that a follow or a pin stands for now, or only a name. An import is nobody's but
    /// its check's. Refuses cycles with their path.
    async fn resolve_source(&mut self, stream: &Stream, tag: &Tag, spec: &TagSpec) -> Result<SourceImage> {
        let Some((kind, from)) = &spec.source else { return Ok(SourceImage::default()) };
        let field = || format!("spec.tags[{}].from.name", tag.name);
        let project = spec.source_project.as_deref().unwrap_or(&stream.project);
        match kind {
            SourceKind::DockerImage if spec.reference_only => {
                Ok(SourceImage { refers_to: Some(from.clone()), refers_at: Some(now()), ..SourceImage::default() })
            }
            SourceKind::DockerImage => Ok(SourceImage::default()),
            SourceKind::ImageStreamTag => {
                let named = SourceName::tag(from).map_err(|error| Error::invalid(field(), error.to_string()))?;
                let SourceName::Tag { stream: named, tag: source_tag } = named else {
                    return Ok(SourceImage::default());
                };
                let owner = self.stream(project, named.as_ref().map_or(&stream.name, StreamName::as_str)).await?;
                // Following a tag that does not exist yet is allowed: it takes effect when that tag first moves.
                let followed = self.ensure_tag(&owner, &source_tag).await?;
                self.refuse_cycle(tag, &followed, field()).await?;
                Ok(SourceImage::of_tag(followed, owner.repository()))
            }
            SourceKind::ImageStreamImage => {
                let named = SourceName::image(from).map_err(|error| Error::invalid(field(), error.to_string()))?;
                let SourceName::Image { stream: named, id } = named else { return Ok(SourceImage::default()) };
                let owner = self.stream(project, named.as_ref().map_or(&stream.name, StreamName::as_str)).await?;
                self.pinned_image(stream, &owner, &id, field()).await
            }
        }
    }

    /// The image of a stream that a tag of another one, or of its own, is pinned to. It has to be stored here.
    async fn pinned_image(
        &mut self,
        stream: &Stream,
        owner: &Stream,
        id: &DigestPrefix,
        field: String,
    ) -> Result<SourceImage> {
        let repository = owner.repository();
        let refused = |why: String| Error::invalid(field, format!("error generating tag event: {why}"));
        let Some(digest) = self.find_stream_digest(&owner.id, id).await? else {
            return Err(refused(format!("image {id} is not in the history of {repository}")));
        };
        match self.check_image_is_here(&digest, &format!("{repository}@{id}")).await {
            Err(Error::Conflict(why)) => return Err(refused(why)),
            checked => checked?,
        }
        let reference = self.reference_in_stream(&owner.id, &digest).await?;
        let reference = reference.unwrap_or_else(|| format!("{repository}@{digest}"));
        let pinned_stream = (owner.id != stream.id).then(|| owner.id.clone());
        let (digest, reference) = (Some(digest), Some(reference));
        Ok(SourceImage { pinned_stream, digest, reference, repository, ..SourceImage::default() })
    }

    async fn refuse_cycle(&mut self, tag: &Tag, followed: &Tag, field: String) -> Result<()> {
        let mut path = vec![tag.title()];
        let mut next = Some(followed.clone());
        while let Some(current) = next {
            path.push(current.title());
            if current.id == tag.id {
                return Err(Error::invalid(
                    field,
                    format!("the tags would follow each other in a circle: {}", path.join(" → ")),
                ));
            }
            next = self.followed_by(&current).await?;
        }
        Ok(())
    }

    /// A follow or a pin takes its source's image at once. It is a person's move, so holds do not stop it.
    async fn take_over(
        &mut self,
        stream: &Stream,
        tag: &Tag,
        source: &SourceImage,
        actor: &Actor,
        cause: i64,
    ) -> Result<()> {
        let Some(digest) = &source.digest else { return Ok(()) };
        let tag = self.tag_by_id(&tag.id).await?;
        let reference = match &source.reference {
            Some(reference) => reference_beside(&source.repository, reference, &tag, digest),
            None => tag.local_reference(digest),
        };
        let movement = Move { cause: Some(cause), ..Move::new(EventKind::Api, digest, &reference, actor) };
        let moved = self.move_tag(&tag, &movement).await?;
        if moved.outcome == Outcome::Immutable {
            return Err(refusal(&tag.title(), Outcome::Immutable));
        }
        if !moved.changed {
            // That it points there already does not say that its repository has all of it.
            return self.serve_here(&tag, digest).await;
        }
        match moved.outcome {
            Outcome::Moved => self.check_image_limits(stream, digest, moved.sequence).await,
            _ => Ok(()),
        }
    }
}

impl SourceImage {
    /// What a tag has from what it follows already.
    fn kept(tag: &Tag) -> Self {
        Self { follows: tag.follows_tag_id.clone(), pinned_stream: tag.pinned_stream_id.clone(), ..Self::default() }
    }

    fn of_tag(followed: Tag, repository: String) -> Self {
        let Tag { id, digest, reference, refers_to, refers_at, .. } = followed;
        // What a tag pointed to before it only named an image is not what it stands for.
        let (digest, reference) = if refers_to.is_some() { (None, None) } else { (digest, reference) };
        Self { follows: Some(id), pinned_stream: None, digest, reference, refers_to, refers_at, repository }
    }
}

/// Whether a tag that becomes this takes its source's image.
pub(super) fn renews(before: &Tag, spec: &TagSpec, again: bool) -> bool {
    again || !follows_the_same(before, spec)
}

/// Whether a spec names the image that the tag's own names, and in the same way: what else it says is about how that is kept up to date
/// and shown.
fn follows_the_same(tag: &Tag, spec: &TagSpec) -> bool {
    let source = spec.source.as_ref().map(|(kind, name)| (kind.as_str(), name.as_str()));
    tag.has_spec != 0
        && tag.deleted_at.is_none()
        && tag.source_kind.as_deref().zip(tag.source.as_deref()) == source
        && tag.source_project == spec.source_project
        && (tag.reference_only != 0) == spec.reference_only
        && tag.import_mode == spec.import_mode
}

/// Whether the tag is what it should be already.
pub(super) fn same_spec(tag: &Tag, spec: &TagSpec) -> bool {
    let source = spec.source.as_ref().map(|(kind, name)| (kind.as_str(), name.as_str()));
    let tag_source = tag.source_kind.as_deref().zip(tag.source.as_deref());
    tag_source == source
        && tag.source_project == spec.source_project
        && (tag.reference_only != 0) == spec.reference_only
        && (tag.insecure != 0) == spec.insecure
        && (tag.scheduled != 0) == spec.scheduled
        && tag.interval_ms == spec.interval_ms
        && tag.cool_down_ms == spec.cool_down_ms
        && tag.import_mode == spec.import_mode
        && tag.reference_policy == spec.reference_policy
        && tag.annotations == spec.annotations
}
