//! The controller with the engine in memory, step by step.

use super::*;
use crate::model::{AppSpec, EventKind, NewImage, StreamTag, now};
use crate::server::controllers::step;
use crate::server::rollout::fake::{Fake, Pace};
use crate::server::store::testing::{TestStore, each_store, project};
use crate::server::store::{AppFields, TagMove};

mod real;

/// A project with one app of two replicas, an engine, and the controller between them.
struct World {
    store: TestStore,
    engine: Arc<Fake>,
    controller: Rollouts,
}

impl World {
    async fn all(pace: Pace) -> Vec<Self> {
        let mut worlds = Vec::new();
        for store in each_store().await {
            project(&store, "demo").await;
            let engine = Arc::new(Fake::new(pace));
            let controller = Rollouts::new(store.clone(), engine.clone(), "127.0.0.1:5000");
            let world = Self { store, engine, controller };
            world.push('a').await;
            world.create_app().await;
            worlds.push(world);
        }
        worlds
    }

    async fn create_app(&self) {
        let fields = fields("web", AppSpec { replicas: 2, ..AppSpec::default() });
        self.store.create_app("demo", &"web".parse().unwrap(), &fields, &actor()).await.unwrap();
    }

    async fn push(&self, letter: char) {
        push(&self.store, "web", &digest(letter)).await;
    }
    async fn request(&self) -> RolloutRow {
        self.store.request_ready_rollouts().await.unwrap().pop().expect("a rollout is due")
    }

    /// The newest rollout.
    async fn rollout(&self) -> RolloutRow {
        let app = self.app().await;
        self.store.find_rollout(&app.id, app.last_number).await.unwrap().unwrap()
    }

    async fn app(&self) -> App {
        self.store.app("demo", "web").await.unwrap()
    }

    async fn run(&self) -> Option<Duration> {
        step(&self.controller).await.unwrap()
    }

    /// A new process on the same database and the same engine.
    fn restarted(&self) -> Rollouts {
        Rollouts::new(self.store.clone(), self.engine.clone(), "127.0.0.1:5000")
    }
}

/// Moves `<stream>:latest` to an image, as a push does.
async fn push(store: &Store, stream: &str, digest: &Digest) {
    push_annotated(store, stream, digest, "{}").await;
}

async fn push_annotated(store: &Store, stream: &str, digest: &Digest, annotations: &str) {
    let stream = store.ensure_stream("demo", &stream.parse().unwrap(), &actor()).await.unwrap();
    let image = NewImage {
        digest: digest.to_string(),
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        manifest: "{}".to_owned(),
        annotations: annotations.to_owned(),
        ..NewImage::default()
    };
    let tag = "latest".parse().unwrap();
    let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
    store.put_manifest(&stream, &image, Some(to), &actor()).await.unwrap();
}

/// An app that runs `<stream>:latest`.
fn fields(stream: &str, spec: AppSpec) -> AppFields {
    let image = StreamTag { project: "demo".to_owned(), stream: stream.to_owned(), tag: "latest".to_owned() };
    let (labels, annotations) = ("{}".to_owned(), "{}".to_owned());
    AppFields { labels, annotations, spec, image, automatic: true }
}

fn actor() -> Actor {
    Actor::person("developer")
}

fn digest(letter: char) -> Digest {
    format!("sha256:{}", letter.to_string().repeat(64)).parse().unwrap()
}

async fn until_over(world: &World, controller: &Rollouts) -> RolloutRow {
    for _ in 0..100 {
        step(controller).await.unwrap();
        let rollout = world.rollout().await;
        if !is_active(&rollout) {
            return rollout;
        }
    }
    panic!("the rollout does not end: {:?}", world.rollout().await);
}

#[tokio::test]
async fn complete_means_that_every_replica_was_seen_with_the_image() {
    for world in World::all(Pace::Manual).await {
        assert!(world.run().await.unwrap() > LOOK, "nothing to do yet");
        world.request().await;
        let mut messages = Vec::new();
        loop {
            world.run().await;
            let rollout = world.rollout().await;
            messages.push(rollout.message.clone().unwrap_or_default());
            if rollout.phase == RolloutPhase::Complete {
                break;
            }
            assert_eq!(rollout.phase, RolloutPhase::Running);
            world.engine.step();
        }
        messages.dedup();
        assert_eq!(
            messages,
            [
                "0 of 2 replicas run this image",
                "1 of 2 replicas run this image",
                "2 of 2 replicas run this image",
                "2 of 2 replicas seen running this image"
            ]
        );
        let desired = world.engine.desired("demo", "web").unwrap();
        assert_eq!(desired.image, format!("127.0.0.1:5000/demo/web@{}", digest('a')));
        let observed: Observed = serde_json::from_str(&world.app().await.observed.unwrap()).unwrap();
        assert!(observed.settled(&digest('a'), 2));
        assert!(world.run().await.unwrap() > LOOK, "at rest nobody is in a hurry");
        assert_eq!(world.engine.applied(), 1);
    }
}

