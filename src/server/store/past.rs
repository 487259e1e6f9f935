//! What a tag pointed to at a moment, and whether that can still be had.

use super::as_of::join_referred;
use super::{Result, Store};
use crate::model::{Outcome, PastTag, StoredManifest, Stream, now};

/// What a tag was when a minute ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Past {
    /// It pointed to this.
    Manifest(StoredManifest),
    /// The minute is not over.
    Future,
    /// It had never had an image, if there was such a tag at all.
    Nothing,
    /// It was deleted.
    Deleted,
    /// It only named this image elsewhere, as the tag did that it followed.
    Named(String),
    /// It pointed to this digest, which the repository does not serve any more.
    Gone(String),
}

/// The newest row of the tag's history that is from before the moment and says where it points, with the manifest if it is still served.
#[derive(sqlx::FromRow)]
struct Row {
    #[sqlx(try_from = "String")]
    outcome: Outcome,
    digest: Option<String>,
    /// Where the image was found since then, or what the tag only named instead.
    referred: Option<String>,
    media_type: Option<String>,
    manifest: Option<String>,
}

impl Store {
    /// What a tag was at a moment, deleted tags too. The order is the history's: where the clock was set back, the row that came last counts.
    /// Where another stream had the name then, that one's tag is meant.
    pub async fn manifest_at(&self, stream: &Stream, past: &PastTag) -> Result<Past> {
        // An answer about a minute that goes on could change; one about the past never does.
        if past.end > now() {
            return Ok(Past::Future);
        }
        let row: Option<Row> = sqlx::query_as(concat!(
            "select e.outcome, e.digest, l.to_value as referred, i.media_type, i.manifest from tags t join tag_events e on e.sequence = (\
               select m.sequence from tag_events m where m.tag_id = t.id and m.sorted_at < $3 and m.outcome in ('moved', 'deleted') \
               order by m.sorted_at desc, m.number desc limit 1) \
             join streams s on s.id = t.stream_id join projects p on p.id = s.project_id ",
            join_referred!("p.name", "s.name", "$3"),
            "left join repository_images r on r.stream_id = t.stream_id and r.digest = e.digest \
             left join images i on i.digest = r.digest where t.stream_id = $1 and t.name = $2"
        ))
        .bind(&stream.id)
        .bind(past.tag.as_str())
        .bind(past.end)
        .fetch_optional(self.pool())
        .await?;
        let row = match row {
            None => self.row_of_ended(stream, past).await?,
            found => found,
        };
        Ok(match row {
            None => Past::Nothing,
            Some(Row { outcome: Outcome::Deleted, .. }) => Past::Deleted,
            // Where an image is pulled from ends in its digest.
            Some(Row { digest: Some(digest), referred: Some(name), .. }) if !name.ends_with(&digest) => {
                Past::Named(name)
            }
            Some(Row { digest: Some(digest), media_type: Some(media_type), manifest: Some(manifest), .. }) => {
                Past::Manifest(StoredManifest { digest, media_type, manifest })
            }
            Some(Row { digest, .. }) => Past::Gone(digest.unwrap_or_default()),
        })
    }

