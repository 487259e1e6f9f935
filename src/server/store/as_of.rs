//! The catalog as it was at a moment: streams, tags and apps that were there then, and where they pointed.
//!
//! The rule is that of `past.rs`: of a tag's rows from before the moment, the one that came last counts. A stream that was deleted since
//! has left its tags and their rows in tables of its own (`ended_…`), which are read the same way.

use super::{Error, Result, Store, WriteTx};
use crate::model::{Actor, ActorKind, EventKind, Moment, Stream, now};

/// A stream that was there at a moment.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct StreamThen {
    pub id: String,
    pub name: String,
    pub description: String,
    pub created_at: i64,
    pub created_by: String,
    /// Since then it was deleted.
    pub deleted_at: Option<i64>,
    pub deleted_by: Option<String>,
}

/// A tag that pointed to an image at a moment, and the row of its history that says so.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct TagThen {
    pub id: String,
    pub name: String,
    pub sequence: i64,
    pub number: i64,
    pub digest: String,
    pub reference: Option<String>,
    pub generation: i64,
    #[sqlx(try_from = "String")]
    pub kind: EventKind,
    #[sqlx(try_from = "String")]
    pub actor_kind: ActorKind,
    pub actor: String,
    pub reason: Option<String>,
    pub at: i64,
    /// Of the image, when it is still known here.
    pub size: Option<i64>,
    pub os: Option<String>,
    pub architecture: Option<String>,
    /// Who held it then.
    pub held_by: Option<String>,
    /// Where it points now, if anywhere.
    pub digest_now: Option<String>,
}

/// An app that was there at a moment, and its newest rollout then.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct AppThen {
    pub id: String,
    pub name: String,
    pub created_at: i64,
    pub number: Option<i64>,
    pub digest: Option<String>,
    pub repository: Option<String>,
    pub kind: Option<String>,
    pub actor_kind: Option<String>,
    pub actor: Option<String>,
    pub reason: Option<String>,
    pub began_at: Option<i64>,
    /// How the rollout had ended by then, if it had.
    pub ended: Option<String>,
    /// The app's newest rollout now.
    pub digest_now: Option<String>,
    pub held_by: Option<String>,
}

/// Streams of project $1 that were there at moment $2, those of `$rest`.
macro_rules! streams_then {
    ($rest:literal) => {
        concat!(
            "select b.id, b.name, coalesce((select f.description from former_descriptions f where f.stream_id = b.id and f.until >= $2 \
               order by f.until limit 1), b.description) as description, b.created_at, b.created_by, b.deleted_at, b.deleted_by \
             from (select * from (select s.id, s.name, s.description, s.created_at, s.created_by, cast(null as bigint) as deleted_at, \
             cast(null as text) as deleted_by from streams s where s.project_id = $1 and s.created_at < $2 and s.name ",
            $rest,
            ") a union all select * from (select s.id, s.name, s.description, s.created_at, s.created_by, s.deleted_at, s.deleted_by \
             from ended_streams s where s.project_id = $1 and s.created_at < $2 and s.deleted_at >= $2 and s.name ",
            $rest,
            ") c) b order by b.name limit $4"
        )
    };
}

/// Tags of stream $1 that pointed somewhere at moment $2, by name beyond $3, or from it on where $5 is 1.
macro_rules! tags_then {
    ($tags:literal, $events:literal, $now:literal) => {
        concat!(
            "select t.id, t.name, e.sequence, e.number, e.digest, e.reference, e.generation, e.kind, e.actor_kind, e.actor, e.reason, \
             e.at, i.size, i.os, i.architecture, (select h.actor from holds h where h.tag_id = t.id and h.since < $2 \
               and (h.ended_at is null or h.ended_at >= $2) limit 1) as held_by, ",
            $now,
            " as digest_now from ",
            $tags,
            " t join ",
            $events,
            " e on e.sequence = (select m.sequence from ",
            $events,
            " m where m.tag_id = t.id and m.sorted_at < $2 and m.outcome in ('moved', 'deleted') \
               order by m.sorted_at desc, m.number desc limit 1) \
             left join images i on i.digest = e.digest where t.stream_id = $1 and t.name >= $3 and (t.name > $3 or $5 = 1) \
             and e.outcome = 'moved' order by t.name limit $4"
        )
    };
}

/// Apps of project $1 that were there at moment $2 and are still, those of `$rest`, by name.
macro_rules! apps_then {
    ($rest:literal) => {
        concat!(
            "select a.id, a.name, a.created_at, r.number, r.digest, r.repository, r.kind, r.actor_kind, r.actor, r.reason, \
             r.created_at as began_at, case when r.finished_at < $2 then r.phase else null end as ended, n.digest as digest_now, \
             (select h.actor from holds h where h.app_id = a.id and h.since < $2 and (h.ended_at is null or h.ended_at >= $2) limit 1) \
               as held_by \
             from apps a left join rollouts r on r.app_id = a.id and r.number = (select m.number from rollouts m where m.app_id = a.id \
               and m.created_at < $2 order by m.number desc limit 1) \
             left join rollouts n on n.app_id = a.id and n.number = a.last_number \
             where a.project_id = $1 and a.created_at < $2 and a.deleted_at is null and ",
            $rest,
            " order by a.name limit $4"
        )
    };
}

