//! Two servers on one PostgreSQL share the schedule, and when one is killed the other does all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::http::Method;
use sqlx::AnyPool;
use weir::model::Actor;
use weir::server::store::{Store, TagSpec};
use weir::server::wake::Wake;

use super::upstream::Misbehaving;
use crate::support::{FreshPostgres, RunningWeir};
use crate::upstreams::images::TestImage;

const TAGS: usize = 60;
const INTERVAL: Duration = Duration::from_secs(6);
/// What takes longer does not come.
const PATIENCE: Duration = Duration::from_secs(90);

/// Tag and server of each check that is under way, as the database has it: the tag as the registry is asked for it.
async fn in_hand(pool: &AnyPool) -> Vec<(String, String)> {
    sqlx::query_as(
        "select i.upstream_tag, i.lease_owner from tag_imports i where i.lease_owner is not null and i.lease_until is not null",
    )
    .fetch_all(pool)
    .await
    .expect("the leases")
}

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what}: not in {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How often the registry was asked for each tag since then.
fn questions(registry: &Misbehaving, since: Instant) -> BTreeMap<String, usize> {
    let mut questions = BTreeMap::new();
    for (_, path) in registry.heads.lock().expect("the log").iter().filter(|(at, _)| *at > since) {
        let tag = path.rsplit('/').next().expect("a tag").to_owned();
        *questions.entry(tag).or_default() += 1;
    }
    questions
}

/// From now on the database keeps when each check ended, and since when it was due.
async fn keep_checks(pool: &AnyPool) {
    for statement in [
        "create table checks (tag text not null, due_at bigint, ended_at bigint not null)",
        "create function keep_check() returns trigger language plpgsql as $$ begin \
         insert into checks values (new.upstream_tag, old.next_at, new.last_try_at); return new; end $$",
        "create trigger keep_check after update on tag_imports for each row \
         when (new.last_try_at is distinct from old.last_try_at) execute function keep_check()",
    ] {
        sqlx::query(statement).execute(pool).await.expect("kept");
    }
}

/// A project with tags that follow the registry's.
async fn follow(store: &Store, registry: &Misbehaving) {
    let (name, actor) = ("demo".parse().expect("a name"), Actor::system("test"));
    store.create_project(&name, "", "", None, &actor).await.expect("a project");
    for number in 0..TAGS {
        let spec = TagSpec {
            insecure: true,
            interval_ms: Some(i64::try_from(INTERVAL.as_millis()).expect("milliseconds")),
            ..TagSpec::import(registry.reference(&format!("org/app:{number}")))
        };
        let (stream, tag) = ("base".parse().expect("a name"), format!("t{number}").parse().expect("a name"));
        store.set_tag("demo", &stream, &tag, &spec, None, &actor).await.expect("set");
    }
}

#[tokio::test]
async fn two_servers_share_the_work_and_one_of_them_killed_loses_nothing() {
    let Some(database) = FreshPostgres::make().await else {
        assert!(std::env::var_os("CI").is_none(), "PostgreSQL must be there where tests are to be believed");
        eprintln!("not run: it needs PostgreSQL (tools/test-postgres)");
        return;
    };
    let url = database.url();
    let directory = tempfile::tempdir().expect("a directory");
    let key = directory.path().join("key");
    let store = Store::open(&url, &key, Wake::default()).await.expect("the database");
    let registry = Misbehaving::start(&TestImage::new("shared")).await;
    follow(&store, &registry).await;
    let pool = AnyPool::connect(&url).await.expect("the database");
    // Answers take their time, so that some are under way whenever somebody looks.
    registry.delay.store(300, Ordering::Relaxed);
    // A bucket would be the usual place; both may write to the same directory.
    let blobs = format!("file://{}", directory.path().join("blobs").display());
    let key = key.to_str().expect("a path in UTF-8").to_owned();
    let start = |name: &str| {
        let more =
            ["--database-url", &url, "--key-file", &key, "--blob-store", &blobs, "--admin-password", "correct horse"];
        RunningWeir::start(&directory.path().join(name), &more)
    };
    let one = start("one");
    let mut first = String::new();
    until("the first server has something in hand", async || {
        first = in_hand(&pool).await.into_iter().map(|(_, owner)| owner).next().unwrap_or_default();
        !first.is_empty()
    })
    .await;
    let two = start("two");
    until("all are imported", async || {
        let imports = store.list_imports("demo", "", "", 1000).await.expect("listed");
        !imports.iter().any(|due| due.import.outcome == "new")
    })
    .await;
    keep_checks(&pool).await;
    let began = Instant::now();
    let mut owners = BTreeSet::new();
    until("both have something in hand", async || {
        owners.extend(in_hand(&pool).await.into_iter().map(|(_, owner)| owner));
        owners.len() == 2
    })
    .await;
    until("the first one has", async || in_hand(&pool).await.iter().any(|(_, owner)| *owner == first)).await;
    let killed_at = Instant::now();
    one.kill();
    let left_by_one: Vec<_> = in_hand(&pool).await.into_iter().filter(|(_, owner)| *owner == first).collect();
    // What it had in hand is taken up when its lease ends, all else when it is due.
    until("the other one checks every tag, three times", async || {
        let asked = questions(&registry, killed_at);
        asked.len() == TAGS && asked.values().all(|&times| times >= 3)
    })
    .await;
    two.kill();
    let left: Vec<_> = left_by_one.into_iter().chain(in_hand(&pool).await).collect();

    let checks: Vec<(String, Option<i64>, i64)> =
        sqlx::query_as("select tag, due_at, ended_at from checks").fetch_all(&pool).await.expect("the checks");
    for (tag, due_at, ended_at) in &checks {
        let was_due = due_at.is_some_and(|due_at| due_at <= *ended_at);
        assert!(was_due, "{tag} was checked at {ended_at} and due at {due_at:?}");
    }
    // Nobody knows how far a server came with what it had in hand when it was killed. All else was asked once each time it was due.
    let mut again = Vec::new();
    for (tag, times) in questions(&registry, began) {
        let ended = checks.iter().filter(|(of, ..)| *of == tag).count();
        let known = ended + left.iter().filter(|(of, _)| *of == tag).count();
        again.extend(std::iter::repeat_n(tag, times.saturating_sub(known)));
    }
    assert!(again.is_empty(), "asked again with no need: {again:?}; left: {left:?}");
    let gets = registry.upstream.count(&Method::GET);
    assert!(gets <= TAGS * 3 + 10, "{gets} GETs for {TAGS} tags");
}
