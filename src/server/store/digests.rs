//! Images of a stream by a digest that may be written in part: those its tags pointed to, and those its repository serves. What was refused,
//! or never came, is none.

use sqlx::AnyConnection;

use super::{Error, Result, Store, WriteTx};
use crate::model::{DigestPrefix, Stream};

/// More than one is enough to refuse; a few more help to say what would tell them apart.
pub(super) const SHOWN: i64 = 10;

impl Store {
    /// The one image of the stream whose digest begins so; a conflict when there are several.
    pub async fn find_stream_digest(&self, stream: &Stream, id: &DigestPrefix) -> Result<Option<String>> {
        find(&mut *self.pool().acquire().await?, &stream.id, id).await
    }

    /// Where the stream's tag that moved to that image last finds it.
    pub async fn reference_in_stream(&self, stream_id: &str, digest: &str) -> Result<Option<String>> {
        newest_reference(&mut *self.pool().acquire().await?, stream_id, digest).await
    }
}

impl WriteTx {
    /// [`Store::find_stream_digest`]
    pub(super) async fn find_stream_digest(&mut self, stream_id: &str, id: &DigestPrefix) -> Result<Option<String>> {
        find(&mut *self, stream_id, id).await
    }

    /// [`Store::reference_in_stream`]
    pub(super) async fn reference_in_stream(&mut self, stream_id: &str, digest: &str) -> Result<Option<String>> {
        newest_reference(&mut *self, stream_id, digest).await
    }
}

/// A tag that is still where that move brought it may find the image elsewhere by now.
async fn newest_reference(connection: &mut AnyConnection, stream_id: &str, digest: &str) -> Result<Option<String>> {
    let reference: Option<(Option<String>,)> = sqlx::query_as(
        "select coalesce(c.reference, e.reference) from tag_events e join tags t on t.id = e.tag_id \
         left join tags c on c.id = e.tag_id and c.event_sequence = e.sequence \
         where t.stream_id = $1 and e.digest = $2 and e.outcome = 'moved' order by e.sequence desc limit 1",
    )
    .bind(stream_id)
    .bind(digest)
    .fetch_optional(connection)
    .await?;
    Ok(reference.and_then(|(reference,)| reference))
}

/// Whether the stream $1 has the image $2.
const HAS: &str = "select 1 from repository_images r where r.stream_id = $1 and r.digest = $2 \
    union all select 1 from tag_events e join tags t on t.id = e.tag_id \
      where e.digest = $2 and t.stream_id = $1 and e.outcome = 'moved' limit 1";

/// Ranges rather than patterns: both databases take an index for them. They take in all that the stream has had, so that what is known whole
/// is looked for by itself.
async fn find(connection: &mut AnyConnection, stream_id: &str, id: &DigestPrefix) -> Result<Option<String>> {
    if let Some(digest) = id.whole() {
        let has = sqlx::query(HAS).bind(stream_id).bind(digest.as_str()).fetch_optional(connection).await?;
        return Ok(has.map(|_| digest.to_string()));
    }
    let [(first, first_end), (second, second_end), (third, third_end)] = id.ranges();
    let digests: Vec<(String,)> = sqlx::query_as(
        "select d.digest from (select r.digest from repository_images r where r.stream_id = $1 \
           and (r.digest >= $2 and r.digest < $3 or r.digest >= $4 and r.digest < $5 or r.digest >= $6 and r.digest < $7) \
         union select e.digest from tag_events e join tags t on t.id = e.tag_id where t.stream_id = $1 and e.outcome = 'moved' \
           and (e.digest >= $2 and e.digest < $3 or e.digest >= $4 and e.digest < $5 or e.digest >= $6 and e.digest < $7)) d \
         order by d.digest limit $8",
    )
    .bind(stream_id)
    .bind(first)
    .bind(first_end)
    .bind(second)
    .bind(second_end)
    .bind(third)
    .bind(third_end)
    .bind(SHOWN)
    .fetch_all(connection)
    .await?;
    the_one(digests, id)
}

/// The one digest that was found, if any; a conflict when there are several.
pub(super) fn the_one(digests: Vec<(String,)>, id: &DigestPrefix) -> Result<Option<String>> {
    match digests.as_slice() {
        [] => Ok(None),
        [(digest,)] => Ok(Some(digest.clone())),
        several => {
            let several: Vec<&str> = several.iter().map(|(digest,)| digest.as_str()).collect();
            let message = format!("multiple images match the prefix \"{id}\": {}", several.join(", "));
            Err(Error::Conflict(message))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::model::{Actor, EventKind, NewImage};
    use crate::server::store::testing::{each_store, plan, project};
    use crate::server::store::{Backend, TagMove};

    #[tokio::test]
    async fn section_1_3_a_prefix_names_the_one_image_of_the_stream_that_begins_so() {
        for store in each_store().await {
            project(&store, "demo").await;
            let actor = Actor::person("ada");
            let digest = |begin: &str| format!("sha256:{begin}{}", "0".repeat(64 - begin.len()));
            let push = async |stream: &str, begin: &str, tag: &str| {
                let stream = store.ensure_stream("demo", &stream.parse().unwrap(), &actor).await.unwrap();
                let tag = tag.parse().unwrap();
                let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
                let image = NewImage { digest: digest(begin), manifest: "{}".to_owned(), ..NewImage::default() };
                store.put_manifest(&stream, &image, Some(to), &actor).await.unwrap();
            };
            for (begin, tag) in [("3c87c57", "1"), ("3c87c57", "2"), ("3c9", "1"), ("3c87c57", "1")] {
                push("base", begin, tag).await;
            }
            push("other", "4d", "1").await;
            let stream = store.stream("demo", "base").await.unwrap();
            let find = async |id: &str| store.find_stream_digest(&stream, &id.parse().unwrap()).await;
            for id in ["3c8", "sha256:3c8", &digest("3c87c57")] {
                let found = find(id).await.unwrap();
                assert_eq!(found, Some(digest("3c87c57")), "the same image many times is one match");
            }
            assert_eq!(find("3d").await.unwrap(), None);
            assert_eq!(find(&digest("3d")).await.unwrap(), None);
            assert_eq!(find(&digest("4d")).await.unwrap(), None);
            assert_eq!(find("4d").await.unwrap(), None, "that it is stored for another stream is not enough");
            assert_eq!(find("sha512:3c").await.unwrap(), None);
            let refused = find("3c").await.unwrap_err().to_string();
            let expected = format!("multiple images match the prefix \"3c\": {}, {}", digest("3c87c57"), digest("3c9"));
            assert_eq!(refused, expected);
        }
    }

    #[tokio::test]
    async fn a_whole_digest_is_found_by_itself_however_much_the_stream_has_had() {
        for store in each_store().await.into_iter().filter(|store| store.backend() == Backend::Sqlite) {
            let plan = plan(&store, super::HAS, &["'x'", "'sha256:x'"]).await.join("\n");
            assert!(plan.contains("(stream_id=? AND digest=?)"), "{plan}");
            assert!(plan.contains("INDEX tag_events_digest (digest=?)"), "{plan}");
        }
    }
}
