//! Two servers on one PostgreSQL share the schedule, and when one is killed the other does all of it.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::http::Method;
use weir::model::Actor;
use weir::server::store::{Store, TagSpec};
use weir::server::wake::Wake;

use super::upstream::Misbehaving;
use crate::support::{FreshPostgres, RunningWeir};
use crate::upstreams::images::TestImage;

const TAGS: usize = 60;
const INTERVAL: Duration = Duration::from_secs(6);
/// What a machine that does other things too may be late.
const SLACK: Duration = Duration::from_secs(10);
/// A server that is gone is waited for so long.
const LEASE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn two_servers_share_the_work_and_one_of_them_killed_loses_nothing() {
    let Some(database) = FreshPostgres::make().await else {
        eprintln!("not run: it needs PostgreSQL (tools/test-postgres)");
        return;
    };
    let url = database.url();
    let directory = tempfile::tempdir().expect("a directory");
    let key = directory.path().join("key");
    let store = Store::open(&url, &key, Wake::default()).await.expect("the database");
    let name = "demo".parse().expect("a name");
    store.create_project(&name, "", "", None, &Actor::system("test")).await.expect("a project");
    let registry = Misbehaving::start(&TestImage::new("shared")).await;
    for number in 0..TAGS {
        let spec = TagSpec {
            insecure: true,
            interval_ms: Some(i64::try_from(INTERVAL.as_millis()).expect("milliseconds")),
            ..TagSpec::import(registry.reference(&format!("org/app:{number}")))
        };
        let tag = format!("t{number}").parse().expect("a name");
        store
            .set_tag("demo", &"base".parse().expect("a name"), &tag, &spec, None, &Actor::system("test"))
            .await
            .expect("set");
    }
    // A bucket would be the usual place; both may write to the same directory.
    let blobs = format!("file://{}", directory.path().join("blobs").display());
    let key = key.to_str().expect("a path in UTF-8").to_owned();
    let start = |name: &str| {
        let more =
            ["--database-url", &url, "--key-file", &key, "--blob-store", &blobs, "--admin-password", "correct horse"];
        RunningWeir::start(&directory.path().join(name), &more)
    };
    let (one, two) = (start("one"), start("two"));
    let deadline = Instant::now() + Duration::from_secs(90);
    while store.list_imports("demo", "", "", 1000).await.expect("listed").iter().any(|due| due.import.outcome == "new")
    {
        assert!(Instant::now() < deadline, "not all were imported");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // Answers take their time, so that some are under way when one is killed.
    registry.delay.store(300, Ordering::Relaxed);
    tokio::time::sleep(INTERVAL * 3).await;
    let killed_at = Instant::now();
    one.kill();
    tokio::time::sleep(LEASE + INTERVAL * 2).await;
    let ended = Instant::now();
    drop(two);

    let mut by_tag: HashMap<String, Vec<Instant>> = HashMap::new();
    for (at, path) in registry.heads.lock().expect("the log").iter() {
        by_tag.entry(path.clone()).or_default().push(*at);
    }
    assert_eq!(by_tag.len(), TAGS, "every tag was checked");
    let least = INTERVAL * 75 / 100;
    let (mut again, mut probes) = (0, 0);
    for (path, times) in &by_tag {
        for pair in times.windows(2) {
            let gap = pair[1] - pair[0];
            if gap >= least {
                continue;
            }
            // A registry that is new is asked a second time to see what it counts; what the killed server had in hand is asked again.
            if pair[0] >= killed_at - Duration::from_secs(1) {
                again += 1
            } else {
                probes += 1
            }
            assert!(probes <= 4 && again <= 8, "{path} was asked again after {gap:?}");
        }
        let last = *times.last().expect("asked");
        assert!(ended - last <= INTERVAL + SLACK, "{path} was lost: last asked {:?} ago", ended - last);
    }
    let gets = registry.upstream.count(&Method::GET);
    assert!(gets <= TAGS * 3 + 10, "{gets} GETs for {TAGS} tags");
}
