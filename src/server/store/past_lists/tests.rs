use super::*;
use crate::model::time::testing::TIME;
use crate::model::{
    Actor, AppSpec, BuildConfigSpec, EventKind, KnownInputs, NewImage, RolloutPhase, Source, StreamTag,
};
use crate::server::store::testing::{TestStore, each_store, project};
use crate::server::store::{AppFields, Backend, BuildEnd, BuildRequest, ConfigFields, Entry, TagMove};

/// 2020-01-01T00:00Z; the clock of these tests goes by hours.
const BEGIN: i64 = 1_577_836_800_000;
const HOUR: i64 = 3_600_000;

fn ada() -> Actor {
    Actor::person("ada")
}

fn it_is(hours: i64) {
    TIME.set(Some(BEGIN + hours * HOUR));
}

/// The moment half an hour after an hour.
fn after(hours: i64) -> Moment {
    Moment { end: BEGIN + hours * HOUR + HOUR / 2, text: String::new(), words: format!("after hour {hours}") }
}

async fn config(store: &TestStore, name: &str) {
    let source = Source { dockerfile: Some("FROM scratch\n".to_owned()), ..Source::default() };
    let spec = BuildConfigSpec::new(source, name.parse().unwrap(), "latest".parse().unwrap());
    let fields = ConfigFields { config_trigger: false, ..ConfigFields::new(spec, KnownInputs::All(Vec::new())) };
    store.create_config("demo", &name.parse().unwrap(), &fields, &ada()).await.unwrap();
}

async fn start(store: &TestStore, name: &str) -> Build {
    store.start_build("demo", name, BuildRequest::manual(ada())).await.unwrap()
}

async fn run(store: &TestStore, build: &Build, to: BuildPhase) {
    let claimed = store.claim_build("worker", 60_000).await.unwrap().expect("a build is queued");
    assert_eq!(claimed.id, build.id);
    store.record_running(build).await.unwrap();
    it_is((crate::model::now() - BEGIN) / HOUR + 2);
    let end = BuildEnd { phase: to, reason: None, message: None, digest: None };
    assert!(store.finish_build(build, &end).await.unwrap());
}

/// Names and phases of the project's builds at a moment.
async fn builds(store: &TestStore, hours: i64) -> Vec<(String, BuildPhase)> {
    let builds = store.list_builds_then("demo", &after(hours), 0, 10).await.unwrap();
    builds.into_iter().map(|build| (build.name(), build.phase)).collect()
}

#[tokio::test]
async fn builds_are_listed_with_the_phase_they_had() {
    use BuildPhase::{Complete, New, Running};
    for store in each_store().await {
        it_is(0);
        let id = project(&store, "demo").await;
        config(&store, "app").await;
        it_is(1);
        let first = start(&store, "app").await;
        it_is(3);
        // It runs from hour 3 to hour 5.
        run(&store, &first, Complete).await;
        it_is(6);
        start(&store, "app").await;
        it_is(7);
        config(&store, "late").await;
        let told = |pairs: &[(&str, BuildPhase)]| pairs.iter().map(|(n, p)| ((*n).to_owned(), *p)).collect::<Vec<_>>();
        for (hours, expected) in [
            (0, told(&[])),
            (1, told(&[("app-1", New)])),
            (2, told(&[("app-1", New)])),
            (3, told(&[("app-1", Running)])),
            (5, told(&[("app-1", Complete)])),
            (6, told(&[("app-1", Complete), ("app-2", New)])),
        ] {
            assert_eq!(builds(&store, hours).await, expected, "after hour {hours}");
        }
        let running = store.find_build_then("demo", "app", 1, &after(3)).await.unwrap().unwrap();
        assert_eq!((running.finished_at, running.started_at), (None, Some(BEGIN + 3 * HOUR)));
        assert_eq!(store.find_build_then("demo", "app", 2, &after(5)).await.unwrap(), None);
        let page = store.list_builds_then("demo", &after(6), first.sequence, 10).await.unwrap();
        assert_eq!(page.iter().map(Build::name).collect::<Vec<_>>(), ["app-2"]);

        let configs = async |hours: i64| {
            let configs = store.list_configs_then(&id, &after(hours), "", 10).await.unwrap();
            let brief = configs.iter().map(|one| (one.name.clone(), one.number, one.phase_then(&after(hours))));
            brief.collect::<Vec<_>>()
        };
        assert_eq!(configs(0).await, [("app".to_owned(), None, None)]);
        assert_eq!(configs(3).await, [("app".to_owned(), Some(1), Some(Running))]);
        assert_eq!(configs(7).await, [("app".to_owned(), Some(2), Some(New)), ("late".to_owned(), None, None)]);
        assert_eq!(store.list_configs_then(&id, &after(7), "app", 10).await.unwrap().len(), 1);
        TIME.set(None);
    }
}

