//! Tags: what they should be. How they move is in `moves`.

use super::{Entry, Error, Result, Store, WriteTx, check_version, new_id};
use crate::model::{
    Actor, EventKind, Hold, Outcome, RejectedDigest, SourceKind, SourceName, Stream, StreamName, Tag, TagEvent,
    TagName, now,
};
use crate::server::store::moves::Move;
use crate::server::store::tag_rules::{is_immutable, refusal};
use crate::server::wake::Controller;

/// A source that was not looked at for so long after it was set counts as overdue.
pub(super) const FIRST_CHECK_WITHIN_MS: i64 = 15 * 60 * 1000;

macro_rules! select_tag {
    ($rest:literal) => {
        concat!(
            "select t.id, t.stream_id, s.project_id, p.name as project, s.name as stream, t.name, t.has_spec, t.source_kind, t.source, \
             t.source_project, t.follows_tag_id, t.reference_only, t.insecure, t.scheduled, t.interval_ms, t.cool_down_ms, \
             t.import_mode, t.reference_policy, t.annotations, t.generation, t.digest, t.reference, t.event_sequence, t.event_number, t.moved_at, \
             t.created_at, t.deleted_at, s.immutable_tags, s.kind_changes \
             from tags t join streams s on s.id = t.stream_id join projects p on p.id = s.project_id ",
            $rest
        )
    };
}
pub(super) use select_tag;

macro_rules! select_event {
    ($rest:literal) => {
        concat!(
            "select e.sequence, e.number, e.tag_id, s.name as stream, t.name as tag, e.outcome, e.digest, e.reference, e.from_digest, \
             e.generation, e.kind, e.actor_kind, e.actor, e.reason, e.cause, e.cascade_id, k.number as cascade_number, e.build_id, \
             case when b.id is null then null else c.name || '-' || cast(b.number as text) end as build, e.to_sequence, \
             g.number as to_number, i.size, i.artifact_type, case when f.digest is null then 0 else 1 end as from_known, \
             f.artifact_type as from_artifact_type, e.at \
             from tag_events e join tags t on t.id = e.tag_id join streams s on s.id = t.stream_id \
             left join cascades k on k.id = e.cascade_id left join builds b on b.id = e.build_id \
             left join build_configs c on c.id = b.config_id left join tag_events g on g.sequence = e.to_sequence \
             left join images i on i.digest = e.digest left join images f on f.digest = e.from_digest ",
            $rest
        )
    };
}

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

impl Store {
    /// The tag of that name, deleted ones included only as `deleted_at` says.
    pub async fn find_tag(&self, project: &str, stream: &str, tag: &str) -> Result<Option<Tag>> {
        let tag = sqlx::query_as(select_tag!("where p.name = $1 and s.name = $2 and t.name = $3"))
            .bind(project)
            .bind(stream)
            .bind(tag)
            .fetch_optional(self.pool())
            .await?;
        Ok(tag)
    }

    /// The tag of that name, or an error that says it is not there.
    pub async fn tag(&self, project: &str, stream: &str, tag: &str) -> Result<Tag> {
        self.find_tag(project, stream, tag)
            .await?
            .filter(|found| found.deleted_at.is_none())
            .ok_or_else(|| Error::not_found("imagestreamtags", format!("{stream}:{tag}")))
    }

    /// The tag with that id.
    pub async fn tag_by_id(&self, id: &str) -> Result<Tag> {
        sqlx::query_as(select_tag!("where t.id = $1"))
            .bind(id)
            .fetch_optional(self.pool())
            .await?
            .ok_or_else(|| Error::not_found("imagestreamtags", id))
    }

    /// Live tags of a stream by name, after `after`.
    pub async fn list_tags(&self, stream_id: &str, after: &str, limit: i64) -> Result<Vec<Tag>> {
        let tags = sqlx::query_as(select_tag!(
            "where t.stream_id = $1 and t.deleted_at is null and t.name > $2 order by t.name limit $3"
        ))
        .bind(stream_id)
        .bind(after)
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        Ok(tags)
    }