#[tokio::test]
async fn while_the_engine_is_away_nothing_is_confirmed_and_then_it_goes_on() {
    for world in World::all(Pace::Manual).await {
        world.request().await;
        world.run().await;
        world.engine.settle();
        // It runs, in truth; but nobody can see it.
        world.engine.set_away(Some("Docker does not answer"));
        for _ in 0..3 {
            let wait = world.run().await.unwrap();
            assert!(wait >= Duration::from_secs(1));
            let rollout = world.rollout().await;
            assert_eq!(rollout.phase, RolloutPhase::Running);
            assert_eq!(rollout.message.as_deref(), Some("Not confirmed: Docker does not answer"));
            assert_eq!(world.app().await.observe_error.as_deref(), Some("Docker does not answer"));
        }
        world.engine.set_away(None);
        world.run().await;
        assert_eq!(world.rollout().await.phase, RolloutPhase::Complete);
        assert_eq!(world.app().await.observe_error, None);
    }
}

#[tokio::test]
async fn a_rollout_requested_while_the_engine_is_away_starts_when_it_is_back() {
    for world in World::all(Pace::Immediate).await {
        world.engine.set_away(Some("gone"));
        world.request().await;
        world.run().await;
        assert_eq!(world.rollout().await.phase, RolloutPhase::Pending);
        world.engine.set_away(None);
        world.run().await;
        assert_eq!(world.rollout().await.phase, RolloutPhase::Complete);
    }
}

#[tokio::test]
async fn the_engines_reason_fails_a_rollout_and_the_old_replicas_stay() {
    for world in World::all(Pace::EachLook).await {
        world.request().await;
        until_over(&world, &world.controller).await;
        world.push('b').await;
        world.engine.fail_image(&digest('b'), "task: non-zero exit (1)");
        world.request().await;
        let failed = until_over(&world, &world.controller).await;
        assert_eq!((failed.phase, failed.message.as_deref()), (RolloutPhase::Failed, Some("task: non-zero exit (1)")));
        let observed: Observed = serde_json::from_str(&world.app().await.observed.unwrap()).unwrap();
        assert_eq!(observed.ready_with(&digest('a')), 2);
        let applied = world.engine.applied();
        world.controller.progress.away();
        world.run().await;
        assert_eq!(world.engine.applied(), applied, "what failed stays failed until someone decides");
    }
}

#[tokio::test]
async fn section_7_3_no_app_runs_an_image_that_is_prohibited() {
    for world in World::all(Pace::Immediate).await {
        world.request().await;
        world.run().await;
        let applied = world.engine.applied();
        let denied = r#"{"images.openshift.io/deny-execution":"true"}"#;
        push_annotated(&world.store, "web", &digest('b'), denied).await;
        world.request().await;
        let failed = until_over(&world, &world.controller).await;
        let wanted = (RolloutPhase::Failed, Some("this image is prohibited by policy"));
        assert_eq!((failed.phase, failed.message.as_deref()), wanted);
        assert_eq!(world.engine.applied(), applied, "the engine was not even told");
        world.push('c').await;
        world.request().await;
        assert_eq!(until_over(&world, &world.controller).await.phase, RolloutPhase::Complete);
    }
}

#[tokio::test]
async fn an_image_that_could_not_be_fetched_is_tried_again() {
    for world in World::all(Pace::Immediate).await {
        world.engine.fail_image(&digest('a'), "the image could not be fetched (No such image)");
        world.request().await;
        world.run().await;
        let rollout = world.rollout().await;
        assert_eq!(rollout.phase, RolloutPhase::Running);
        assert!(rollout.message.unwrap().starts_with("tries again: the image could not be fetched"));
        // A new process gives it new attempts, and by now the registry answers.
        world.engine.heal_image(&digest('a'));
        let restarted = world.restarted();
        let rollout = until_over(&world, &restarted).await;
        assert_eq!(rollout.phase, RolloutPhase::Complete);
    }
}

