//! Images as a stream had them at a moment: which there were, and which tags pointed to them. An image itself never changes.

use super::StreamThen;
use crate::model::{DigestPrefix, Moment};
use crate::server::store::digests::{SHOWN, the_one};
use crate::server::store::lookup::ImageTag;
use crate::server::store::{Result, Store};

/// Digests of stream $1 in three ranges that its histories name from before moment $8.
macro_rules! named_then {
    ($events:literal) => {
        concat!(
            "select e.digest from ",
            $events,
            " e where e.stream_id = $1 and e.sorted_at < $8 and e.outcome = 'moved' \
             and (e.digest >= $2 and e.digest < $3 or e.digest >= $4 and e.digest < $5 or e.digest >= $6 and e.digest < $7)"
        )
    };
}

/// Moves of tags of stream $1 to image $2 before moment $3. SQLite keeps to the order of a cross join: rows of an image are few, those of a
/// stream may be very many.
macro_rules! moves_then {
    ($tags:literal, $events:literal) => {
        concat!(
            " from ",
            $events,
            " e cross join ",
            $tags,
            " t where t.id = e.tag_id and e.digest = $2 and t.stream_id = $1 and e.outcome = 'moved' and e.sorted_at < $3 "
        )
    };
}

/// Whether stream $1 had the image $2 before moment $3.
pub(super) const HAD: &str = concat!(
    "select 1 from repository_images r where r.stream_id = $1 and r.digest = $2 and r.at < $3 union all select 1",
    moves_then!("tags", "tag_events"),
    "limit 1"
);

/// The same for a stream that is not there any more.
pub(super) const ENDED_HAD: &str = concat!("select 1", moves_then!("ended_tags", "ended_tag_events"), "limit 1");

/// Tags of stream $1 that had pointed to image $2 by moment $3, those that did then first.
macro_rules! image_tags_then {
    ($tags:literal, $events:literal) => {
        concat!(
            "select x.tag, x.number, x.at, case when $2 = (select m.digest from ",
            $events,
            " m where m.tag_id = x.tag_id and m.sorted_at < $3 and m.outcome in ('moved', 'deleted') \
               order by m.sorted_at desc, m.number desc limit 1) then 1 else 0 end as current \
             from (select t.id as tag_id, t.name as tag, max(e.number) as number, max(e.at) as at",
            moves_then!($tags, $events),
            "group by t.id, t.name order by 4 desc limit 100) x order by 4 desc, 3 desc"
        )
    };
}

pub(super) const IMAGE_TAGS: &str = image_tags_then!("tags", "tag_events");
pub(super) const ENDED_IMAGE_TAGS: &str = image_tags_then!("ended_tags", "ended_tag_events");

/// Where the newest move of a tag of stream $1 to image $2 before moment $3 found it.
pub(super) const REFERENCE: &str =
    concat!("select e.reference", moves_then!("tags", "tag_events"), "order by e.sequence desc limit 1");
pub(super) const ENDED_REFERENCE: &str =
    concat!("select e.reference", moves_then!("ended_tags", "ended_tag_events"), "order by e.sequence desc limit 1");

impl Store {
    /// The one image of the stream at a moment whose digest begins so: its tags had pointed to it by then, or its repository served it and
    /// does still. A conflict when there are several.
    pub async fn find_stream_digest_then(
        &self,
        stream: &StreamThen,
        id: &DigestPrefix,
        moment: &Moment,
    ) -> Result<Option<String>> {
        if let Some(digest) = id.whole() {
            let text = if stream.is_there() { HAD } else { ENDED_HAD };
            let had = sqlx::query(text).bind(&stream.id).bind(digest.as_str()).bind(moment.end);
            let had = had.fetch_optional(self.pool()).await?;
            return Ok(had.map(|_| digest.to_string()));
        }
        let [(first, first_end), (second, second_end), (third, third_end)] = id.ranges();
        let text = match stream.is_there() {
            true => concat!(
                "select d.digest from (select r.digest from repository_images r where r.stream_id = $1 and r.at < $8 \
                   and (r.digest >= $2 and r.digest < $3 or r.digest >= $4 and r.digest < $5 or r.digest >= $6 and r.digest < $7) union ",
                named_then!("tag_events"),
                ") d order by d.digest limit $9"
            ),
            false => concat!(
                "select distinct d.digest from (",
                named_then!("ended_tag_events"),
                ") d order by d.digest limit $9"
            ),
        };
        let digests: Vec<(String,)> = sqlx::query_as(text)
            .bind(&stream.id)
            .bind(first)
            .bind(first_end)
            .bind(second)
            .bind(second_end)
            .bind(third)
            .bind(third_end)
            .bind(moment.end)
            .bind(SHOWN)
            .fetch_all(self.pool())
            .await?;
        the_one(digests, id)
    }

    /// Tags of a stream that had pointed to an image by a moment; current are those that did then.
    pub async fn list_image_tags_then(
        &self,
        stream: &StreamThen,
        digest: &str,
        moment: &Moment,
    ) -> Result<Vec<ImageTag>> {
        let text = if stream.is_there() { IMAGE_TAGS } else { ENDED_IMAGE_TAGS };
        let tags = sqlx::query_as(text).bind(&stream.id).bind(digest).bind(moment.end).fetch_all(self.pool()).await?;
        Ok(tags)
    }

    /// The reference of the newest move of any of the stream's tags to that image by a moment.
    pub async fn reference_in_stream_then(
        &self,
        stream: &StreamThen,
        digest: &str,
        moment: &Moment,
    ) -> Result<Option<String>> {
        let text = if stream.is_there() { REFERENCE } else { ENDED_REFERENCE };
        let reference: Option<(Option<String>,)> =
            sqlx::query_as(text).bind(&stream.id).bind(digest).bind(moment.end).fetch_optional(self.pool()).await?;
        Ok(reference.and_then(|(reference,)| reference))
    }

    /// Whether the repository of a stream serves an image now: only then anything of it but its digest is told.
    pub async fn serves(&self, stream: &StreamThen, digest: &str) -> Result<bool> {
        let served: Option<(i64,)> =
            sqlx::query_as("select at from repository_images where stream_id = $1 and digest = $2")
                .bind(&stream.id)
                .bind(digest)
                .fetch_optional(self.pool())
                .await?;
        Ok(served.is_some())
    }
}