    /// Rows of a tag's history, newest first, older than `before`.
    pub async fn list_history(&self, tag_id: &str, before: Option<i64>, limit: i64) -> Result<Vec<TagEvent>> {
        let events =
            sqlx::query_as(select_event!("where e.tag_id = $1 and e.number < $2 order by e.number desc limit $3"))
                .bind(tag_id)
                .bind(before.unwrap_or(i64::MAX))
                .bind(limit)
                .fetch_all(self.pool())
                .await?;
        Ok(events)
    }

    /// Rows of all histories of a stream, newest first, with a sequence below `before`.
    pub async fn list_stream_history(&self, stream_id: &str, before: Option<i64>, limit: i64) -> Result<Vec<TagEvent>> {
        let events = sqlx::query_as(select_event!(
            "where t.stream_id = $1 and e.sequence < $2 order by e.sequence desc limit $3"
        ))
        .bind(stream_id)
        .bind(before.unwrap_or(i64::MAX))
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        Ok(events)
    }

    /// The history row with that sequence.
    pub async fn find_event(&self, sequence: i64) -> Result<Option<TagEvent>> {
        Ok(sqlx::query_as(select_event!("where e.sequence = $1")).bind(sequence).fetch_optional(self.pool()).await?)
    }

    /// History rows that belong to a cascade, oldest first.
    pub async fn list_cascade_events(&self, cascade_id: &str) -> Result<Vec<TagEvent>> {
        let events = sqlx::query_as(select_event!("where e.cascade_id = $1 order by e.sequence limit 1000"))
            .bind(cascade_id)
            .fetch_all(self.pool())
            .await?;
        Ok(events)
    }

    /// What keeps the tag where it is, if anything.
    pub async fn tag_hold(&self, tag_id: &str) -> Result<Option<Hold>> {
        let hold = sqlx::query_as(
            "select id, actor, reason, since, sequence, cascade_id, until_newer, until_at from holds where tag_id = $1 and ended_at is null limit 1",
        )
        .bind(tag_id)
        .fetch_optional(self.pool())
        .await?;
        Ok(hold)
    }

    /// Digests no automatic mover may put on the tag.
    pub async fn list_rejected(&self, tag_id: &str) -> Result<Vec<RejectedDigest>> {
        let rejected = sqlx::query_as(
            "select digest, actor, reason, since, sequence from rejected_digests where tag_id = $1 and ended_at is null order by sequence",
        )
        .bind(tag_id)
        .fetch_all(self.pool())
        .await?;
        Ok(rejected)
    }

    /// What waits for a held tag: its newest held-back row whose digest is not rejected.
    pub async fn tag_waiting(&self, tag_id: &str) -> Result<Option<TagEvent>> {
        let event = sqlx::query_as(select_event!(
            "where e.tag_id = $1 and e.outcome = 'held' \
             and e.sequence > (select coalesce(max(h.sequence), 0) from holds h where h.tag_id = $1 and h.ended_at is null) \
             and not exists (select 1 from rejected_digests r where r.tag_id = $1 and r.digest = e.digest and r.ended_at is null) \
             order by e.number desc limit 1"
        ))
        .bind(tag_id)
        .fetch_optional(self.pool())
        .await?;
        Ok(event)
    }

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
        let mut tx = self.write_tx().await?;
        let stream = tx.ensure_stream(project, stream, actor).await?;
        check_version(stream.version, version)?;
        let set = tx.set_tag(&stream, name, spec, true, actor).await?;
        tx.commit().await?;
        Ok(set)
    }

    /// Deletes a tag. The image and the tag's history stay. An immutable tag is not deleted.
    pub async fn delete_tag(&self, project: &str, stream: &str, name: &str, actor: &Actor) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let tag = tx.live_tag(project, stream, name).await?;
        tx.delete_tag(&tag, actor).await?;
        tx.commit().await
    }

    /// [`Store::delete_tag`] for a project admin: immutable tags, too.
    pub async fn delete_tag_as_admin(&self, project: &str, stream: &str, name: &str, actor: &Actor) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let tag = tx.live_tag(project, stream, name).await?;
        tx.delete_unused(&tag, actor).await?;
        tx.commit().await
    }
}

impl WriteTx {
    pub(super) async fn tag_by_id(&mut self, id: &str) -> Result<Tag> {
        sqlx::query_as(select_tag!("where t.id = $1"))
            .bind(id)
            .fetch_optional(&mut **self)
            .await?
            .ok_or_else(|| Error::not_found("imagestreamtags", id))
    }

