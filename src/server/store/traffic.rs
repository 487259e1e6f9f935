//! Pulls and pushes of tags by day (UTC). Pushes are counted with the move they make; pulls come in bundles, see
//! [`crate::server::pulls`].

use std::collections::BTreeMap;

use super::usage::traffic_before;
use super::{Result, Store, WriteTx};
use crate::model::{Tag, Traffic, day_of, now};

/// How many days of traffic are kept.
const KEPT_DAYS: i64 = 400;

/// What a pull asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pulled {
    Tag(String),
    Digest(String),
}

/// Pulls of one thing on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullCount {
    pub stream_id: String,
    pub pulled: Pulled,
    /// As [`day_of`] counts.
    pub day: i64,
    pub count: i64,
}

/// What a tag saw on one day.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct DayOfTraffic {
    /// As [`day_of`] counts.
    pub day: i64,
    pub pulls: i64,
    pub pushes: i64,
}

macro_rules! add_traffic {
    ($table:literal, $key:literal) => {
        concat!(
            "insert into ",
            $table,
            " (",
            $key,
            ", day, pulls, pushes) values ($1, $2, $3, $4) on conflict (",
            $key,
            ", day) \
             do update set pulls = ",
            $table,
            ".pulls + excluded.pulls, pushes = ",
            $table,
            ".pushes + excluded.pushes"
        )
    };
}

impl Store {
    /// Adds pulls to their tags and streams. A digest counts for the tag that points to it, of several the one that moved last, or else
    /// for the tag that pointed there last. What never was any tag's, as the platforms of an index, counts for nobody: whoever fetches
    /// that fetched the index.
    pub async fn add_pulls(&self, pulls: &[PullCount]) -> Result<()> {
        if pulls.is_empty() {
            return Ok(());
        }
        let mut tx = self.write_tx().await?;
        let mut sums: BTreeMap<(String, String, i64), i64> = BTreeMap::new();
        for pull in pulls {
            if let Some(tag_id) = tx.tag_of_pull(pull).await? {
                *sums.entry((tag_id, pull.stream_id.clone(), pull.day)).or_default() += pull.count;
            }
        }
        for ((tag_id, stream_id, day), count) in sums {
            tx.add_traffic(&tag_id, &stream_id, day, Traffic { pulls: count, pushes: 0 }).await?;
        }
        tx.commit().await
    }

    /// How often a tag was pulled and pushed in [`crate::model::TRAFFIC_DAYS`].
    pub async fn tag_traffic(&self, tag_id: &str) -> Result<Traffic> {
        let traffic = sqlx::query_as(
            "select cast(coalesce(sum(pulls), 0) as bigint) as pulls, cast(coalesce(sum(pushes), 0) as bigint) as pushes \
             from tag_traffic where tag_id = $1 and day > $2",
        )
        .bind(tag_id)
        .bind(traffic_before())
        .fetch_one(self.pool())
        .await?;
        Ok(traffic)
    }

    /// A tag's days with traffic, the newest first, before the day `before`.
    pub async fn list_tag_days(&self, tag_id: &str, before: i64, limit: i64) -> Result<Vec<DayOfTraffic>> {
        let days = sqlx::query_as(
            "select day, pulls, pushes from tag_traffic where tag_id = $1 and day < $2 order by day desc limit $3",
        )
        .bind(tag_id)
        .bind(before)
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        Ok(days)
    }

    /// Forgets traffic of more than a year ago.
    pub async fn sweep_traffic(&self) -> Result<u64> {
        let mut tx = self.write_tx().await?;
        let mut swept = 0;
        for statement in ["delete from tag_traffic where day < $1", "delete from stream_traffic where day < $1"] {
            swept += sqlx::query(statement).bind(day_of(now()) - KEPT_DAYS).execute(&mut *tx).await?.rows_affected();
        }
        tx.commit().await?;
        Ok(swept)
    }
}

impl WriteTx {
    /// Counts a push to a tag, also one that was held back: the image was sent.
    pub(super) async fn count_push(&mut self, tag: &Tag) -> Result<()> {
        self.add_traffic(&tag.id, &tag.stream_id, day_of(now()), Traffic { pulls: 0, pushes: 1 }).await
    }

    async fn add_traffic(&mut self, tag_id: &str, stream_id: &str, day: i64, traffic: Traffic) -> Result<()> {
        for (statement, id) in
            [(add_traffic!("tag_traffic", "tag_id"), tag_id), (add_traffic!("stream_traffic", "stream_id"), stream_id)]
        {
            sqlx::query(statement)
                .bind(id)
                .bind(day)
                .bind(traffic.pulls)
                .bind(traffic.pushes)
                .execute(&mut **self)
                .await?;
        }
        Ok(())
    }

    /// Whose pull it is. `None` also when the stream has gone meanwhile.
    async fn tag_of_pull(&mut self, pull: &PullCount) -> Result<Option<String>> {
        let (statements, wanted): (&[&'static str], _) = match &pull.pulled {
            Pulled::Tag(name) => (&["select id from tags where stream_id = $1 and name = $2"], name),
            Pulled::Digest(digest) => (
                &[
                    "select id from tags where digest = $2 and stream_id = $1 order by moved_at desc, id limit 1",
                    "select e.tag_id from tag_events e join tags t on t.id = e.tag_id and t.stream_id = $1 \
                     where e.digest = $2 and e.outcome = 'moved' order by e.sequence desc limit 1",
                ],
                digest,
            ),
        };
        for statement in statements {
            let tag: Option<(String,)> =
                sqlx::query_as(*statement).bind(&pull.stream_id).bind(wanted).fetch_optional(&mut **self).await?;
            if let Some((tag_id,)) = tag {
                return Ok(Some(tag_id));
            }
        }
        Ok(None)
    }
}
