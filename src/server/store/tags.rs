//! Tags and their histories, and how tags go. What they should be is in `tag_specs`, how they move in `moves`.

use super::{Error, Result, Store, WriteTx, new_id};
use crate::model::{Actor, Hold, Stream, Tag, TagEvent, TagName, natural_key, now, version_key};
use crate::server::store::tag_rules::is_immutable;

macro_rules! select_tag {
    ($rest:literal) => {
        concat!(
            "select t.id, t.stream_id, s.project_id, p.name as project, s.name as stream, t.name, t.has_spec, t.source_kind, t.source, \
             t.source_project, t.follows_tag_id, t.pinned_stream_id, t.reference_only, t.insecure, t.scheduled, t.interval_ms, t.cool_down_ms, \
             t.import_mode, t.reference_policy, t.annotations, t.generation, t.digest, t.reference, t.refers_to, t.refers_at, \
             t.event_sequence, t.event_number, t.moved_at, \
             t.created_at, t.deleted_at, s.immutable_tags, s.kind_changes \
             from tags t join streams s on s.id = t.stream_id join projects p on p.id = s.project_id ",
            $rest
        )
    };
}
pub(super) use select_tag;

// A cascade goes on into other projects, and its number counts those of the one that it began in: only there it is told.
macro_rules! select_event {
    ($rest:literal) => {
        select_event!("case when b.id is null then null else c.name || '-' || cast(b.number as text) end", "", $rest)
    };
    ($build:literal, $more:literal, $rest:literal) => {
        concat!(
            "select e.sequence, e.number, e.tag_id, p.name as project, s.name as stream, t.name as tag, e.outcome, e.digest, e.reference, \
             e.from_digest, e.generation, e.kind, e.actor_kind, e.actor, e.reason, e.cause, e.cascade_id, k.number as cascade_number, \
             e.build_id, ",
            $build,
            " as build, e.to_sequence, \
             g.number as to_number, i.size, i.artifact_type, case when f.digest is null then 0 else 1 end as from_known, \
             f.artifact_type as from_artifact_type, e.at, e.repeats, e.repeated_at, e.request_id, q.problem \
             from tag_events e join tags t on t.id = e.tag_id join streams s on s.id = t.stream_id \
             join projects p on p.id = s.project_id \
             left join cascades k on k.id = e.cascade_id and k.project_id = s.project_id left join builds b on b.id = e.build_id \
             left join build_configs c on c.id = b.config_id left join tag_events g on g.sequence = e.to_sequence \
             left join images i on i.digest = e.digest left join images f on f.digest = e.from_digest \
             left join image_proofs q on q.digest = e.digest ",
            $more,
            $rest
        )
    };
}
pub(super) use select_event;

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
            "where e.stream_id = $1 and e.sequence < $2 order by e.sequence desc limit $3"
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

    /// As [`Store::list_cascade_events`], those of the cascade's own project alone.
    pub async fn list_own_cascade_events(&self, cascade_id: &str) -> Result<Vec<TagEvent>> {
        let events = sqlx::query_as(select_event!(
            "where e.cascade_id = $1 and k.id is not null order by e.sequence limit 1000"
        ))
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

    pub(super) async fn find_live_tag(&mut self, project: &str, stream: &str, name: &str) -> Result<Option<Tag>> {
        let tag =
            sqlx::query_as(select_tag!("where p.name = $1 and s.name = $2 and t.name = $3 and t.deleted_at is null"))
                .bind(project)
                .bind(stream)
                .bind(name)
                .fetch_optional(&mut **self)
                .await?;
        Ok(tag)
    }

    pub(super) async fn live_tag(&mut self, project: &str, stream: &str, name: &str) -> Result<Tag> {
        let tag = self.find_live_tag(project, stream, name).await?;
        tag.ok_or_else(|| Error::not_found("imagestreamtags", format!("{stream}:{name}")))
    }

    /// The tag's row, made if there is none. A deleted tag stays deleted until it moves or gets a spec.
    pub(super) async fn ensure_tag(&mut self, stream: &Stream, name: &TagName) -> Result<Tag> {
        let id = new_id();
        let made = sqlx::query(
            "insert into tags (id, stream_id, name, created_at, name_key, version_key) values ($1, $2, $3, $4, $5, $6) \
             on conflict (stream_id, name) do nothing",
        )
        .bind(&id)
        .bind(&stream.id)
        .bind(name.as_str())
        .bind(now())
        .bind(natural_key(name.as_str()))
        .bind(version_key(name.as_str()))
        .execute(&mut **self)
        .await?
        .rows_affected();
        if made == 1 {
            self.index_tag(&id).await?;
            self.follow_again(stream, name, &id).await?;
        }
        let tag = sqlx::query_as(select_tag!("where t.stream_id = $1 and t.name = $2"))
            .bind(&stream.id)
            .bind(name.as_str())
            .fetch_one(&mut **self)
            .await?;
        Ok(tag)
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
