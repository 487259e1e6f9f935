//! Figures against what they are figures of: after every step of a random walk, and where quotas and days begin and end.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sqlx::AssertSqlSafe;

use crate::model::{
    Actor, EventKind, ImageLayer, NewImage, RollbackMode, SourceKind, Stream, TagName, Traffic, day_of, now,
};
use crate::server::store::links::Content;
use crate::server::store::testing::{each_store, project};
use crate::server::store::{Error, PullCount, Pulled, Store, TagMove, TagRollback, TagSpec};

const BLOBS: u8 = 9;
const IMAGES: u8 = 5;
const STREAMS: [(&str, &str); 6] = [("a", "x"), ("a", "y"), ("a", "z"), ("b", "x"), ("b", "y"), ("c", "x")];

fn actor() -> Actor {
    Actor::person("ada")
}

fn blob(n: u8) -> String {
    format!("sha256:{:064}", n)
}

fn blob_size(n: u8) -> i64 {
    1 << (n + 1)
}

/// Image `n`: a few of the blobs, and a manifest of a size of its own.
fn image(n: u8) -> NewImage {
    let layer = |n: u8| ImageLayer { layer_digest: blob(n), size: blob_size(n), media_type: "layer".to_owned() };
    NewImage {
        digest: format!("sha256:{:064}", 100 + u32::from(n)),
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        manifest: " ".repeat(1000 * (usize::from(n) + 1)),
        config_digest: Some(blob(n)),
        layers: vec![layer((n + 1) % BLOBS), layer((n + 3) % BLOBS)],
        ..NewImage::default()
    }
}

async fn stream(store: &Store, (project, name): (&str, &str)) -> Stream {
    store.ensure_stream(project, &name.parse().unwrap(), &actor()).await.unwrap()
}

async fn push(store: &Store, stream: &Stream, n: u8, tag: &str) -> Result<(), Error> {
    let image = image(n);
    for digest in image.layers.iter().map(|layer| &layer.layer_digest).chain(&image.config_digest) {
        let number: u8 = digest.trim_start_matches("sha256:").parse().unwrap();
        store.link_blob(&stream.id, digest, blob_size(number), None).await?;
    }
    let tag: TagName = tag.parse().unwrap();
    let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
    store.put_manifest(stream, &image, [to], &actor()).await?;
    Ok(())
}

/// Bytes and own bytes by the id of a stream or a project.
type Figures = BTreeMap<String, (i64, i64)>;

/// What the store says.
async fn told(store: &Store) -> Figures {
    let rows: Vec<(String, i64, i64)> =
        sqlx::query_as("select id, bytes, own_bytes from streams union all select id, bytes, own_bytes from projects")
            .fetch_all(store.pool())
            .await
            .unwrap();
    rows.into_iter().map(|(id, bytes, own)| (id, (bytes, own))).collect()
}

/// What is so: counted one by one from who links what, with sizes as the test knows them.
async fn counted(store: &Store) -> Figures {
    let links: Vec<(String, String, String)> = sqlx::query_as(
        "select s.project_id, r.stream_id, r.digest from repository_blobs r join streams s on s.id = r.stream_id \
         union all select s.project_id, r.stream_id, r.digest from repository_images r join streams s on s.id = r.stream_id",
    )
    .fetch_all(store.pool())
    .await
    .unwrap();
    let sizes: BTreeMap<String, i64> = (0..BLOBS)
        .map(|n| (blob(n), blob_size(n)))
        .chain((0..IMAGES).map(|n| (image(n).digest, i64::try_from(image(n).manifest.len()).unwrap())))
        .collect();
    let ids: Vec<(String,)> = sqlx::query_as("select id from streams union all select id from projects")
        .fetch_all(store.pool())
        .await
        .unwrap();
    let mut figures: Figures = ids.into_iter().map(|(id,)| (id, (0, 0))).collect();
    for (digest, size) in &sizes {
        let of = |holder: fn(&(String, String, String)) -> &String| {
            let holders = links.iter().filter(|link| link.2 == *digest).map(holder);
            holders.cloned().collect::<BTreeSet<_>>()
        };
        for holders in [of(|link| &link.0), of(|link| &link.1)] {
            for holder in &holders {
                let (bytes, own) = figures.get_mut(holder).expect("whoever links is there");
                *bytes += size;
                *own += if holders.len() == 1 { *size } else { 0 };
            }
        }
    }
    figures
}

