//! What the REST door reads in bulk: whole streams with their tags and histories, a project's tags, images by a prefix of their digest.

use std::collections::HashMap;

use sqlx::any::AnyRow;

use super::builds::select_build;
use super::tags::select_tag;
use super::{Result, Store};
use crate::model::{Build, Tag};

/// The moves `e` of a tag `t` that the view of a whole stream shows: the 50 newest since the tag was deleted last, however many rows between
/// them tell why it stayed. The history itself is longer and paged.
macro_rules! is_shown {
    () => {
        "e.outcome = 'moved' and e.number >= coalesce((select m.number from tag_events m where m.tag_id = t.id and m.outcome = 'moved' \
           order by m.number desc limit 1 offset 49), 0) \
         and e.number > coalesce((select max(d.number) from tag_events d where d.tag_id = t.id and d.outcome = 'deleted'), 0)"
    };
}
pub(super) use is_shown;

/// [`is_shown`] as it was when `n` was the tag's newest move.
macro_rules! was_shown {
    ($events:literal) => {
        concat!(
            "e.outcome = 'moved' and e.number <= n.number and e.number >= coalesce((select m.number from ",
            $events,
            " m where m.tag_id = t.id and m.outcome = 'moved' and m.number <= n.number order by m.number desc limit 1 offset 49), 0) \
             and e.number > coalesce((select max(d.number) from ",
            $events,
            " d where d.tag_id = t.id and d.outcome = 'deleted' and d.number <= n.number), 0)"
        )
    };
}
pub(super) use was_shown;

/// One move of a tag, as the view of its stream shows it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ShownMove {
    pub tag_id: String,
    pub digest: Option<String>,
    pub reference: Option<String>,
    /// Of a moment it may not be known.
    pub generation: Option<i64>,
    pub at: i64,
}

/// An import that fails.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct FailingImport {
    pub tag_id: String,
    pub reason: Option<String>,
    pub message: Option<String>,
    pub failing_since: Option<i64>,
    pub last_try_at: Option<i64>,
    pub generation: i64,
}

/// What became of some tags: the newest rows of their histories, and imports that fail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TagParts {
    moves: HashMap<String, Vec<ShownMove>>,
    failing: HashMap<String, FailingImport>,
}

impl TagParts {
    /// The tag's newest moves, newest first.
    pub fn moves(&self, tag_id: &str) -> &[ShownMove] {
        self.moves.get(tag_id).map(Vec::as_slice).unwrap_or_default()
    }

    /// The tag's import, if it fails.
    pub fn failing(&self, tag_id: &str) -> Option<&FailingImport> {
        self.failing.get(tag_id)
    }
}

/// Tags of some streams, and what became of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamParts {
    tags: HashMap<String, Vec<Tag>>,
    looks: HashMap<String, i64>,
    pub tag_parts: TagParts,
}

impl StreamParts {
    /// Live tags of a stream, by name.
    pub fn tags(&self, stream_id: &str) -> &[Tag] {
        self.tags.get(stream_id).map(Vec::as_slice).unwrap_or_default()
    }

    /// When it was last tried to import anything into a stream, if it was.
    pub fn looked_at(&self, stream_id: &str) -> Option<i64> {
        self.looks.get(stream_id).copied()
    }
}

/// Ids that one statement is asked about at most.
const IDS_AT_ONCE: usize = 512;

impl Store {
    /// Sequence of the newest change of anything.
    pub async fn last_sequence(&self) -> Result<i64> {
        let (sequence,): (i64,) = sqlx::query_as("select cast(coalesce(max(sequence), 0) as bigint) from ledger")
            .fetch_one(self.pool())
            .await?;
        Ok(sequence)
    }

    /// Live tags of the streams from `first` to `last`, by name, and what became of them.
    pub async fn stream_parts(&self, project: &str, first: &str, last: &str) -> Result<StreamParts> {
        let all: Vec<Tag> = sqlx::query_as(select_tag!(
            "where p.name = $1 and s.name >= $2 and s.name <= $3 and t.deleted_at is null order by s.name, t.name"
        ))
        .bind(project)
        .bind(first)
        .bind(last)
        .fetch_all(self.pool())
        .await?;
        let tag_parts = self.tag_parts(&all).await?;
        let mut tags: HashMap<String, Vec<Tag>> = HashMap::new();
        for tag in all {
            tags.entry(tag.stream_id.clone()).or_default().push(tag);
        }
        let looks = self.last_looks(project, first, last).await?;
        Ok(StreamParts { tags, looks, tag_parts })
    }