    pub(super) async fn live_tag(&mut self, project: &str, stream: &str, name: &str) -> Result<Tag> {
        let tag: Option<Tag> =
            sqlx::query_as(select_tag!("where p.name = $1 and s.name = $2 and t.name = $3 and t.deleted_at is null"))
                .bind(project)
                .bind(stream)
                .bind(name)
                .fetch_optional(&mut **self)
                .await?;
        tag.ok_or_else(|| Error::not_found("imagestreamtags", format!("{stream}:{name}")))
    }

    /// The tag's row, made if there is none. A deleted tag stays deleted until it moves or gets a spec.
    pub(super) async fn ensure_tag(&mut self, stream: &Stream, name: &TagName) -> Result<Tag> {
        let id = new_id();
        let made = sqlx::query(
            "insert into tags (id, stream_id, name, created_at) values ($1, $2, $3, $4) on conflict (stream_id, name) do nothing",
        )
        .bind(&id)
        .bind(&stream.id)
        .bind(name.as_str())
        .bind(now())
        .execute(&mut **self)
        .await?
        .rows_affected();
        if made == 1 {
            self.index_tag(&id).await?;
        }
        let tag = sqlx::query_as(select_tag!("where t.stream_id = $1 and t.name = $2"))
            .bind(&stream.id)
            .bind(name.as_str())
            .fetch_one(&mut **self)
            .await?;
        Ok(tag)
    }

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
        let renews = again || !follows_the_same(&before, spec);
        let source = self.resolve_source(stream, &before, spec).await?;
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
        self.write_spec(stream, &before, spec, source.as_ref(), renews, sequence).await?;
        if let Some(source) = source.filter(|source| renews && !spec.reference_only && source.digest.is_some()) {
            self.take_over(&before, &source, spec, actor, sequence).await?;
        }
        let tag = self.tag_by_id(&before.id).await?;
        Ok(TagSet { created: before.has_spec == 0 || before.deleted_at.is_some(), tag })
    }

    async fn write_spec(
        &mut self,
        stream: &Stream,
        before: &Tag,
        spec: &TagSpec,
        source: Option<&SourceImage>,
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
        let follows =
            source.and_then(|source| source.tag_id.as_deref()).filter(|_| kind == Some(SourceKind::ImageStreamTag));
        sqlx::query(
            "update tags set has_spec = 1, source_kind = $2, source = $3, source_project = $4, follows_tag_id = $5, reference_only = $6, \
             insecure = $7, scheduled = $8, interval_ms = $9, import_mode = $10, reference_policy = $11, annotations = $12, \
             generation = $13, cool_down_ms = $14, deleted_at = null where id = $1",
        )
        .bind(&before.id)
        .bind(kind.map(SourceKind::as_str))
        .bind(from.as_deref())
        .bind(spec.source_project.as_deref())
        .bind(follows)
        .bind(i64::from(spec.reference_only))
        .bind(i64::from(spec.insecure))
        .bind(i64::from(spec.scheduled))
        .bind(spec.interval_ms)
        .bind(&spec.import_mode)
        .bind(&spec.reference_policy)
        .bind(&spec.annotations)
        .bind(if renews { generation } else { before.generation })
        .bind(spec.cool_down_ms)
        .execute(&mut **self)
        .await?;
        let is_other_source = before.source != from || before.source_kind.as_deref() != kind.map(SourceKind::as_str);
        if before.source != from || before.deleted_at.is_some() {
            self.index_tag(&before.id).await?;
        }
        if spec.imports() {
            // What is followed as before is looked at when it is scheduled; what was to be fetched still is.
            sqlx::query(
                "insert into tag_imports (tag_id, next_at, overdue_at) values ($1, $2, $3) on conflict (tag_id) do update \
                 set next_at = case when $4 = 1 then $2 when tag_imports.outcome = 'new' then tag_imports.next_at end, \
                 overdue_at = case when $4 = 1 then $3 when tag_imports.outcome = 'new' then tag_imports.overdue_at end, \
                 budget = null, question = null",
            )
            .bind(&before.id)
            .bind(now())
            .bind(now() + FIRST_CHECK_WITHIN_MS)
            .bind(i64::from(renews || spec.scheduled))
            .execute(&mut **self)
            .await?;
            if is_other_source {
                self.begin_anew(&before.id).await?;
            }
            self.wake(Controller::Imports);
        }
        Ok(())
    }

    /// The image a follow or a pin stands for now; `None` for other kinds. Refuses cycles with their path.
    async fn resolve_source(&mut self, stream: &Stream, tag: &Tag, spec: &TagSpec) -> Result<Option<SourceImage>> {
        let Some((kind, from)) = &spec.source else { return Ok(None) };
        let field = || format!("spec.tags[{}].from.name", tag.name);
        let project = spec.source_project.as_deref().unwrap_or(&stream.project);
        match kind {
            SourceKind::DockerImage => Ok(None),
            SourceKind::ImageStreamTag => {
                let named = SourceName::tag(from).map_err(|error| Error::invalid(field(), error.to_string()))?;
                let SourceName::Tag { stream: named, tag: source_tag } = named else { return Ok(None) };
                let owner = self.stream(project, named.as_ref().map_or(&stream.name, StreamName::as_str)).await?;
                // Following a tag that does not exist yet is allowed: it takes effect when that tag first moves.
                let followed = self.ensure_tag(&owner, &source_tag).await?;
                self.refuse_cycle(tag, &followed, field()).await?;
                Ok(Some(SourceImage {
                    tag_id: Some(followed.id),
                    digest: followed.digest,
                    reference: followed.reference,
                }))
            }
            SourceKind::ImageStreamImage => {
                let named = SourceName::image(from).map_err(|error| Error::invalid(field(), error.to_string()))?;
                let SourceName::Image { stream: named, id } = named else { return Ok(None) };
                let owner = self.stream(project, named.as_ref().map_or(&stream.name, StreamName::as_str)).await?;
                let Some(digest) = self.find_stream_digest(&owner.id, &id).await? else {
                    let message = format!(
                        "error generating tag event: image {id} is not in the history of {}",
                        owner.repository()
                    );
                    return Err(Error::invalid(field(), message));
                };
                let reference = Some(format!("{}@{digest}", owner.repository()));
                Ok(Some(SourceImage { tag_id: None, digest: Some(digest), reference }))
            }
        }
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
            next = match &current.follows_tag_id {
                Some(id) => Some(self.tag_by_id(id).await?),
                None => None,
            };
        }
        Ok(())
    }

    /// A follow or a pin takes its source's image at once. It is a person's move, so holds do not stop it.
    async fn take_over(
        &mut self,
        tag: &Tag,
        source: &SourceImage,
        spec: &TagSpec,
        actor: &Actor,
        cause: i64,
    ) -> Result<()> {
        let Some(digest) = &source.digest else { return Ok(()) };
        let local = format!("{}/{}@{digest}", tag.project, tag.stream);
        let reference = source.reference.clone().filter(|_| spec.reference_only).unwrap_or(local);
        let tag = self.tag_by_id(&tag.id).await?;
        let movement = Move { cause: Some(cause), ..Move::new(EventKind::Api, digest, &reference, actor) };
        match self.move_tag(&tag, &movement).await?.outcome {
            Outcome::Immutable => Err(refusal(&tag.title(), Outcome::Immutable)),
            _ => Ok(()),
        }
    }

    pub(super) async fn delete_tag(&mut self, tag: &Tag, actor: &Actor) -> Result<()> {
        if is_immutable(tag)? {
            return Err(Error::Conflict(format!(
                "{} is immutable: only a project admin may delete it, in the console or by REST",
                tag.title()
            )));
        }
        self.delete_unused(tag, actor).await
    }

    async fn delete_unused(&mut self, tag: &Tag, actor: &Actor) -> Result<()> {
        let user: Option<(String,)> = sqlx::query_as(
            "select 'build config ' || name from build_configs where output_tag_id = $1 \
             union all select 'app ' || name from apps where tag_id = $1 and deleted_at is null limit 1",
        )
        .bind(&tag.id)
        .fetch_optional(&mut **self)
        .await?;
        if let Some((user,)) = user {
            return Err(Error::Conflict(format!("the {user} uses {}: delete or change it first", tag.title())));
        }
        self.record_deletion(tag, actor).await
    }
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

struct SourceImage {
    tag_id: Option<String>,
    digest: Option<String>,
    reference: Option<String>,
}
