//! The catalog as it was at a moment: streams and tags that were there then, and where they pointed. Apps are in `as_of/apps.rs`, images and
//! histories beside it, and `as_of/ended.rs` keeps what is about to be deleted; `as_of/older.rs` puts right what an older server wrote.
//!
//! The rule is that of `past.rs`: of a tag's rows from before the moment, the one that came last counts. A stream that was deleted since
//! has left its tags and their rows in tables of its own (`ended_…`), which are read the same way.

mod apps;
mod catalog;
mod ended;
mod histories;
mod holds;
mod images;
mod older;

use super::catalog::contains;
use super::{Error, Result, Store};
use crate::model::{ActorKind, EventKind, LAST_KEY, Moment, TagSort, natural_key, version_key};

pub use apps::AppThen;
pub use catalog::{COUNT_TO_THEN, CatalogThen};
pub use histories::DeletedThen;
pub use holds::HoldThen;

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

impl StreamThen {
    /// It was not deleted since.
    pub fn is_there(&self) -> bool {
        self.deleted_at.is_none()
    }
}

/// A tag that pointed to an image at a moment, and the row of its history that says so.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct TagThen {
    pub id: String,
    pub name: String,
    pub sequence: i64,
    pub number: i64,
    pub digest: String,
    /// Where its image was pulled from when it came.
    pub reference: Option<String>,
    /// Where it was found since, by the newest row of the ledger that says so, and when. See [`TagThen::refers_to`].
    pub referred: Option<String>,
    pub referred_at: Option<i64>,
    /// `None` when it was raised since: the one before is not kept.
    pub generation: Option<i64>,
    #[sqlx(try_from = "String")]
    pub kind: EventKind,
    #[sqlx(try_from = "String")]
    pub actor_kind: ActorKind,
    pub actor: String,
    pub reason: Option<String>,
    pub at: i64,
    /// Of the image, when the repository has it still.
    pub size: Option<i64>,
    pub os: Option<String>,
    pub architecture: Option<String>,
    /// Who held it then.
    pub held_by: Option<String>,
    /// Where it points now, if anywhere.
    pub digest_now: Option<String>,
}

impl TagThen {
    /// The image elsewhere that it only named, as the tags did that it followed. Of a tag that was to name one itself that is not kept.
    pub fn refers_to(&self) -> Option<&str> {
        // Where an image is pulled from ends in its digest.
        self.referred.as_deref().filter(|name| !name.ends_with(&self.digest))
    }

    /// Where its image was pulled from.
    pub fn reference(&self) -> Option<&str> {
        self.referred.as_deref().filter(|_| self.refers_to().is_none()).or(self.reference.as_deref())
    }

    /// Where it stands in an order: what the page after it begins beyond.
    pub fn place_in(&self, sort: TagSort) -> String {
        if sort == TagSort::Semver { version_key(&self.name) } else { natural_key(&self.name) }
    }
}

/// The newest row of the ledger, `l`, that says where tag `t` was pulled from or what it only named, from after its row `e` and before a
/// moment. See [`TagThen::refers_to`].
macro_rules! join_referred {
    ($project:literal, $stream:literal, $end:literal) => {
        concat!(
            "left join ledger l on l.sequence = (select x.sequence from ledger x where x.action = 'tag.refer' and x.project = ",
            $project,
            " and x.object = ",
            $stream,
            " || ':' || t.name and x.sequence > e.sequence and x.sorted_at < ",
            $end,
            " order by x.sequence desc limit 1) "
        )
    };
}
pub(super) use join_referred;

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

/// Tags of stream $1 that pointed somewhere at moment $2, and `$rest`. The first argument says whether the stream is there (`live`) or was
/// deleted since (`ended`).
macro_rules! tags_then {
    (live, $($rest:literal),+) => {
        tags_then!("streams", "tags", "tag_events", "holds h where h.tag_id", "t.digest", $($rest),+)
    };
    (ended, $($rest:literal),+) => {
        tags_then!("ended_streams", "ended_tags", "ended_tag_events", "ended_holds h where h.owner_id", "cast(null as text)", $($rest),+)
    };
    ($streams:literal, $tags:literal, $events:literal, $holds:literal, $now:literal, $($rest:literal),+) => {
        concat!(
            "select t.id, t.name, e.sequence, e.number, e.digest, e.reference, l.to_value as referred, l.at as referred_at, \
             case when e.renewed_at >= $2 then cast(null as bigint) else e.generation end as generation, e.kind, e.actor_kind, e.actor, e.reason, \
             e.at, i.size, i.os, i.architecture, (select h.actor from ", $holds, " = t.id and h.since < $2 \
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
             cross join (select p.name as project, s.name as stream from ", $streams, " s join projects p on p.id = s.project_id \
               where s.id = $1) w ",
            join_referred!("w.project", "w.stream", "$2"),
            "left join repository_images r on r.stream_id = t.stream_id and r.digest = e.digest left join images i on i.digest = r.digest \
             where t.stream_id = $1 and e.outcome = 'moved' and ",
            $($rest),+
        )
    };
}

/// [`tags_then`] by name beyond $3, or from it on where $5 is 1.
macro_rules! named_tags_then {
    ($kept:tt) => {
        tags_then!($kept, "t.name >= $3 and (t.name > $3 or $5 = 1) order by t.name limit $4")
    };
}