#[tokio::test]
async fn a_newer_rollout_takes_the_place_of_one_under_way() {
    for world in World::all(Pace::Manual).await {
        let first = world.request().await;
        world.run().await;
        world.engine.step();
        world.push('b').await;
        world.request().await;
        world.run().await;
        world.engine.settle();
        world.run().await;
        let first = world.store.find_rollout(&first.app_id, first.number).await.unwrap().unwrap();
        assert_eq!((first.phase, first.message.as_deref()), (RolloutPhase::Cancelled, Some("superseded by #2")));
        assert_eq!(world.rollout().await.phase, RolloutPhase::Complete);
        assert_eq!(world.engine.desired("demo", "web").unwrap().digest, digest('b'));
    }
}

#[tokio::test]
async fn a_new_process_finds_what_the_killed_one_left() {
    for world in World::all(Pace::Manual).await {
        world.request().await;
        world.run().await;
        // Killed with the lease in its hands: nobody else may work on the app before it ends.
        let app = world.app().await;
        assert!(world.store.claim_app(&app.id, "the killed process", 0).await.unwrap());
        world.engine.settle();
        tokio::time::timeout(Duration::from_secs(5), async {
            let restarted = world.restarted();
            while world.rollout().await.phase != RolloutPhase::Complete {
                step(&restarted).await.unwrap();
            }
        })
        .await
        .unwrap();
        assert_eq!(world.engine.applied(), 1, "the engine had it already");
    }
}

#[tokio::test]
async fn what_another_server_works_on_is_left_alone() {
    for world in World::all(Pace::Immediate).await {
        world.request().await;
        let app = world.app().await;
        assert!(world.store.claim_app(&app.id, "another server", 60_000).await.unwrap());
        world.run().await;
        assert_eq!(world.rollout().await.phase, RolloutPhase::Pending);
        world.store.release_app(&app.id, "another server").await.unwrap();
        world.run().await;
        assert_eq!(world.rollout().await.phase, RolloutPhase::Complete);
    }
}

#[tokio::test]
async fn services_of_deleted_apps_and_projects_go() {
    for world in World::all(Pace::Immediate).await {
        world.request().await;
        world.run().await;
        assert_eq!(world.engine.list().await.unwrap().len(), 1);
        world.store.delete_app("demo", "web", &actor()).await.unwrap();
        world.run().await;
        assert_eq!(world.engine.list().await, Ok(vec![]));
        assert!(world.store.list_all_apps().await.unwrap().is_empty());

        world.create_app().await;
        world.request().await;
        world.run().await;
        assert_eq!(world.engine.list().await.unwrap().len(), 1);
        world.store.delete_project("demo", &actor()).await.unwrap();
        world.run().await;
        assert_eq!(world.engine.list().await, Ok(vec![]));
    }
}

#[tokio::test]
async fn what_changed_behind_weirs_back_is_seen_and_a_lost_service_is_put_back() {
    for world in World::all(Pace::Immediate).await {
        world.request().await;
        world.run().await;
        world.engine.remove("demo", "web").await.unwrap();
        // The next sweep is due when the engine was away.
        world.controller.progress.away();
        world.run().await;
        world.controller.progress.away();
        world.run().await;
        let observed: Observed = serde_json::from_str(&world.app().await.observed.unwrap()).unwrap();
        assert!(observed.settled(&digest('a'), 2), "{observed:?}");
        assert_eq!(world.rollout().await.number, 1, "no rollout is made up for that");
    }
}

#[tokio::test]
async fn two_hundred_rollouts_of_the_same_moment_are_worked_off() {
    let world = World::all(Pace::Immediate).await.remove(0);
    for number in 0..200 {
        let fields = fields("web", AppSpec::default());
        let name = format!("app-{number}").parse().unwrap();
        world.store.create_app("demo", &name, &fields, &actor()).await.unwrap();
    }
    world.store.request_ready_rollouts().await.unwrap();
    let began = now();
    world.run().await;
    let apps = world.store.list_all_apps().await.unwrap();
    assert!(apps.iter().all(|app| app.wanted_phase.as_deref() == Some("Complete")));
    assert_eq!(apps.len(), 201);
    assert!(now() - began < 60_000);
}
