//! What a tag meant and when, as the registry tells it: without attempts that came to nothing, and with what tells a manifest that is gone.

use super::{Result, Store};
use crate::model::{Digest, Outcome};

/// A moment from which a tag pointed to a manifest, or to none any more.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Assigned {
    pub number: i64,
    #[sqlx(try_from = "String")]
    pub outcome: Outcome,
    /// Of a deletion, what the tag pointed to until then.
    pub digest: String,
    pub media_type: String,
    /// Of the manifest, in bytes.
    pub size: i64,
    /// Milliseconds since the epoch; never later than those of rows with higher numbers.
    pub sorted_at: i64,
}

/// Which rows of a history are wanted.
#[derive(Debug, Clone)]
pub struct HistoryPart {
    /// Those with lower numbers than this.
    pub after: i64,
    /// Those from before this moment; where `after` is given, those of the very moment, too.
    pub before: i64,
    /// Those from this moment on.
    pub since: i64,
    pub digest: Option<Digest>,
}

impl Store {
    /// What a tag pointed to, newest first, whether it is there or deleted; nothing of a tag that never was.
    pub async fn list_assigned(
        &self,
        stream_id: &str,
        tag: &str,
        part: &HistoryPart,
        limit: i64,
    ) -> Result<Vec<Assigned>> {
        let rows = sqlx::query_as(
            "select e.number, e.outcome, coalesce(e.digest, e.from_digest) as digest, e.sorted_at, \
             coalesce(e.media_type, p.media_type, i.media_type, '') as media_type, \
             coalesce(e.manifest_size, p.manifest_size, octet_length(i.manifest), 0) as size \
             from tag_events e join tags t on t.id = e.tag_id \
             left join images i on i.digest = coalesce(e.digest, e.from_digest) \
             left join tag_events p on p.sequence = (select max(b.sequence) from tag_events b where b.tag_id = e.tag_id \
               and b.number < e.number and b.outcome = 'moved' and e.digest is null) \
             where t.stream_id = $1 and t.name = $2 and e.outcome in ('moved', 'deleted') and coalesce(e.digest, e.from_digest) is not null \
             and e.number < $3 and e.sorted_at < $4 and e.sorted_at >= $5 and ($6 = '' or coalesce(e.digest, e.from_digest) = $6) \
             order by e.number desc limit $7",
        )
        .bind(stream_id)
        .bind(tag)
        .bind(part.after)
        .bind(if part.after == i64::MAX { part.before } else { part.before.saturating_add(1) })
        .bind(part.since)
        .bind(part.digest.as_ref().map_or("", Digest::as_str))
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        Ok(rows)
    }
}