/// [`tags_then`] in an order, with names that $5 fits.
macro_rules! sorted_tags_then {
    ($kept:tt, $beyond:literal, $order:literal) => {
        tags_then!(
            $kept,
            $beyond,
            " and ($5 = '%%' or lower(t.name) like $5 escape '!') order by ",
            $order,
            " limit $4"
        )
    };
}

/// Repositories of the streams of one kind that there were at moment $5.
macro_rules! repositories_then {
    ($streams:literal, $there:literal) => {
        concat!(
            "select p.name || '/' || s.name as name from ",
            $streams,
            " s join projects p on p.id = s.project_id where s.created_at < $5",
            $there,
            " and ($1 = '' or exists (select 1 from role_bindings b where b.project_id = p.id and b.user_id = $1)) \
             and ($2 = '' or p.name = $2) and p.name || '/' || s.name > $3 collate \"binary\" \
             order by (p.name || '/' || s.name) collate \"binary\" limit $4"
        )
    };
}

/// Names of the tags of stream $1 that pointed somewhere at moment $2, beyond $3 in the order of their bytes. Those that only named an image
/// elsewhere are none of them: where an image is pulled from ends in its digest.
macro_rules! names_then {
    ($streams:literal, $tags:literal, $events:literal) => {
        concat!(
            "select t.name from ",
            $tags,
            " t join ",
            $events,
            " e on e.sequence = (select m.sequence from ",
            $events,
            " m where m.tag_id = t.id and m.sorted_at < $2 and m.outcome in ('moved', 'deleted') \
               order by m.sorted_at desc, m.number desc limit 1) \
             cross join (select p.name as project, s.name as stream from ",
            $streams,
            " s join projects p on p.id = s.project_id where s.id = $1) w ",
            join_referred!("w.project", "w.stream", "$2"),
            "where t.stream_id = $1 and t.name > $3 collate \"binary\" and e.outcome = 'moved' \
             and (l.to_value is null or l.to_value like '%' || e.digest) order by t.name collate \"binary\" limit $4"
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
        let text = if stream.is_there() { named_tags_then!(live) } else { named_tags_then!(ended) };
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

    /// A page of the tags that pointed to an image at a moment and whose name contains `text`, by name or by version, beyond `after`, a
    /// [`TagThen::place_in`]. The past has no other order: each would have to look at all of the stream's tags for each page.
    pub async fn list_sorted_tags_then(
        &self,
        stream: &StreamThen,
        moment: &Moment,
        sort: TagSort,
        text: &str,
        after: &str,
        limit: i64,
    ) -> Result<Vec<TagThen>> {
        let by_version = sort == TagSort::Semver;
        let page = match (stream.is_there(), by_version) {
            (true, false) => sorted_tags_then!(live, "t.name_key > $3", "t.name_key"),
            (false, false) => sorted_tags_then!(ended, "t.name_key > $3", "t.name_key"),
            (true, true) => sorted_tags_then!(live, "t.version_key < $3", "t.version_key desc"),
            (false, true) => sorted_tags_then!(ended, "t.version_key < $3", "t.version_key desc"),
        };
        let tags = sqlx::query_as(page)
            .bind(&stream.id)
            .bind(moment.end)
            .bind(if after.is_empty() && by_version { LAST_KEY } else { after })
            .bind(limit)
            .bind(contains(text))
            .fetch_all(self.pool())
            .await?;
        Ok(tags)
    }

    /// Names of the tags that pointed to an image at a moment and could be pulled, after `last`, in byte order.
    pub async fn list_tag_names_then(
        &self,
        stream: &StreamThen,
        moment: &Moment,
        last: &str,
        limit: i64,
    ) -> Result<Vec<String>> {
        let text = if stream.is_there() {
            names_then!("streams", "tags", "tag_events")
        } else {
            names_then!("ended_streams", "ended_tags", "ended_tag_events")
        };
        let names: Vec<(String,)> = sqlx::query_as(text)
            .bind(&stream.id)
            .bind(moment.end)
            .bind(last)
            .bind(limit)
            .fetch_all(self.pool())
            .await?;
        Ok(names.into_iter().map(|(name,)| name).collect())
    }

    /// Names of the repositories that there were at a moment, after `last`, in byte order; whose they are, see [`Store::list_repositories`].
    pub async fn list_repositories_then(
        &self,
        moment: &Moment,
        user_id: Option<&str>,
        project: Option<&str>,
        last: &str,
        limit: i64,
    ) -> Result<Vec<String>> {
        let names: Vec<(String,)> = sqlx::query_as(concat!(
            "select b.name from (select * from (",
            repositories_then!("streams", ""),
            ") l union select * from (",
            repositories_then!("ended_streams", " and s.deleted_at >= $5"),
            ") d) b order by b.name collate \"binary\" limit $4"
        ))
        .bind(user_id.unwrap_or_default())
        .bind(project.unwrap_or_default())
        .bind(last)
        .bind(limit)
        .bind(moment.end)
        .fetch_all(self.pool())
        .await?;
        Ok(names.into_iter().map(|(name,)| name).collect())
    }
}

#[cfg(test)]
mod tests;