    /// What became of these tags. A tag made again after it was deleted begins anew in this view; its history keeps everything.
    pub async fn tag_parts(&self, tags: impl IntoIterator<Item = &Tag>) -> Result<TagParts> {
        let ids: Vec<&str> = tags.into_iter().map(|tag| tag.id.as_str()).collect();
        let mut parts = TagParts::default();
        for ids in ids.chunks(IDS_AT_ONCE) {
            // The newest one counts as what the tag has now, which may be the same image from elsewhere.
            let moves = format!(
                concat!(
                    "select e.tag_id, e.digest, case when e.sequence = t.event_sequence then coalesce(t.reference, e.reference) \
                     else e.reference end as reference, e.generation, e.at from tags t join tag_events e on e.tag_id = t.id \
                     where t.id in ({}) and t.deleted_at is null and ",
                    is_shown!(),
                    " order by e.tag_id, e.number desc"
                ),
                marks(ids.len())
            );
            for item in self.about::<ShownMove>(moves, ids).await? {
                parts.moves.entry(item.tag_id.clone()).or_default().push(item);
            }
            let failing = format!(
                "select i.tag_id, i.reason, i.message, i.failing_since, i.last_try_at, i.generation from tag_imports i \
                 join tags t on t.id = i.tag_id where t.id in ({}) and t.deleted_at is null and i.outcome = 'failed'",
                marks(ids.len())
            );
            for import in self.about::<FailingImport>(failing, ids).await? {
                parts.failing.insert(import.tag_id.clone(), import);
            }
        }
        Ok(parts)
    }

    /// Rows of a statement that asks about these ids, see [`marks`].
    async fn about<Row>(&self, statement: String, ids: &[&str]) -> Result<Vec<Row>>
    where
        Row: for<'r> sqlx::FromRow<'r, AnyRow> + Send + Unpin,
    {
        let mut query = sqlx::query_as(sqlx::AssertSqlSafe(statement));
        for place in 0..ids.len().next_power_of_two() {
            query = query.bind(ids[place.min(ids.len() - 1)]);
        }
        Ok(query.fetch_all(self.pool()).await?)
    }

    /// A project's tags, or only those that point to an image, by stream and name, after `(stream, tag)`.
    pub async fn list_project_tags(
        &self,
        project: &str,
        after: (&str, &str),
        with_image: bool,
        limit: i64,
    ) -> Result<Vec<Tag>> {
        let tags = sqlx::query_as(select_tag!(
            "where p.name = $1 and t.deleted_at is null and ($5 = 0 or t.digest is not null) \
             and (s.name > $2 or (s.name = $2 and t.name > $3)) order by s.name, t.name limit $4"
        ))
        .bind(project)
        .bind(after.0)
        .bind(after.1)
        .bind(limit)
        .bind(i64::from(with_image))
        .fetch_all(self.pool())
        .await?;
        Ok(tags)
    }

    /// Of which generation of its stream each of these tags' newest move is, by the tag's id; tags that never moved are left out.
    pub async fn move_generations(&self, tags: impl IntoIterator<Item = &Tag>) -> Result<HashMap<String, i64>> {
        let ids: Vec<&str> = tags.into_iter().map(|tag| tag.id.as_str()).collect();
        let mut generations = HashMap::with_capacity(ids.len());
        for ids in ids.chunks(IDS_AT_ONCE) {
            let statement = format!(
                "select t.id, e.generation from tags t join tag_events e on e.sequence = t.event_sequence where t.id in ({})",
                marks(ids.len())
            );
            generations.extend(self.about::<(String, i64)>(statement, ids).await?);
        }
        Ok(generations)
    }

    /// Builds of a project, oldest first, requested after the ledger's row `after`.
    pub async fn list_builds_after(&self, project: &str, after: i64, limit: i64) -> Result<Vec<Build>> {
        let builds =
            sqlx::query_as(select_build!("where p.name = $1 and b.sequence > $2 order by b.sequence limit $3"))
                .bind(project)
                .bind(after)
                .bind(limit)
                .fetch_all(self.pool())
                .await?;
        Ok(builds)
    }
}

/// `$1, $2, …` for that many ids and, the last of them again and again, up to a power of two: so there are few statements to prepare.
fn marks(count: usize) -> String {
    let marks: Vec<String> = (1..=count.next_power_of_two()).map(|place| format!("${place}")).collect();
    marks.join(", ")
}