impl Store {
    /// A page of the streams that a project had at a moment, by name beyond `after`; those deleted since, too.
    pub async fn list_streams_then(
        &self,
        project_id: &str,
        moment: &Moment,
        after: &str,
        limit: i64,
    ) -> Result<Vec<StreamThen>> {
        let streams = sqlx::query_as(streams_then!("> $3 order by s.name limit $4"))
            .bind(project_id)
            .bind(moment.end)
            .bind(after)
            .bind(limit)
            .fetch_all(self.pool())
            .await?;
        Ok(streams)
    }

    /// The stream of that name which a project had at a moment.
    pub async fn stream_then(&self, project_id: &str, name: &str, moment: &Moment) -> Result<StreamThen> {
        let stream: Option<StreamThen> = sqlx::query_as(streams_then!("= $3 limit $4"))
            .bind(project_id)
            .bind(moment.end)
            .bind(name)
            .bind(1_i64)
            .fetch_optional(self.pool())
            .await?;
        stream.ok_or_else(|| Error::not_found("imagestreams", format!("{name} at {}", moment.words)))
    }

    /// A page of the tags that pointed to an image at a moment, by name beyond `after`; those deleted since, too.
    pub async fn list_tags_then(
        &self,
        stream: &StreamThen,
        moment: &Moment,
        after: &str,
        limit: i64,
    ) -> Result<Vec<TagThen>> {
        self.tags_then(stream, moment, after, limit, false).await
    }

    /// The tag of that name as it was at a moment; `None` when it pointed nowhere.
    pub async fn find_tag_then(&self, stream: &StreamThen, name: &str, moment: &Moment) -> Result<Option<TagThen>> {
        let tags = self.tags_then(stream, moment, name, 1, true).await?;
        Ok(tags.into_iter().find(|tag| tag.name == name))
    }

    async fn tags_then(
        &self,
        stream: &StreamThen,
        moment: &Moment,
        from: &str,
        limit: i64,
        inclusive: bool,
    ) -> Result<Vec<TagThen>> {
        let text = if stream.deleted_at.is_none() {
            tags_then!("tags", "tag_events", "t.digest")
        } else {
            tags_then!("ended_tags", "ended_tag_events", "cast(null as text)")
        };
        let tags = sqlx::query_as(text)
            .bind(&stream.id)
            .bind(moment.end)
            .bind(from)
            .bind(limit)
            .bind(i64::from(inclusive))
            .fetch_all(self.pool())
            .await?;
        Ok(tags)
    }

    /// The number of the first row that a tag's history did not have yet at a moment: what lists of it go back from.
    pub async fn history_end_then(&self, tag_id: &str, moment: &Moment) -> Result<i64> {
        let newest: Option<(i64,)> =
            sqlx::query_as("select number from tag_events where tag_id = $1 and sorted_at < $2 order by sorted_at desc, number desc limit 1")
                .bind(tag_id)
                .bind(moment.end)
                .fetch_optional(self.pool())
                .await?;
        Ok(newest.map_or(1, |(number,)| number + 1))
    }

    /// A page of the apps that a project has and had at a moment, by name beyond `after`.
    pub async fn list_apps_then(
        &self,
        project_id: &str,
        moment: &Moment,
        after: &str,
        limit: i64,
    ) -> Result<Vec<AppThen>> {
        let apps = sqlx::query_as(apps_then!("a.name > $3"))
            .bind(project_id)
            .bind(moment.end)
            .bind(after)
            .bind(limit)
            .fetch_all(self.pool())
            .await?;
        Ok(apps)
    }

    /// The app of that name as it was at a moment; `None` when it was not there, or is not any more.
    pub async fn find_app_then(&self, project_id: &str, name: &str, moment: &Moment) -> Result<Option<AppThen>> {
        let app = sqlx::query_as(apps_then!("a.name = $3"))
            .bind(project_id)
            .bind(moment.end)
            .bind(name)
            .bind(1_i64)
            .fetch_optional(self.pool())
            .await?;
        Ok(app)
    }
}

impl WriteTx {
    /// Keeps the description of a stream, which is about to get another one.
    pub(super) async fn keep_description(&mut self, stream: &Stream) -> Result<()> {
        sqlx::query(
            "insert into former_descriptions (stream_id, project_id, until, description) values ($1, $2, $3, $4)",
        )
        .bind(&stream.id)
        .bind(&stream.project_id)
        .bind(now())
        .bind(&stream.description)
        .execute(&mut **self)
        .await?;
        Ok(())
    }

    /// Keeps what the past has to know of a stream that is about to be deleted.
    pub(super) async fn keep_past(&mut self, stream: &Stream, actor: &Actor) -> Result<()> {
        sqlx::query(
            "insert into ended_streams (id, project_id, name, description, created_at, created_by, deleted_at, deleted_by) \
             select id, project_id, name, description, created_at, created_by, $2, $3 from streams where id = $1",
        )
        .bind(&stream.id)
        .bind(now())
        .bind(&actor.name)
        .execute(&mut **self)
        .await?;
        for statement in [
            "insert into ended_tags (id, stream_id, name) select id, stream_id, name from tags where stream_id = $1",
            "insert into ended_tag_events (sequence, tag_id, number, outcome, digest, reference, generation, kind, actor_kind, actor, \
             reason, at, sorted_at) select e.sequence, e.tag_id, e.number, e.outcome, e.digest, e.reference, e.generation, e.kind, e.actor_kind, \
             e.actor, e.reason, e.at, e.sorted_at from tag_events e join tags t on t.id = e.tag_id \
             where t.stream_id = $1 and e.outcome in ('moved', 'deleted')",
        ] {
            sqlx::query(statement).bind(&stream.id).execute(&mut **self).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
