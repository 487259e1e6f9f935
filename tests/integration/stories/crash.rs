//! Kill the server again and again while it takes pushes, builds and rolls out: nothing it acknowledged is lost, nothing stays
//! half-done.
//!
//! `WEIR_TEST_SEED` repeats a run's moments of death; how far everything was by then differs all the same.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use secrecy::ExposeSecret as _;
use tokio::time::sleep;
use weir::model::{Actor, AppSpec, BuildPhase, Role, RolloutPhase, StreamTag, TagEvent};
use weir::server::hash::sha256;
use weir::server::store::{AppFields, NewToken, Store};

use super::inline_config;
use super::load::{Acknowledged, Pusher, busybox};
use super::machine::{Machine, processes_with};

const ROUNDS: u64 = 22;
const PUSHERS: usize = 4;
/// The server lives at most this long.
const LONGEST_LIFE_MS: u64 = 2_500;
/// How long the new server may take to mark the builds that its predecessor left.
const MARKED_WITHIN: Duration = Duration::from_secs(30);
/// How long everything may take in the end.
const SETTLED_WITHIN: Duration = Duration::from_secs(120);

const PROJECT: &str = "crash";
const DOCKERFILE: &str = "FROM base:latest\nRUN echo built > /etc/built; sleep 0.3\nCMD [\"sleep\", \"100000\"]\n";

/// A build that was under way when the server died.
struct LostBuild {
    id: String,
    number: i64,
}