#[tokio::test]
async fn what_was_deleted_or_changed_since_is_as_it_was() {
    use BuildPhase::Complete;
    for store in each_store().await {
        it_is(0);
        let id = project(&store, "demo").await;
        config(&store, "app").await;
        let spec = |dockerfile: &str| {
            let source = Source { dockerfile: Some(dockerfile.to_owned()), ..Source::default() };
            BuildConfigSpec::new(source, "app".parse().unwrap(), "latest".parse().unwrap())
        };
        it_is(1);
        for number in [1, 2] {
            let build = start(&store, "app").await;
            it_is(number * 2);
            run(&store, &build, Complete).await;
        }
        it_is(7);
        let changed = ConfigFields::new(spec("FROM scratch\nRUN true\n"), KnownInputs::All(Vec::new()));
        store.update_config("demo", "app", &changed, None, &ada()).await.unwrap();
        it_is(8);
        store.delete_build("demo", "app", 2, &ada()).await.unwrap();
        it_is(9);
        store.delete_config("demo", "app", &ada()).await.unwrap();
        it_is(11);
        config(&store, "app").await;
        let said = async |hours: i64| {
            let config = store.find_config_then(&id, "app", &after(hours)).await.unwrap()?;
            let dockerfile = config.spec().unwrap().unwrap().source.dockerfile.unwrap();
            Some((dockerfile.contains("RUN true"), config.number, config.deleted_at.is_some()))
        };
        assert_eq!(said(0).await, Some((false, None, true)));
        assert_eq!(said(6).await, Some((false, Some(2), true)));
        assert_eq!(said(7).await, Some((true, Some(2), true)), "changed, and its second build was there");
        assert_eq!(said(8).await, Some((true, Some(1), true)), "that build was deleted");
        assert_eq!(said(10).await, None);
        assert_eq!(said(12).await, Some((false, None, false)));
        let one = |name: &str| (name.to_owned(), Complete);
        assert_eq!(builds(&store, 7).await, [one("app-1"), one("app-2")]);
        assert_eq!(builds(&store, 8).await, [one("app-1")]);
        assert_eq!(builds(&store, 10).await, []);
        let then = store.find_config_then(&id, "app", &after(7)).await.unwrap().unwrap();
        let page = store.list_config_builds_then(&then.id, &after(7), Some(2), 10).await.unwrap();
        assert_eq!(page.iter().map(|build| build.number).collect::<Vec<_>>(), [1]);
        assert_eq!(store.find_build_then("demo", "app", 2, &after(7)).await.unwrap().unwrap().phase, Complete);
        assert_eq!(store.find_build_then("demo", "app", 2, &after(8)).await.unwrap(), None);
        // Gone with the project, as everything is.
        store.delete_config("demo", "app", &ada()).await.unwrap();
        store.delete_project("demo", &ada()).await.unwrap();
        for table in ["ended_configs", "ended_builds", "former_configs"] {
            let count = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
            let (rows,): (i64,) = sqlx::query_as(count).fetch_one(store.pool()).await.unwrap();
            assert_eq!(rows, 0, "{table}");
        }
        TIME.set(None);
    }
}