/// One random thing that people, builds or the collector do. Refusals are part of life.
async fn step(store: &Store, random: &mut StdRng) -> String {
    let place = STREAMS[random.random_range(0..STREAMS.len())];
    let here = stream(store, place).await;
    let there = stream(store, STREAMS[random.random_range(0..STREAMS.len())]).await;
    let (n, i) = (random.random_range(0..BLOBS), random.random_range(0..IMAGES));
    let tag = ["one", "two"][random.random_range(0..2)];
    let done = match random.random_range(0..20) {
        0..=2 => store.link_blob(&here.id, &blob(n), blob_size(n), None).await.map(|()| "link"),
        3..=4 => store.mount_blob(&there.id, &here.id, &blob(n)).await.map(|_| "mount"),
        5..=8 => push(store, &here, i, tag).await.map(|()| "push"),
        9..=10 => store.unlink_blob(&here, &blob(n), &actor()).await.map(|_| "unlink"),
        11..=12 => store.delete_manifest(&here, &image(i).digest, &actor()).await.map(|_| "delete manifest"),
        13..=14 => follow(store, &here, &there, tag).await.map(|()| "follow"),
        15 => store.delete_tag(place.0, place.1, tag, &actor()).await.map(|_| "delete tag"),
        16 => roll_back(store, &here, tag).await.map(|()| "roll back"),
        17 => unlink_in_bulk(store, n).await.map(|()| "bulk"),
        18 => store.delete_stream(place.0, place.1, &actor()).await.map(|()| "delete stream"),
        _ if random.random_range(0..4) == 0 => {
            store.delete_project("c", &actor()).await.unwrap();
            project(store, "c").await;
            Ok("delete project")
        }
        _ => Ok("nothing"),
    };
    match done {
        Ok(what) => format!("{what} in {place:?}"),
        Err(Error::Db(cause)) => panic!("the database failed: {cause}"),
        Err(refused) => format!("refused in {place:?}: {refused}"),
    }
}

async fn follow(store: &Store, here: &Stream, there: &Stream, tag: &str) -> Result<(), Error> {
    let source = Some((SourceKind::ImageStreamTag, format!("{}:one", there.name)));
    let spec = TagSpec { source, source_project: Some(there.project.clone()), ..TagSpec::default() };
    store.set_tag(&here.project, &here.name.parse().unwrap(), &tag.parse().unwrap(), &spec, None, &actor()).await?;
    Ok(())
}

async fn roll_back(store: &Store, here: &Stream, tag: &str) -> Result<(), Error> {
    let tag = store.tag(&here.project, &here.name, tag).await?;
    let Some(first) = store.list_history(&tag.id, None, 100).await?.pop() else { return Ok(()) };
    let wish = TagRollback { mode: RollbackMode::Tag, reject: false, ..TagRollback::to(first.sequence) };
    store.roll_back_tag(&here.project, &here.name, &tag.name, &wish, &actor()).await?;
    Ok(())
}

/// What the collector does: many links of many streams at once.
async fn unlink_in_bulk(store: &Store, n: u8) -> Result<(), Error> {
    let mut tx = store.write_tx().await?;
    sqlx::query("update repository_blobs set leaving = 1 where digest = $1 or digest = $2")
        .bind(blob(n))
        .bind(blob((n + 4) % BLOBS))
        .execute(&mut *tx)
        .await?;
    tx.remove_leaving(Content::Blob).await?;
    sqlx::query("update repository_images set leaving = 1 where digest = $1 and stream_id in (select id from streams where name = 'x')")
        .bind(image(n % IMAGES).digest)
        .execute(&mut *tx)
        .await?;
    tx.remove_leaving(Content::Manifest).await?;
    tx.commit().await
}