    /// The row of the stream that had this one's name then and was deleted since. Its image can be had when this one's repository has it again.
    async fn row_of_ended(&self, stream: &Stream, past: &PastTag) -> Result<Option<Row>> {
        let row = sqlx::query_as(concat!(
            "select e.outcome, e.digest, l.to_value as referred, i.media_type, i.manifest from ended_streams s \
             join projects p on p.id = s.project_id join ended_tags t on t.stream_id = s.id \
             join ended_tag_events e on e.sequence = (select m.sequence from ended_tag_events m where m.tag_id = t.id and m.sorted_at < $4 \
               and m.outcome in ('moved', 'deleted') order by m.sorted_at desc, m.number desc limit 1) ",
            join_referred!("p.name", "s.name", "$4"),
            "left join repository_images r on r.stream_id = $5 and r.digest = e.digest left join images i on i.digest = r.digest \
             where s.project_id = $1 and s.name = $2 and t.name = $3 and s.created_at < $4 and s.deleted_at >= $4 \
             order by s.created_at desc limit 1"
        ))
        .bind(&stream.project_id)
        .bind(&stream.name)
        .bind(past.tag.as_str())
        .bind(past.end)
        .bind(&stream.id)
        .fetch_optional(self.pool())
        .await?;
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;
    use crate::model::time::testing::TIME;
    use crate::model::{Actor, EventKind, NewImage, Tag};
    use crate::server::store::moves::Move;
    use crate::server::store::testing::{TestStore, each_store, project};
    use crate::server::store::{Backend, TagMove};

    /// Milliseconds between two rows: some minutes have three of them.
    const STEP: i64 = 20_000;
    /// When the first row is from: 2020-01-01T00:00:00Z.
    const BEGIN: i64 = 1_577_836_800_000;
    const TAGS: usize = 10;
    const IMAGES: usize = 30;

    /// What happened, in order: to which tag, and the image it points to since; `None` for a deletion.
    type Model = Vec<(usize, Option<usize>)>;

    fn digest(image: usize) -> String {
        format!("sha256:{image:064}")
    }

    /// Moves and deletes tags at random, as the verbs do.
    async fn wander(store: &TestStore, tags: &[Tag], steps: usize, random: &mut StdRng) -> Model {
        let (actor, mut model, mut at) = (Actor::person("ada"), Model::new(), [None; TAGS]);
        while model.len() < steps {
            let mut tx = store.write_tx().await.unwrap();
            for _ in 0..500 {
                let (which, image) = (random.random_range(0..TAGS), random.random_range(0..IMAGES));
                let tag = tx.tag_by_id(&tags[which].id).await.unwrap();
                if at[which].is_some() && random.random_range(0..10) == 0 {
                    tx.record_deletion(&tag, &actor).await.unwrap();
                    at[which] = None;
                } else if at[which] != Some(image) {
                    let digest = digest(image);
                    tx.move_tag(&tag, &Move::new(EventKind::Push, &digest, "demo/app@x", &actor)).await.unwrap();
                    at[which] = Some(image);
                } else {
                    continue;
                }
                model.push((which, at[which]));
            }
            tx.commit().await.unwrap();
        }
        // The rows are from one moment; spread them out, the time of each following from its place.
        let mut tx = store.write_tx().await.unwrap();
        let rows: Vec<(i64,)> =
            sqlx::query_as("select sequence from tag_events order by sequence").fetch_all(&mut *tx).await.unwrap();
        assert_eq!(rows.len(), model.len());
        for (place, (sequence,)) in (0_i64..).zip(rows) {
            sqlx::query("update tag_events set at = $2, sorted_at = $2 where sequence = $1")
                .bind(sequence)
                .bind(BEGIN + place * STEP)
                .execute(&mut *tx)
                .await
                .unwrap();
        }
        tx.commit().await.unwrap();
        model
    }

    /// What the model says of a tag at the end of a minute.
    fn expected(model: &[(usize, Option<usize>)], which: usize, end: i64) -> Past {
        let before = usize::try_from((end - BEGIN + STEP - 1) / STEP).unwrap_or(0).min(model.len());
        match model[..before].iter().rev().find(|(tag, _)| *tag == which) {
            None => Past::Nothing,
            Some((_, None)) => Past::Deleted,
            Some((_, Some(image))) => Past::Manifest(StoredManifest {
                digest: digest(*image),
                media_type: String::new(),
                manifest: "{}".into(),
            }),
        }
    }

    #[tokio::test]
    async fn a_thousand_moments_of_ten_thousand_moves_are_as_they_were() {
        for store in each_store().await {
            // SQLite has them all; PostgreSQL is asked the same questions of fewer, as each of its answers takes a round trip.
            let steps = if store.backend() == Backend::Sqlite { 10_000 } else { 1_000 };
            project(&store, "demo").await;
            let actor = Actor::person("ada");
            let stream = store.ensure_stream("demo", &"app".parse().unwrap(), &actor).await.unwrap();
            for image in 0..IMAGES {
                let image = NewImage { digest: digest(image), manifest: "{}".into(), ..NewImage::default() };
                store.put_manifest(&stream, &image, None, &actor).await.unwrap();
            }
            let mut tags = Vec::new();
            let mut tx = store.write_tx().await.unwrap();
            for which in 0..TAGS {
                tags.push(tx.ensure_tag(&stream, &format!("t{which}").parse().unwrap()).await.unwrap());
            }
            tx.commit().await.unwrap();
            let mut random = StdRng::seed_from_u64(20_261_101);
            let model = wander(&store, &tags, steps, &mut random).await;
            let span = model.len() as i64 * STEP;
            for _ in 0..1_000 {
                let which = random.random_range(0..TAGS);
                let minute = random.random_range(-5..span / 60_000 + 5);
                let past = PastTag { tag: tags[which].name.parse().unwrap(), end: BEGIN + (minute + 1) * 60_000 };
                let found = store.manifest_at(&stream, &past).await.unwrap();
                assert_eq!(found, expected(&model, which, past.end), "t{which} at {}", past.end);
            }
        }
    }

    #[tokio::test]
    async fn the_order_is_the_historys_when_the_clock_went_back() {
        for store in each_store().await {
            project(&store, "demo").await;
            let actor = Actor::person("ada");
            let stream = store.ensure_stream("demo", &"app".parse().unwrap(), &actor).await.unwrap();
            let tag = "latest".parse().unwrap();
            for (image, at) in [(0, BEGIN + 600_000), (1, BEGIN + 300_000)] {
                TIME.set(Some(at));
                let image = NewImage { digest: digest(image), manifest: "{}".into(), ..NewImage::default() };
                let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
                store.put_manifest(&stream, &image, Some(to), &actor).await.unwrap();
            }
            TIME.set(None);
            let at = async |end: i64| store.manifest_at(&stream, &PastTag { tag: tag.clone(), end }).await.unwrap();
            assert_eq!(at(BEGIN + 240_000).await, Past::Nothing);
            for end in [BEGIN + 360_000, BEGIN + 900_000] {
                assert!(matches!(at(end).await, Past::Manifest(found) if found.digest == digest(1)), "at {end}");
            }
            assert_eq!(at(now() + 1).await, Past::Future);
        }
    }

    #[tokio::test]
    async fn of_a_stream_that_was_made_anew_the_one_of_then_is_meant() {
        for store in each_store().await {
            let id = project(&store, "demo").await;
            let (actor, tag) = (Actor::person("ada"), "latest".parse().unwrap());
            let push = async |minutes: i64, image: usize| {
                TIME.set(Some(BEGIN + minutes * 60_000));
                let stream = store.ensure_stream("demo", &"app".parse().unwrap(), &actor).await.unwrap();
                let image = NewImage { digest: digest(image), manifest: "{}".into(), ..NewImage::default() };
                let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
                store.put_manifest(&stream, &image, Some(to), &actor).await.unwrap();
            };
            push(10, 1).await;
            TIME.set(Some(BEGIN + 20 * 60_000));
            store.delete_stream("demo", "app", &actor).await.unwrap();
            push(30, 2).await;
            let at = async |minutes: i64| {
                let stream = store.stream("demo", "app").await.unwrap();
                assert_eq!(stream.project_id, id);
                let past = PastTag { tag: tag.clone(), end: BEGIN + minutes * 60_000 };
                store.manifest_at(&stream, &past).await.unwrap()
            };
            TIME.set(Some(BEGIN + 90 * 60_000));
            assert_eq!((at(5).await, at(25).await), (Past::Nothing, Past::Nothing));
            assert_eq!(at(15).await, Past::Gone(digest(1)), "not what the present stream has");
            assert!(matches!(at(35).await, Past::Manifest(found) if found.digest == digest(2)));
            push(95, 1).await;
            TIME.set(Some(BEGIN + 100 * 60_000));
            assert!(matches!(at(15).await, Past::Manifest(found) if found.digest == digest(1)), "it has it again");
            TIME.set(None);
        }
    }
}