#[tokio::test]
async fn rollouts_are_listed_with_the_phase_they_had() {
    use RolloutPhase::{Complete, Pending, Running};
    for store in each_store().await {
        it_is(0);
        project(&store, "demo").await;
        let stream = store.ensure_stream("demo", &"web".parse().unwrap(), &ada()).await.unwrap();
        let tag = "latest".parse().unwrap();
        let push = async |letter: &str| {
            let image = NewImage {
                digest: format!("sha256:{}", letter.repeat(64)),
                media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
                manifest: "{}".to_owned(),
                annotations: "{}".to_owned(),
                ..NewImage::default()
            };
            let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
            store.put_manifest(&stream, &image, Some(to), &ada()).await.unwrap();
        };
        push("a").await;
        let image = StreamTag { project: "demo".to_owned(), stream: "web".to_owned(), tag: "latest".to_owned() };
        let (labels, annotations) = ("{}".to_owned(), "{}".to_owned());
        let fields = AppFields { labels, annotations, spec: AppSpec::default(), image, automatic: true };
        let app = store.create_app("demo", &"web".parse().unwrap(), &fields, &ada()).await.unwrap();
        // Requested, begun and over at hours 1, 2 and 3; at 4, 5 and 6.
        for (hour, letter) in [(1, "a"), (4, "b")] {
            it_is(hour);
            push(letter).await;
            let rollout = store.request_ready_rollouts().await.unwrap().remove(0);
            for (hour, phase) in [(hour + 1, Running), (hour + 2, Complete)] {
                it_is(hour);
                store.record_rollout(&rollout, phase, Some("2 of 2")).await.unwrap();
            }
        }
        let then = async |hours: i64| {
            let Some(then) = store.find_app_then(&app.project_id, "web", &after(hours)).await.unwrap() else {
                return Vec::new();
            };
            let rollouts = store.list_rollouts_then(&then, &after(hours), None, 10).await.unwrap();
            rollouts.into_iter().map(|one| (one.number, one.phase, one.message.is_some())).collect::<Vec<_>>()
        };
        assert_eq!(then(0).await, []);
        assert_eq!(then(1).await, [(1, Pending, false)]);
        assert_eq!(then(2).await, [(1, Running, false)]);
        assert_eq!(then(3).await, [(1, Complete, true)]);
        assert_eq!(then(5).await, [(2, Running, false), (1, Complete, true)]);
        assert_eq!(then(9).await, [(2, Complete, true), (1, Complete, true)]);
        for (before, numbers) in [(2, vec![1]), (3, vec![2, 1]), (99, vec![2, 1])] {
            let then = store.find_app_then(&app.project_id, "web", &after(9)).await.unwrap().unwrap();
            let page = store.list_rollouts_then(&then, &after(9), Some(before), 10).await.unwrap();
            assert_eq!(page.iter().map(|one| one.number).collect::<Vec<_>>(), numbers, "before {before}");
        }
        TIME.set(None);
    }
}

/// Rows are in the order in which they came: one that was written when the clock had been set back was there as soon as the row before.
#[tokio::test]
async fn the_order_is_the_ledgers_when_the_clock_went_back() {
    for store in each_store().await {
        it_is(0);
        let first = store.last_sequence().await.unwrap();
        for hours in [1, 5, 2, 3, 7] {
            it_is(hours);
            let mut tx = store.write_tx().await.unwrap();
            tx.record(&ada(), Entry { action: "test.note", object: "x", ..Entry::default() }).await.unwrap();
            tx.commit().await.unwrap();
        }
        for (hours, rows) in [(1, 1), (2, 1), (4, 1), (5, 4), (6, 4), (7, 5)] {
            assert_eq!(store.ledger_end_then(&after(hours)).await.unwrap(), first + rows + 1, "after hour {hours}");
        }
        assert_eq!(store.verify_ledger().await.unwrap().1, []);
        TIME.set(None);
    }
}