#[tokio::test]
async fn figures_are_true_after_every_step() {
    for store in each_store().await {
        for name in ["a", "b", "c"] {
            project(&store, name).await;
        }
        let mut random = StdRng::seed_from_u64(7);
        let (mut seen, mut shared) = (BTreeSet::new(), false);
        for number in 0..400 {
            let what = step(&store, &mut random).await;
            let (told, counted) = (told(&store).await, counted(&store).await);
            assert_eq!(told, counted, "step {number}: {what}");
            shared |= told.values().any(|(bytes, own)| own < bytes && *own > 0);
            seen.insert(what.split(" in ").next().unwrap_or_default().to_owned());
        }
        assert_eq!(store.list_usage_faults().await.unwrap(), [], "the operator's own check says so, too");
        assert!(shared, "something was shared in part");
        for what in
            ["link", "mount", "push", "unlink", "delete manifest", "follow", "roll back", "bulk", "delete stream"]
        {
            assert!(seen.contains(what), "{what} happened: {seen:?}");
        }
        the_migration_counts_the_same(&store).await;
    }
}

/// Figures of databases from before there were any.
async fn the_migration_counts_the_same(store: &Store) {
    for place in STREAMS {
        let stream = stream(store, place).await;
        push(store, &stream, u8::try_from(place.1.len() + place.0.len()).unwrap() % IMAGES, "one").await.unwrap();
    }
    let before = told(store).await;
    sqlx::query("update streams set bytes = bytes + 1 where name = 'y'").execute(store.pool()).await.unwrap();
    let faults = store.list_usage_faults().await.unwrap();
    assert_eq!(faults.iter().map(|fault| &*fault.name).collect::<Vec<_>>(), ["a/y", "b/y"]);
    let mut tx = store.write_tx().await.unwrap();
    for statement in [
        "update repository_blobs set project_id = null, size = 0",
        "update repository_images set project_id = null, size = 0",
        "update streams set bytes = 0, own_bytes = 0",
        "update projects set bytes = 0, own_bytes = 0",
    ] {
        sqlx::query(statement).execute(&mut *tx).await.unwrap();
    }
    let migration = include_str!("../../../../migrations/0005_usage.sql");
    let lines: Vec<_> = migration.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
    let updates: Vec<_> =
        lines.join("\n").split(';').map(|s| s.trim().to_owned()).filter(|s| s.starts_with("update")).collect();
    assert_eq!(updates.len(), 4, "{updates:?}");
    for statement in updates {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
    assert_eq!(told(store).await, before);
}

#[tokio::test]
async fn a_quota_stops_what_comes_in_and_nothing_else() {
    for store in each_store().await {
        for name in ["a", "b"] {
            project(&store, name).await;
        }
        let (x, y, other) =
            (stream(&store, ("a", "x")).await, stream(&store, ("a", "y")).await, stream(&store, ("b", "x")).await);
        push(&store, &other, 0, "one").await.unwrap();
        store.set_quota("a", Some(100), &actor()).await.unwrap();

        // Two at once, and room for one: the other one is refused, and leaves nothing behind.
        let blob_five = blob(5);
        let (first, second) = tokio::join!(
            store.link_blob(&x.id, &blob_five, 64, None),
            store.link_blob(&y.id, "sha256:other", 64, None)
        );
        let refused = [first, second].into_iter().find_map(Result::err).expect("one is refused");
        assert_eq!(
            refused.to_string(),
            "the project a may hold 100 B and holds 64 B: delete images or ask for a larger quota"
        );
        let usage = store.project_usage("a").await.unwrap();
        assert_eq!((usage.bytes, usage.own_bytes, usage.quota_bytes), (64, 64, Some(100)));

        // Up to the last byte; what the project has costs nothing in another of its streams.
        store.link_blob(&x.id, "sha256:rest", 36, None).await.unwrap();
        store.link_blob(&y.id, "sha256:rest", 36, None).await.unwrap();
        store.check_room(&y.id, &[("sha256:rest", 36)]).await.unwrap();
        for full in [
            store.check_not_full(&x.id).await,
            store.check_room(&x.id, &[("sha256:more", 1)]).await,
            store.mount_blob(&other.id, &x.id, &blob(0)).await.map(|_| ()),
            push(&store, &x, 0, "one").await,
        ] {
            assert!(matches!(full, Err(Error::Quota { holds: 100, .. })), "{full:?}");
        }
        store.check_not_full(&other.id).await.unwrap();

        // Following is no way around it that could be closed without stopping the other project's tag: it counts, and it moves.
        follow(&store, &x, &other, "one").await.unwrap();
        let tag = store.tag("a", "x", "one").await.unwrap();
        assert_eq!(tag.digest.as_deref(), Some(image(0).digest.as_str()));
        assert!(store.project_usage("a").await.unwrap().bytes > 1000);

        store.set_quota("a", None, &actor()).await.unwrap();
        push(&store, &x, 1, "two").await.unwrap();
        let quotas = store.list_ledger(Some("a"), None, 100).await.unwrap();
        let quotas: Vec<_> = quotas
            .into_iter()
            .filter(|row| row.action == "project.quota")
            .map(|row| (row.from_value, row.to_value))
            .collect();
        let bytes = || Some("100 bytes".to_owned());
        assert_eq!(quotas, [(bytes(), None), (None, bytes())]);
    }
}

#[tokio::test]
async fn pulls_count_for_the_tag_they_were_meant_for() {
    for store in each_store().await {
        project(&store, "a").await;
        let here = stream(&store, ("a", "x")).await;
        push(&store, &here, 0, "one").await.unwrap();
        push(&store, &here, 1, "two").await.unwrap();
        push(&store, &here, 2, "two").await.unwrap();
        let today = day_of(now());
        let pulls = |pulled: Pulled, day: i64, count: i64| PullCount { stream_id: here.id.clone(), pulled, day, count };
        let digest = |n: u8| Pulled::Digest(image(n).digest);
        let bundle = [
            pulls(Pulled::Tag("one".to_owned()), today, 2),
            pulls(Pulled::Tag("gone".to_owned()), today, 100),
            pulls(digest(2), today - 1, 3),
            pulls(digest(1), today, 4),
            pulls(digest(4), today, 100),
            pulls(Pulled::Tag("two".to_owned()), today - 30, 100),
            PullCount { stream_id: "no such stream".to_owned(), ..pulls(digest(2), today, 100) },
        ];
        store.add_pulls(&bundle).await.unwrap();
        store.add_pulls(&bundle[..1]).await.unwrap();
        let tag = async |name: &str| store.tag_traffic(&store.tag("a", "x", name).await.unwrap().id).await.unwrap();
        assert_eq!(tag("one").await, Traffic { pulls: 4, pushes: 1 }, "two replicas add up");
        assert_eq!(tag("two").await, Traffic { pulls: 7, pushes: 2 }, "the digest now, and the one before");
        let usage = store.stream_usage(&here.id).await.unwrap();
        assert_eq!((usage.pulls, usage.pushes), (11, 3));
        assert_eq!(store.list_stream_usage("a", "", 10).await.unwrap(), [usage]);
        assert_eq!(store.sweep_traffic().await.unwrap(), 0);
        store.add_pulls(&[pulls(Pulled::Tag("one".to_owned()), today - 401, 1)]).await.unwrap();
        assert_eq!(store.sweep_traffic().await.unwrap(), 2);
    }
}
