//! Histories as they were at a moment, those of deleted streams too.
//!
//! A tag's history ends with the last of its rows from before the moment. That of a whole stream, in which the rows of many tags stand in
//! the order in which they happened, ends with the last row that the ledger had.

use std::collections::HashMap;

use super::{StreamThen, TagThen};
use crate::model::{ActorKind, Moment, TagEvent};
use crate::server::store::bulk::{ShownMove, was_shown};
use crate::server::store::tags::select_event;
use crate::server::store::{Result, Store};

/// A tag that was deleted at a moment.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct DeletedThen {
    pub id: String,
    pub name: String,
    /// What it had pointed to.
    pub digest: Option<String>,
    pub at: i64,
    #[sqlx(try_from = "String")]
    pub actor_kind: ActorKind,
    pub actor: String,
    /// Where it points now, if anywhere.
    pub digest_now: Option<String>,
}

/// [`select_event`] with the names of builds that were there at moment $2, also of those deleted since.
macro_rules! select_event_then {
    ($rest:literal) => {
        select_event!(
            "case when b.id is null then x.config || '-' || cast(x.number as text) else c.name || '-' || cast(b.number as text) end",
            "left join ended_builds x on x.id = e.build_id and x.deleted_at >= $2 ",
            $rest
        )
    };
}

/// [`select_event_then`] of deleted streams. What is known of images is told with the repository that has them, and this one is gone.
macro_rules! select_ended_event {
    ($rest:literal) => {
        concat!(
            "select e.sequence, e.number, e.tag_id, p.name as project, s.name as stream, t.name as tag, e.outcome, e.digest, e.reference, \
             e.from_digest, e.generation, e.kind, e.actor_kind, e.actor, e.reason, e.cause, e.cascade_id, k.number as cascade_number, \
             e.build_id, \
             case when b.id is null then x.config || '-' || cast(x.number as text) else c.name || '-' || cast(b.number as text) end as build, \
             e.to_sequence, g.number as to_number, cast(null as bigint) as size, cast(null as text) as artifact_type, 0 as from_known, \
             cast(null as text) as from_artifact_type, e.at, e.repeats, e.repeated_at, e.request_id, cast(null as text) as problem \
             from ended_tag_events e join ended_tags t on t.id = e.tag_id join ended_streams s on s.id = t.stream_id \
             join projects p on p.id = s.project_id \
             left join cascades k on k.id = e.cascade_id and k.project_id = s.project_id left join builds b on b.id = e.build_id \
             left join build_configs c on c.id = b.config_id left join ended_tag_events g on g.sequence = e.to_sequence \
             left join ended_builds x on x.id = e.build_id and x.deleted_at >= $2 ",
            $rest
        )
    };
}

/// The newest moves of the tags of stream $1 from name $2 to $3, as they were at moment $4.
macro_rules! moves_then {
    ($tags:literal, $events:literal) => {
        concat!(
            "select e.tag_id, e.digest, e.reference, case when e.renewed_at >= $4 then cast(null as bigint) else e.generation end as generation, \
             e.at from ",
            $tags,
            " t join ",
            $events,
            " n on n.sequence = (select m.sequence from ",
            $events,
            " m where m.tag_id = t.id and m.sorted_at < $4 and m.outcome in ('moved', 'deleted') order by m.sorted_at desc, m.number desc limit 1) \
             join ",
            $events,
            " e on e.tag_id = t.id where t.stream_id = $1 and t.name >= $2 and t.name <= $3 and n.outcome = 'moved' and ",
            was_shown!($events),
            " order by e.tag_id, e.number desc"
        )
    };
}

/// Tags of stream $1 that were deleted at moment $2, by name beyond $3. Only tags that ever were deleted are looked at.
macro_rules! deleted_then {
    ($tags:literal, $events:literal, $now:literal) => {
        concat!(
            "select t.id, t.name, e.from_digest as digest, e.at, e.actor_kind, e.actor, ",
            $now,
            " as digest_now from (select distinct x.tag_id from ",
            $events,
            " x where x.stream_id = $1 and x.outcome = 'deleted') gone join ",
            $tags,
            " t on t.id = gone.tag_id join ",
            $events,
            " e on e.sequence = (select m.sequence from ",
            $events,
            " m where m.tag_id = t.id and m.sorted_at < $2 and m.outcome in ('moved', 'deleted') order by m.sorted_at desc, m.number desc limit 1) \
             where e.outcome = 'deleted' and t.name > $3 order by t.name limit $4"
        )
    };
}

impl Store {
    /// The tag of that name of a stream that was there at a moment, deleted or not; `None` when the stream never had one.
    pub async fn find_tag_id_then(&self, stream: &StreamThen, name: &str) -> Result<Option<String>> {
        let text = match stream.is_there() {
            true => "select id from tags where stream_id = $1 and name = $2",
            false => "select id from ended_tags where stream_id = $1 and name = $2",
        };
        let id: Option<(String,)> =
            sqlx::query_as(text).bind(&stream.id).bind(name).fetch_optional(self.pool()).await?;
        Ok(id.map(|(id,)| id))
    }