/// What was seen over all rounds.
#[derive(Default)]
struct Tally {
    acknowledged: Vec<Acknowledged>,
    builds: Vec<LostBuild>,
    rollouts: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_at_any_moment() {
    let seed = seed();
    println!("WEIR_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut machine = Machine::new().await;
    let pusher = set_up(&machine).await;
    machine.start().await;
    for (stream, variable) in [("base", "BASE=first"), ("web", "WEB=first")] {
        pusher.push(stream, "latest", &busybox(variable), false).await.expect("pushed");
    }
    make_apps(&machine).await;
    settle(&machine).await;

    let mut tally = Tally::default();
    for round in 0..ROUNDS {
        let life = Duration::from_millis(random.random_range(0..=LONGEST_LIFE_MS));
        let with_rollout = random.random_bool(0.5);
        let fresh = live_and_die(&mut machine, &pusher, random.random(), life, with_rollout, round).await;
        println!("round {round}: lived {life:?}, acknowledged {} pushes", fresh.len());
        let lost = left_behind(&machine, &mut tally).await;
        if round % 4 == 0 {
            verify(&machine).await;
        }
        machine.start().await;
        for push in &fresh {
            pulls(&pusher, push).await;
        }
        has_rows(&machine, &fresh).await;
        are_marked(&machine, &lost).await;
        tally.acknowledged.extend(fresh);
        tally.builds.extend(lost);
    }

    settle(&machine).await;
    for push in &tally.acknowledged {
        pulls(&pusher, push).await;
    }
    has_rows(&machine, &tally.acknowledged).await;
    built_again(&machine, &tally.builds).await;
    println!(
        "killed {ROUNDS} times: {} pushes acknowledged, {} builds and {} rollouts caught under way",
        tally.acknowledged.len(),
        tally.builds.len(),
        tally.rollouts
    );
    assert!(!tally.acknowledged.is_empty() && !tally.builds.is_empty() && tally.rollouts > 0, "it caught too little");
    remove_apps(&machine).await;
    machine.kill().await;
    verify(&machine).await;
}

#[expect(clippy::disallowed_methods, reason = "the server's settings are not concerned")]
fn seed() -> u64 {
    std::env::var("WEIR_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random)
}

/// The project: a config built on `base`, an app that runs what it builds, and one that runs what is pushed.
async fn set_up(machine: &Machine) -> Pusher {
    let (store, actor) = (machine.store().await, Actor::system("test"));
    store.create_project(&PROJECT.parse().expect("a name"), "", "", None, &actor).await.expect("a project");
    let user = store.create_user("ada", "", None, false, &actor).await.expect("a user");
    store.grant_role(PROJECT, "ada", Role::Editor, &actor).await.expect("a role");
    let (_, token) = store.create_token(NewToken::user("test", &user.id), &actor).await.expect("a token");
    let fields = inline_config(PROJECT, "built", DOCKERFILE);
    store.create_config(PROJECT, &"built".parse().expect("a name"), &fields, &actor).await.expect("a config");
    let pusher = Pusher::new(&machine.url(), PROJECT, token.expose_secret());
    store.close().await;
    pusher
}

/// Apps need their tags, so they come after the first images.
async fn make_apps(machine: &Machine) {
    let store = machine.store().await;
    for name in ["built", "web"] {
        let fields = AppFields {
            labels: "{}".to_owned(),
            annotations: "{}".to_owned(),
            spec: AppSpec::default(),
            image: StreamTag { project: PROJECT.to_owned(), stream: name.to_owned(), tag: "latest".to_owned() },
            automatic: true,
        };
        let made = store.create_app(PROJECT, &name.parse().expect("a name"), &fields, &Actor::system("test")).await;
        made.expect("an app");
    }
    store.close().await;
}

/// Lets clients push, a build start and now and then a rollout; kills the server after `life`; gives what it acknowledged.
async fn live_and_die(
    machine: &mut Machine,
    pusher: &Pusher,
    seed: u64,
    life: Duration,
    with_rollout: bool,
    round: u64,
) -> Vec<Acknowledged> {
    let mut random = StdRng::seed_from_u64(seed);
    let clients: Vec<_> = (0..PUSHERS)
        .map(|number| pusher.clone().push_until_killed(number, random.random()))
        .map(tokio::spawn)
        .collect();
    let mover = tokio::spawn({
        let pusher = pusher.clone();
        async move {
            let mut done = Vec::new();
            for stream in ["base", "web"].into_iter().take(1 + usize::from(with_rollout)) {
                let image = busybox(&format!("ROUND={stream}-{round}"));
                if pusher.push(stream, "latest", &image, false).await.is_err() {
                    break;
                }
                done.push(Acknowledged { stream: stream.to_owned(), tag: "latest".to_owned(), image });
            }
            done
        }
    });
    sleep(life).await;
    machine.kill().await;
    let mut acknowledged = mover.await.expect("the pushes that move things");
    for client in join_all(clients).await {
        acknowledged.extend(client.expect("a client"));
    }
    acknowledged
}

/// The builds under way in the database of the dead server; counts the rollouts.
async fn left_behind(machine: &Machine, tally: &mut Tally) -> Vec<LostBuild> {
    let (wreck, _directory) = machine.wreck().await;
    let builds: Vec<(String, i64)> =
        sqlx::query_as("select id, number from builds where phase in ('Pending', 'Running')")
            .fetch_all(&wreck)
            .await
            .expect("builds");
    let rollouts: Vec<(String,)> = sqlx::query_as("select id from rollouts where phase in ('Pending', 'Running')")
        .fetch_all(&wreck)
        .await
        .expect("rollouts");
    wreck.close().await;
    tally.rollouts += rollouts.len();
    builds.into_iter().map(|(id, number)| LostBuild { id, number }).collect()
}

async fn pulls(pusher: &Pusher, push: &Acknowledged) {
    let Acknowledged { stream, image, .. } = push;
    let paths = [
        (format!("{stream}/manifests/{}", image.digest()), &image.manifest),
        (format!("{stream}/blobs/{}", sha256(&image.config)), &image.config),
        (format!("{stream}/blobs/{}", sha256(&image.layer)), &image.layer),
    ];
    for (path, bytes) in paths {
        let answer = pusher.get(&path).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path} was acknowledged");
        assert!(answer.bytes().await.expect("bytes") == *bytes, "{path} has other bytes");
    }
}

/// Every acknowledged push has its row, and those of one client to its own tag are in the order in which they were acknowledged.
async fn has_rows(machine: &Machine, pushes: &[Acknowledged]) {
    let store = machine.store().await;
    let mut histories: HashMap<(&str, &str), Vec<TagEvent>> = HashMap::new();
    let mut last: HashMap<(&str, &str), i64> = HashMap::new();
    for push in pushes {
        let tag = (push.stream.as_str(), push.tag.as_str());
        if let Entry::Vacant(place) = histories.entry(tag) {
            let found = store.tag(PROJECT, tag.0, tag.1).await.expect("the tag that was pushed");
            place.insert(store.list_history(&found.id, None, 10_000).await.expect("its history"));
        }
        let digest = push.image.digest();
        let row = histories[&tag].iter().find(|row| row.digest.as_deref() == Some(digest.as_str()));
        let Some(row) = row else {
            panic!("the push of {digest} to {tag:?} was acknowledged and is not in its history")
        };
        if tag.0 != "shared" {
            let before = last.insert(tag, row.number);
            assert!(before.is_none_or(|before| before < row.number), "{tag:?}: {before:?} and then {}", row.number);
        }
    }
    store.close().await;
}

/// The new server ends what is left of the builds of the dead one, and says so.
async fn are_marked(machine: &Machine, lost: &[LostBuild]) {
    let began = Instant::now();
    let store = machine.store().await;
    for lost in lost {
        let build = loop {
            let build = store.build_by_id(&lost.id).await.expect("the build");
            if build.phase.is_final() {
                break build;
            }
            assert!(
                began.elapsed() < MARKED_WITHIN,
                "build {} is still {}\n{}",
                lost.number,
                build.phase,
                machine.log_end()
            );
            sleep(Duration::from_millis(50)).await;
        };
        let end = (build.phase, build.reason.as_deref());
        // The image may have arrived in the moment before the end.
        let arrived = build.output_sequence.is_some();
        let expected =
            if arrived { (BuildPhase::Complete, None) } else { (BuildPhase::Error, Some("BuildPodDeleted")) };
        assert_eq!(end, expected, "build {}: {:?}", lost.number, build.message);
        let left = processes_with(&format!("WEIR_BUILD_ID={}", lost.id));
        assert!(left.is_empty(), "build {} is over, but these of its processes live: {left:?}", lost.number);
    }
    store.close().await;
}

/// Each whose image did not arrive was requested again, and the newest request of all came to a good end.
async fn built_again(machine: &Machine, lost: &[LostBuild]) {
    let store = machine.store().await;
    let config = store.config(PROJECT, "built").await.expect("the config");
    for lost in lost {
        let arrived = store.build_by_id(&lost.id).await.expect("the build").output_sequence.is_some();
        assert!(arrived || lost.number < config.last_number, "build {} was lost and is the last one", lost.number);
    }
    for build in store.list_builds(&config.id, None, 1000).await.expect("builds") {
        let left = processes_with(&format!("WEIR_BUILD_ID={}", build.id));
        assert!(left.is_empty(), "build {} is over, but these of its processes live: {left:?}", build.number);
    }
    store.close().await;
}

/// Waits until nothing is under way, and everything is what it should be: the config built on the newest base, apps on the newest images.
async fn settle(machine: &Machine) {
    let (store, database, began) = (machine.store().await, machine.database().await, Instant::now());
    while let Err(why) = settled(&store, &database).await {
        assert!(began.elapsed() < SETTLED_WITHIN, "not settled: {why}\n{}", machine.log_end());
        sleep(Duration::from_millis(200)).await;
    }
    database.close().await;
    store.close().await;
}

async fn settled(store: &Store, database: &sqlx::AnyPool) -> Result<(), String> {
    let busy: (i64, i64) = sqlx::query_as(
        "select (select count(*) from builds where phase in ('New', 'Pending', 'Running')), \
         (select count(*) from rollouts where phase in ('Pending', 'Running'))",
    )
    .fetch_one(database)
    .await
    .expect("counted");
    if busy != (0, 0) {
        return Err(format!("{} builds and {} rollouts are under way", busy.0, busy.1));
    }
    let tag = async |stream| store.find_tag(PROJECT, stream, "latest").await.expect("tags").and_then(|tag| tag.digest);
    let config = store.config(PROJECT, "built").await.expect("the config");
    let Some(build) = store.list_builds(&config.id, None, 1).await.expect("builds").into_iter().next() else {
        return Err("nothing was built".to_owned());
    };
    let used = build.inputs().expect("inputs")[0].digest.clone();
    if build.phase != BuildPhase::Complete || used != tag("base").await {
        let log = store.read_log(&build.id, (build.log_lines - 20).max(1), 20).await.expect("its log");
        let (name, phase, message) = (build.name(), build.phase, build.message);
        return Err(format!("{name} is {phase} ({message:?}) and used {used:?}; its log ends: {log:#?}"));
    }
    if build.output_digest != tag("built").await {
        return Err(format!("{} made {:?}, which its tag does not have", build.name(), build.output_digest));
    }
    for name in ["built", "web"] {
        let app = store.app(PROJECT, name).await.expect("the app");
        let Some(rollout) = store.find_rollout(&app.id, app.last_number).await.expect("rollouts") else {
            return Err(format!("{name} was not rolled out"));
        };
        if rollout.phase != RolloutPhase::Complete || Some(&rollout.digest) != tag(name).await.as_ref() {
            return Err(format!("rollout {} of {name} is {}: {:?}", rollout.number, rollout.phase, rollout.message));
        }
    }
    Ok(())
}

async fn verify(machine: &Machine) {
    let verified = machine.verify().await;
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(verified.status.success(), "{said}{}", String::from_utf8_lossy(&verified.stderr));
}

/// Deletes the apps and waits until the engine has forgotten them.
async fn remove_apps(machine: &Machine) {
    let store = machine.store().await;
    for name in ["built", "web"] {
        store.delete_app(PROJECT, name, &Actor::system("test")).await.expect("deleted");
    }
    store.close().await;
    let began = Instant::now();
    while !machine.services().await.is_empty() {
        assert!(began.elapsed() < Duration::from_secs(60), "services stay:\n{}", machine.log_end());
        sleep(Duration::from_millis(200)).await;
    }
}