#[cfg(test)]
mod tests {
    use crate::model::{Actor, EventKind, NewImage};
    use crate::server::store::testing::{TestStore, each_store, project, run};
    use crate::server::store::{TagMove, TagParts};

    async fn push(store: &TestStore, digest: &str) {
        let actor = Actor::person("ada");
        let stream = store.ensure_stream("demo", &"app".parse().unwrap(), &actor).await.unwrap();
        let image = NewImage { digest: digest.to_owned(), manifest: "{}".to_owned(), ..NewImage::default() };
        let tag = "t".parse().unwrap();
        let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
        store.put_manifest(&stream, &image, Some(to), &actor).await.unwrap();
    }

    /// What the views of the stream show of its only tag: digests newest first, and those with what they consist of.
    async fn shown(store: &TestStore) -> (Vec<String>, Vec<String>) {
        let tag = store.find_tag("demo", "app", "t").await.unwrap().unwrap();
        let parts: TagParts = store.tag_parts([&tag]).await.unwrap();
        let moves = parts.moves(&tag.id).iter().filter_map(|one| one.digest.clone()).collect();
        let images = store.list_shown_images(&tag.stream_id).await.unwrap().images;
        (moves, images.into_iter().map(|image| image.digest).collect())
    }

    #[tokio::test]
    async fn section_3_6_what_a_tag_has_is_shown_however_often_it_stayed_since() {
        for store in each_store().await {
            project(&store, "demo").await;
            let ada = Actor::person("ada");
            push(&store, "sha256:first").await;
            push(&store, "sha256:current").await;
            store.hold_tag("demo", "app", "t", None, &ada).await.unwrap();
            // No two of them in a row are the same, so that each is a row.
            for number in 0..60 {
                push(&store, &format!("sha256:waits-{}", number % 2)).await;
            }
            let both = ["sha256:current".to_owned(), "sha256:first".to_owned()];
            assert_eq!(shown(&store).await, (both.to_vec(), both.to_vec()));

            store.resume_tag("demo", "app", "t", &ada).await.unwrap();
            for number in 0..60 {
                push(&store, &format!("sha256:{number:02}")).await;
            }
            let newest: Vec<_> = (10..60).map(|number| format!("sha256:{number:02}")).collect();
            let newest_first: Vec<_> = newest.iter().rev().cloned().collect();
            assert_eq!(shown(&store).await, (newest_first, newest), "and no more than 50");

            store.delete_tag("demo", "app", "t", &ada).await.unwrap();
            assert_eq!(shown(&store).await, (vec![], vec![]));
            push(&store, "sha256:first").await;
            let first = vec!["sha256:first".to_owned()];
            assert_eq!(shown(&store).await, (first.clone(), first), "made again, it begins anew");
        }
    }

    /// More tags than one statement is asked about, and no power of two of them.
    #[tokio::test]
    async fn every_tag_of_a_large_stream_comes_with_what_became_of_it_once() {
        for store in each_store().await {
            project(&store, "demo").await;
            let actor = Actor::person("ada");
            let stream = store.ensure_stream("demo", &"many".parse().unwrap(), &actor).await.unwrap();
            for statement in [
                "insert into tags (id, stream_id, name, event_number, created_at) \
                 with recursive n (i) as (select 1 union all select i + 1 from n where i < 1300) \
                 select 'tag-' || i, s.id, 'v' || i, 1, 0 from n, streams s",
                "insert into tag_events (sequence, tag_id, number, outcome, digest, generation, kind, actor_kind, actor, cascade_id, at) \
                 with recursive n (i) as (select 1 union all select i + 1 from n where i < 1300) \
                 select 1000 + i, 'tag-' || i, 1, 'moved', 'sha256:' || i, 1, 'push', 'person', 'ada', 'c', 0 from n",
            ] {
                run(&store, statement).await;
            }
            let parts = store.stream_parts("demo", "many", "many").await.unwrap();
            let tags = parts.tags(&stream.id);
            assert_eq!(tags.len(), 1300);
            for tag in tags {
                let moves = parts.tag_parts.moves(&tag.id);
                let digest = tag.id.replace("tag-", "sha256:");
                assert!(
                    moves.len() == 1 && moves[0].digest.as_deref() == Some(digest.as_str()),
                    "{}: {moves:?}",
                    tag.id
                );
            }
            assert!(parts.tags("another").is_empty() && parts.tag_parts.moves("another").is_empty());
        }
    }
}