    /// The number of a row of a tag's history; `None` when it is of another one.
    pub async fn find_number_then(&self, stream: &StreamThen, tag_id: &str, sequence: i64) -> Result<Option<i64>> {
        let text = match stream.is_there() {
            true => "select number from tag_events where sequence = $1 and tag_id = $2",
            false => "select number from ended_tag_events where sequence = $1 and tag_id = $2",
        };
        let number: Option<(i64,)> =
            sqlx::query_as(text).bind(sequence).bind(tag_id).fetch_optional(self.pool()).await?;
        Ok(number.map(|(number,)| number))
    }

    /// A page of the history that a tag had at a moment, newest first, with a number below `before`.
    pub async fn list_history_then(
        &self,
        stream: &StreamThen,
        tag_id: &str,
        moment: &Moment,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<TagEvent>> {
        let newest = match stream.is_there() {
            true => {
                "select number from tag_events where tag_id = $1 and sorted_at < $2 order by sorted_at desc, number desc limit 1"
            }
            false => {
                "select number from ended_tag_events where tag_id = $1 and sorted_at < $2 order by sorted_at desc, number desc limit 1"
            }
        };
        let newest: Option<(i64,)> =
            sqlx::query_as(newest).bind(tag_id).bind(moment.end).fetch_optional(self.pool()).await?;
        let Some((newest,)) = newest else { return Ok(Vec::new()) };
        let text = match stream.is_there() {
            true => select_event_then!("where e.tag_id = $1 and e.number < $3 order by e.number desc limit $4"),
            false => select_ended_event!("where e.tag_id = $1 and e.number < $3 order by e.number desc limit $4"),
        };
        let events: Vec<TagEvent> = sqlx::query_as(text)
            .bind(tag_id)
            .bind(moment.end)
            .bind(before.map_or(newest + 1, |before| before.min(newest + 1)))
            .bind(limit)
            .fetch_all(self.pool())
            .await?;
        Ok(events.into_iter().map(|event| event.then(moment)).collect())
    }

    /// A page of the histories of all tags that a stream had at a moment, newest first, with a sequence below `before`.
    pub async fn list_stream_history_then(
        &self,
        stream: &StreamThen,
        moment: &Moment,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<TagEvent>> {
        let end = self.ledger_end_then(moment).await?;
        let text = match stream.is_there() {
            true => {
                select_event_then!("where e.stream_id = $1 and e.sequence < $3 order by e.sequence desc limit $4")
            }
            false => {
                select_ended_event!("where e.stream_id = $1 and e.sequence < $3 order by e.sequence desc limit $4")
            }
        };
        let events: Vec<TagEvent> = sqlx::query_as(text)
            .bind(&stream.id)
            .bind(moment.end)
            .bind(before.map_or(end, |before| before.min(end)))
            .bind(limit)
            .fetch_all(self.pool())
            .await?;
        Ok(events.into_iter().map(|event| event.then(moment)).collect())
    }

    /// History rows that belong to a cascade and are of streams that were deleted since, oldest first.
    pub(in crate::server::store) async fn list_ended_cascade_events(
        &self,
        cascade_id: &str,
        moment: &Moment,
    ) -> Result<Vec<TagEvent>> {
        let events = sqlx::query_as(select_ended_event!("where e.cascade_id = $1 order by e.sequence limit 1000"))
            .bind(cascade_id)
            .bind(moment.end)
            .fetch_all(self.pool())
            .await?;
        Ok(events)
    }

    /// What tags had pointed to by a moment, newest first, by the tags' ids: as many rows back as the view of a whole stream shows. `tags`
    /// are of that stream, by name.
    pub async fn moves_then(
        &self,
        stream: &StreamThen,
        moment: &Moment,
        tags: &[TagThen],
    ) -> Result<HashMap<String, Vec<ShownMove>>> {
        let (Some(first), Some(last)) = (tags.first(), tags.last()) else { return Ok(HashMap::new()) };
        let text = match stream.is_there() {
            true => moves_then!("tags", "tag_events"),
            false => moves_then!("ended_tags", "ended_tag_events"),
        };
        let rows: Vec<ShownMove> = sqlx::query_as(text)
            .bind(&stream.id)
            .bind(&first.name)
            .bind(&last.name)
            .bind(moment.end)
            .fetch_all(self.pool())
            .await?;
        let mut moves: HashMap<String, Vec<ShownMove>> = HashMap::new();
        for row in rows {
            moves.entry(row.tag_id.clone()).or_default().push(row);
        }
        Ok(moves)
    }

    /// A page of the tags of a stream that were deleted at a moment, by name beyond `after`.
    pub async fn list_deleted_tags_then(
        &self,
        stream: &StreamThen,
        moment: &Moment,
        after: &str,
        limit: i64,
    ) -> Result<Vec<DeletedThen>> {
        let text = match stream.is_there() {
            true => deleted_then!("tags", "tag_events", "t.digest"),
            false => deleted_then!("ended_tags", "ended_tag_events", "cast(null as text)"),
        };
        let tags = sqlx::query_as(text)
            .bind(&stream.id)
            .bind(moment.end)
            .bind(after)
            .bind(limit)
            .fetch_all(self.pool())
            .await?;
        Ok(tags)
    }
}
