//! The console's catalog as it was at a moment: the streams that there were, how many tags each had and which moved last.

use super::StreamThen;
use crate::model::Moment;
use crate::server::store::catalog::{contains, digest_range};
use crate::server::store::{Result, Store};

/// How many tags of a stream are looked at to count those that pointed somewhere: each is a look in an index, for each row of the page.
pub const COUNT_TO_THEN: i64 = 200;
/// How many of a stream's last moves are looked at for one of a tag that was not deleted after it.
const LAST_MOVES: i64 = 50;

/// A stream of then as the catalog lists it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct CatalogThen {
    #[sqlx(flatten)]
    pub stream: StreamThen,
    /// Tags that pointed to an image, of those that were looked at.
    pub tags: i64,
    /// How many were looked at: [`COUNT_TO_THEN`] at most.
    pub looked_at: i64,
    /// The tag that had moved last, and to what.
    pub newest_tag: Option<String>,
    pub digest: Option<String>,
    pub moved_at: Option<i64>,
}

/// What tag `t` did last before moment $2.
macro_rules! last_outcome {
    ($events:literal) => {
        concat!(
            "(select m.outcome from ",
            $events,
            " m where m.tag_id = t.id and m.sorted_at < $2 and m.outcome in ('moved', 'deleted') \
               order by m.sorted_at desc, m.number desc limit 1)"
        )
    };
}

/// Streams of one kind that text $5 or the digests from $6 to $7 find: in their name and description, in names of tags that pointed
/// somewhere, and where those pointed.
macro_rules! found_then {
    ($tags:literal, $events:literal) => {
        concat!(
            "($5 = '%%' or lower(s.name) like $5 escape '!' or lower(coalesce((select f.description from former_descriptions f \
               where f.stream_id = s.id and f.until >= $2 order by f.until limit 1), s.description)) like $5 escape '!' \
             or exists (select 1 from ",
            $tags,
            " t where t.stream_id = s.id and lower(t.name) like $5 escape '!' and 'moved' = ",
            last_outcome!($events),
            ") or exists (select 1 from ",
            $events,
            " e where e.digest >= $6 and e.digest < $7 and e.stream_id = s.id and e.sequence = (select m.sequence from ",
            $events,
            " m where m.tag_id = e.tag_id and m.sorted_at < $2 and m.outcome in ('moved', 'deleted') \
               order by m.sorted_at desc, m.number desc limit 1)))"
        )
    };
}

/// How many of a stream's tags pointed somewhere, how many were looked at, and the row of the last move.
macro_rules! facts_then {
    ($tags:literal, $events:literal) => {
        concat!(
            "(select count(*) from (select t.id from ",
            $tags,
            " t where t.stream_id = b.id limit $8) t where 'moved' = ",
            last_outcome!($events),
            ") as tags, (select count(*) from (select 1 from ",
            $tags,
            " t where t.stream_id = b.id limit $8) t) as looked_at, (select r.sequence from (select e.sequence, e.tag_id, e.number from ",
            $events,
            " e where e.stream_id = b.id and e.sequence < $9 and e.outcome = 'moved' order by e.sequence desc limit $10) r \
             where not exists (select 1 from ",
            $events,
            " d where d.stream_id = b.id and d.tag_id = r.tag_id and d.number > r.number and d.sequence < $9 and d.outcome = 'deleted') \
             order by r.sequence desc limit 1) as newest"
        )
    };
}

macro_rules! catalog_then {
    ($beyond:literal, $order:literal) => {
        concat!(
            "select b.id, b.name, coalesce((select f.description from former_descriptions f where f.stream_id = b.id and f.until >= $2 \
               order by f.until limit 1), b.description) as description, b.created_at, b.created_by, b.deleted_at, b.deleted_by, \
             b.tags, b.looked_at, coalesce(t.name, g.name) as newest_tag, coalesce(e.digest, d.digest) as digest, coalesce(e.at, d.at) as moved_at \
             from (select * from (select b.*, ",
            facts_then!("tags", "tag_events"),
            " from (select s.id, s.name, s.description, s.created_at, s.created_by, cast(null as bigint) as deleted_at, \
               cast(null as text) as deleted_by from streams s where s.project_id = $1 and s.created_at < $2 and ($3 = '' or s.name ",
            $beyond,
            " $3) and ",
            found_then!("tags", "tag_events"),
            " order by s.name ",
            $order,
            " limit $4) b) x union all select * from (select b.*, ",
            facts_then!("ended_tags", "ended_tag_events"),
            " from (select s.id, s.name, s.description, s.created_at, s.created_by, s.deleted_at, s.deleted_by from ended_streams s \
               where s.project_id = $1 and s.created_at < $2 and s.deleted_at >= $2 and ($3 = '' or s.name ",
            $beyond,
            " $3) and ",
            found_then!("ended_tags", "ended_tag_events"),
            " order by s.name ",
            $order,
            " limit $4) b) y) b \
             left join tag_events e on e.sequence = b.newest left join tags t on t.id = e.tag_id \
             left join ended_tag_events d on d.sequence = b.newest left join ended_tags g on g.id = d.tag_id \
             order by b.name ",
            $order,
            " limit $4"
        )
    };
}

impl Store {
    /// A page of the catalog of a moment by name, beyond `after`: of the streams that `text` finds. Streams deleted since are there, too.
    pub async fn list_catalog_then(
        &self,
        project_id: &str,
        moment: &Moment,
        (text, falling): (&str, bool),
        after: &str,
        limit: i64,
    ) -> Result<Vec<CatalogThen>> {
        let end = self.ledger_end_then(moment).await?;
        let (first_digest, digests_end) = digest_range(text);
        let page = if falling { catalog_then!("<", "desc") } else { catalog_then!(">", "asc") };
        let streams = sqlx::query_as(page)
            .bind(project_id)
            .bind(moment.end)
            .bind(after)
            .bind(limit)
            .bind(contains(text))
            .bind(first_digest)
            .bind(digests_end)
            .bind(COUNT_TO_THEN)
            .bind(end)
            .bind(LAST_MOVES)
            .fetch_all(self.pool())
            .await?;
        Ok(streams)
    }
}
