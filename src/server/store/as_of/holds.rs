//! What kept automation from tags and apps at a moment.

use super::{AppThen, StreamThen, TagThen};
use crate::model::{Moment, RejectedDigest};
use crate::server::store::{Result, Store};

/// A hold that there was at a moment. Its reason may have been given later.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct HoldThen {
    pub actor: String,
    pub reason: Option<String>,
    pub since: i64,
    pub sequence: i64,
}

macro_rules! hold_then {
    ($holds:literal) => {
        concat!(
            "select h.actor, h.reason, h.since, h.sequence from ",
            $holds,
            " = $1 and h.since < $2 and (h.ended_at is null or h.ended_at >= $2) order by h.since limit 1"
        )
    };
}

impl Store {
    /// What kept a tag where it was at a moment, if anything.
    pub async fn tag_hold_then(&self, stream: &StreamThen, tag: &TagThen, moment: &Moment) -> Result<Option<HoldThen>> {
        let text = match stream.is_there() {
            true => hold_then!("holds h where h.tag_id"),
            false => hold_then!("ended_holds h where h.owner_id"),
        };
        Ok(sqlx::query_as(text).bind(&tag.id).bind(moment.end).fetch_optional(self.pool()).await?)
    }

    /// What kept an app where it was at a moment, if anything.
    pub async fn app_hold_then(&self, app: &AppThen, moment: &Moment) -> Result<Option<HoldThen>> {
        let text = match app.deleted_at {
            None => hold_then!("holds h where h.app_id"),
            Some(_) => hold_then!("ended_holds h where h.owner_id"),
        };
        Ok(sqlx::query_as(text).bind(&app.id).bind(moment.end).fetch_optional(self.pool()).await?)
    }

    /// Digests that no automation might put on a tag at a moment. Of deleted streams that is not kept.
    pub async fn list_rejected_then(&self, tag: &TagThen, moment: &Moment) -> Result<Vec<RejectedDigest>> {
        let rejected = sqlx::query_as(
            "select digest, actor, reason, since, sequence from rejected_digests where tag_id = $1 and since < $2 \
             and (ended_at is null or ended_at >= $2) order by sequence",
        )
        .bind(&tag.id)
        .bind(moment.end)
        .fetch_all(self.pool())
        .await?;
        Ok(rejected)
    }
}