/// What a page of the past costs follows from its rows, not from how much was done before and since.
#[tokio::test]
async fn lists_of_the_past_are_read_by_indexes() {
    for store in each_store().await {
        if store.backend() != Backend::Sqlite {
            continue;
        }
        let explain = async |text: &str| {
            let plan: Vec<(i64, i64, i64, String)> =
                sqlx::query_as(sqlx::AssertSqlSafe(format!("explain query plan {text}")))
                    .bind("x")
                    .bind(BEGIN)
                    .bind(BEGIN)
                    .bind("")
                    .bind(50_i64)
                    .fetch_all(store.pool())
                    .await
                    .unwrap();
            plan.into_iter().map(|(.., detail)| detail).collect::<Vec<_>>().join("\n")
        };
        for (text, index) in [
            (LAST_ROW, "COVERING INDEX ledger_moments (sorted_at<?)"),
            (last_rollout!("rollouts"), "COVERING INDEX rollouts_app_moments (app_id=? AND sequence<?)"),
            (last_rollout!("ended_rollouts"), "COVERING INDEX ended_rollouts_moments (app_id=? AND sequence<?)"),
            (configs_then!("c.name > $4"), "INDEX builds_config_moments (config_id=? AND sequence<?)"),
            (configs_then!("c.name > $4"), "INDEX ended_builds_config (config_id=? AND sequence<?)"),
            (configs_then!("c.name > $4"), "INDEX ended_configs_name (project_id=? AND name>?)"),
            (BUILDS, "INDEX builds_project (project_id=? AND sequence>? AND sequence<?)"),
            (BUILDS, "INDEX ended_builds_project (project_id=? AND sequence>? AND sequence<?)"),
            (CONFIG_BUILDS, "INDEX ended_builds_number (config_id=? AND number<?)"),
            (ENDED_BUILD, "INDEX ended_builds_named (project_id=? AND config=? AND number=? AND sequence<?)"),
        ] {
            let plan = explain(text).await;
            assert!(plan.contains(index), "{plan}");
            // What is put together is two pages.
            for table in ["b", "c", "e", "x", "y", "f", "a", "r", "ledger", "rollouts", "ended_rollouts"] {
                let scan = format!("SCAN {table}");
                assert!(!plan.lines().any(|line| line == scan || line.starts_with(&format!("{scan} "))), "{plan}");
            }
        }
    }
}

#[tokio::test]
async fn what_an_older_server_changed_in_a_config_is_not_told_of_before() {
    for store in each_store().await {
        it_is(0);
        let id = project(&store, "demo").await;
        it_is(1);
        config(&store, "app").await;
        it_is(3);
        // It writes the config and the ledger, and nothing for the past.
        let mut tx = store.write_tx().await.unwrap();
        let entry = Entry { action: "config.update", project: Some("demo"), object: "app", ..Entry::default() };
        let sequence = tx.record(&ada(), entry).await.unwrap();
        let write = sqlx::query("update build_configs set generation = generation + 1, version = $1").bind(sequence);
        write.execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        let known = async |hours: i64| {
            it_is(20);
            let config = store.find_config_then(&id, "app", &after(hours)).await.unwrap().unwrap();
            config.spec.is_some()
        };
        assert_eq!((known(2).await, known(4).await), (false, true));
        // Nor is it when a newer one changes it again, or deletes it.
        it_is(6);
        let source = Source { dockerfile: Some("FROM busybox\n".to_owned()), ..Source::default() };
        let spec = BuildConfigSpec::new(source, "app".parse().unwrap(), "latest".parse().unwrap());
        let fields = ConfigFields { config_trigger: false, ..ConfigFields::new(spec, KnownInputs::All(Vec::new())) };
        store.update_config("demo", "app", &fields, None, &ada()).await.unwrap();
        assert_eq!((known(2).await, known(4).await, known(7).await), (false, true, true));
        it_is(8);
        store.delete_config("demo", "app", &ada()).await.unwrap();
        assert_eq!((known(2).await, known(4).await, known(7).await), (false, true, true));
        TIME.set(None);
    }
}
