//! The promises of propagation and of going back, each on every database there is. Builds are made by hand: claimed, and ended by a
//! push whose digest is made of what went in.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use crate::model::{
    Actor, AppSpec, Build, BuildConfigSpec, BuildPhase, EventKind, HoldUntil, InputKind, KnownInputs, NewConfigInput,
    NewImage, Outcome, ResolvedInput, RollbackMode, Source, StreamTag, Tag, TagEvent,
};
use crate::server::store::testing::{TestStore, each_store};
use crate::server::store::{AppFields, BuildEnd, BuildRequest, ConfigFields, Error, Lost, Moved, TagMove, TagRollback};

mod app_holds;
mod freezes;
mod graph;

fn anna() -> Actor {
    Actor::person("anna")
}

fn digest(seed: &str) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(seed)))
}

fn image(seed: &str) -> NewImage {
    let media_type = "application/vnd.oci.image.manifest.v1+json".to_owned();
    NewImage { digest: digest(seed), media_type, manifest: "{}".to_owned(), ..NewImage::default() }
}

fn tag_of(stream: &str) -> StreamTag {
    StreamTag { project: "demo".to_owned(), stream: stream.to_owned(), tag: "latest".to_owned() }
}

fn config(output: &str, inputs: &[&str]) -> ConfigFields {
    let input = |name: &&str| NewConfigInput {
        kind: InputKind::From,
        stage: "0".to_owned(),
        reference: (*name).to_owned(),
        stands_for: Some(tag_of(name)),
        short_name: true,
        declared: false,
    };
    let spec = BuildConfigSpec::new(Source::default(), output.parse().unwrap(), "latest".parse().unwrap());
    ConfigFields::new(spec, KnownInputs::All(inputs.iter().map(input).collect()))
}

/// A project `demo` and what a test does in it.
struct World(TestStore);

impl World {
    async fn each() -> Vec<Self> {
        let mut worlds = Vec::new();
        for store in each_store().await {
            store.create_project(&"demo".parse().unwrap(), "", "", None, &anna()).await.unwrap();
            worlds.push(Self(store));
        }
        worlds
    }

    async fn push(&self, stream: &str, seed: &str) -> Moved {
        let stream = self.0.ensure_stream("demo", &stream.parse().unwrap(), &anna()).await.unwrap();
        let latest = "latest".parse().unwrap();
        let to = TagMove { tag: &latest, kind: EventKind::Push, reference: None, cause: None, build_id: None };
        self.0.put_manifest(&stream, &image(seed), Some(to), &anna()).await.unwrap().remove(0)
    }

    async fn config(&self, name: &str, inputs: &[&str]) {
        self.0.create_config("demo", &name.parse().unwrap(), &config(name, inputs), &anna()).await.unwrap();
    }

    async fn app(&self, name: &str, stream: &str) {
        let fields = AppFields {
            labels: "{}".to_owned(),
            annotations: "{}".to_owned(),
            spec: AppSpec::default(),
            image: tag_of(stream),
            automatic: true,
        };
        self.0.create_app("demo", &name.parse().unwrap(), &fields, &anna()).await.unwrap();
    }

    async fn trigger(&self) -> Vec<String> {
        let mut names: Vec<String> = self.0.request_ready_builds().await.unwrap().iter().map(Build::name).collect();
        self.0.request_ready_rollouts().await.unwrap();
        names.sort();
        names
    }

    async fn claim(&self) -> Option<Build> {
        self.0.claim_build("worker", 60_000).await.unwrap()
    }

    /// Ends a claimed build well: pushes an image made of its inputs.
    async fn complete(&self, build: &Build) {
        let inputs: Vec<ResolvedInput> = build.inputs().unwrap();
        let seed = format!("{} {:?}", build.config, inputs.iter().map(|input| &input.digest).collect::<Vec<_>>());
        let spec = build.spec().unwrap();
        let stream = self.0.stream("demo", spec.output_stream.as_str()).await.unwrap();
        let to = TagMove {
            tag: &spec.output_tag,
            kind: EventKind::Build,
            reference: None,
            cause: None,
            build_id: Some(&build.id),
        };
        self.0.put_manifest(&stream, &image(&seed), Some(to), &Actor::build(build.name())).await.unwrap();
        self.end(build, BuildPhase::Complete).await;
    }

    async fn end(&self, build: &Build, phase: BuildPhase) {
        let end = BuildEnd { phase, reason: None, message: None, digest: None };
        assert!(self.0.finish_build(build, &end).await.unwrap());
    }

    /// Triggers and builds until nothing is left to do; gives how often each config was built.
    async fn settle(&self) -> BTreeMap<String, usize> {
        let mut built = BTreeMap::new();
        loop {
            self.trigger().await;
            let Some(build) = self.claim().await else { break };
            *built.entry(build.config.clone()).or_insert(0) += 1;
            self.complete(&build).await;
        }
        assert!(self.0.request_ready_rollouts().await.unwrap().is_empty(), "rollouts were left over");
        built
    }

    async fn tag(&self, stream: &str) -> Tag {
        self.0.tag("demo", stream, "latest").await.unwrap()
    }

    async fn history(&self, stream: &str) -> Vec<TagEvent> {
        self.0.list_history(&self.tag(stream).await.id, None, 100).await.unwrap()
    }

    async fn roll_back(&self, stream: &str, to: i64, mode: RollbackMode) -> Moved {
        let rollback = TagRollback { mode, reason: Some("it was bad"), ..TagRollback::to(to) };
        self.0.roll_back_tag("demo", stream, "latest", &rollback, &anna()).await.unwrap()
    }

    /// base → httpd-base → app-a, app-b with an app each, all settled.
    async fn demo() -> Vec<Self> {
        let worlds = Self::each().await;
        for world in &worlds {
            world.push("base", "base 1").await;
            world.config("httpd-base", &["base"]).await;
            world.config("app-a", &["httpd-base"]).await;
            world.config("app-b", &["httpd-base"]).await;
            world.app("app-a", "app-a").await;
            world.app("app-b", "app-b").await;
            assert_eq!(counts(&world.settle().await), "app-a 1, app-b 1, httpd-base 1");
        }
        worlds
    }
}

fn counts(built: &BTreeMap<String, usize>) -> String {
    built.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn a_change_flows_down_the_chain_in_order_once_each() {
    for world in World::demo().await {
        let pushed = world.push("base", "base 2").await;
        assert_eq!(world.trigger().await, ["httpd-base-2"], "what is further down waits for what is above it");
        let build = world.claim().await.unwrap();
        assert!(world.trigger().await.is_empty(), "nothing starts while the config above runs");
        world.complete(&build).await;
        assert_eq!(world.trigger().await, ["app-a-2", "app-b-2"]);
        assert_eq!(counts(&world.settle().await), "app-a 1, app-b 1");
        let newest = &world.history("app-a").await[0];
        assert_eq!(newest.cascade_id, pushed.cascade_id.unwrap(), "the cascade is inherited all the way down");
        assert!(newest.cause.is_some());
        let app = world.0.app("demo", "app-a").await.unwrap();
        assert_eq!((app.last_number, app.wanted_digest), (2, newest.digest.clone()));
        assert_eq!(world.0.verify_ledger().await.unwrap().1, []);
    }
}

#[tokio::test]
async fn a_diamond_builds_its_bottom_once() {
    for world in World::each().await {
        world.push("base", "1").await;
        world.config("x", &["base"]).await;
        world.config("y", &["base"]).await;
        world.config("z", &["x", "y"]).await;
        world.settle().await;
        world.push("base", "2").await;
        assert_eq!(counts(&world.settle().await), "x 1, y 1, z 1");
    }
}

#[tokio::test]
async fn two_hundred_dependents_build_once_each() {
    for world in World::each().await {
        world.push("base", "1").await;
        for n in 0..200 {
            world.config(&format!("app-{n}"), &["base"]).await;
        }
        assert_eq!(world.trigger().await.len(), 200, "all are requested at once");
        let built = world.settle().await;
        assert_eq!((built.len(), built.values().sum::<usize>()), (200, 200));
        world.push("base", "2").await;
        assert_eq!(world.trigger().await.len(), 200);
    }
}

#[tokio::test]
async fn fifty_notices_of_one_change_make_one_build() {
    for world in World::demo().await {
        world.push("base", "base 2").await;
        let notices = (0..50).map(|_| world.0.request_ready_builds());
        let requested: Vec<Build> =
            futures_util::future::join_all(notices).await.into_iter().flat_map(Result::unwrap).collect();
        assert_eq!(requested.len(), 1);
    }
}

#[tokio::test]
async fn five_quick_pushes_build_each_dependent_at_most_twice() {
    for world in World::demo().await {
        world.push("base", "base 2").await;
        world.trigger().await;
        let first = world.claim().await.unwrap();
        for n in 3..=6 {
            world.push("base", &format!("base {n}")).await;
            world.trigger().await;
        }
        world.complete(&first).await;
        assert_eq!(
            counts(&world.settle().await),
            "app-a 1, app-b 1, httpd-base 1",
            "and one more of httpd-base before them"
        );
    }
}

#[tokio::test]
async fn a_failed_or_cancelled_middle_stops_the_way_and_counts_as_settled() {
    for phase in [BuildPhase::Failed, BuildPhase::Cancelled] {
        for world in World::demo().await {
            world.config("side", &["base", "httpd-base"]).await;
            world.settle().await;
            world.push("base", "base 2").await;
            world.trigger().await;
            let middle = world.claim().await.unwrap();
            assert_eq!(middle.config, "httpd-base");
            world.end(&middle, phase).await;
            assert_eq!(counts(&world.settle().await), "side 1", "what does not need the failed image goes on");
            assert!(world.trigger().await.is_empty(), "a failed build is not repeated by itself");
        }
    }
}

#[tokio::test]
async fn a_config_edited_while_it_builds_uses_the_edit_next_time() {
    for world in World::demo().await {
        world.push("base", "base 2").await;
        world.trigger().await;
        let running = world.claim().await.unwrap();
        let mut fields = config("httpd-base", &["base"]);
        fields.spec.no_cache = true;
        world.0.update_config("demo", "httpd-base", &fields, None, &anna()).await.unwrap();
        assert!(world.trigger().await.is_empty(), "an edit does not build");
        assert!(!running.spec().unwrap().no_cache, "the running build is what was requested");
        world.complete(&running).await;
        world.settle().await;
        world.push("base", "base 3").await;
        world.trigger().await;
        assert!(world.claim().await.unwrap().spec().unwrap().no_cache);
    }
}

#[tokio::test]
async fn a_config_that_feeds_itself_is_refused_with_the_way() {
    for world in World::demo().await {
        let own = world.0.create_config("demo", &"self".parse().unwrap(), &config("self", &["self"]), &anna()).await;
        assert!(matches!(own, Err(Error::Invalid { message, .. }) if message.contains("self:latest → self:latest")));
        let round =
            world.0.update_config("demo", "httpd-base", &config("httpd-base", &["base", "app-a"]), None, &anna()).await;
        let Err(Error::Invalid { message, .. }) = round else { panic!("a cycle was accepted") };
        assert!(message.ends_with("httpd-base:latest → app-a:latest → httpd-base:latest"), "{message}");
    }
}

#[tokio::test]
async fn rolling_a_tag_back_rebuilds_what_is_built_on_it_and_stays() {
    for world in World::demo().await {
        let first = world.history("base").await[0].sequence;
        world.push("base", "base 2").await;
        world.settle().await;
        let good = world.tag("app-a").await;
        world.roll_back("base", first, RollbackMode::Rebuild).await;
        assert_eq!(world.tag("base").await.digest, Some(digest("base 1")));
        assert_eq!(counts(&world.settle().await), "app-a 1, app-b 1, httpd-base 1");
        assert_ne!(world.tag("app-a").await.digest, good.digest);

        let again = world.push("base", "base 2").await;
        assert_eq!((again.outcome, again.changed), (Outcome::Rejected, true));
        let newer = world.push("base", "base 3").await;
        assert_eq!(newer.outcome, Outcome::Held);
        assert!(world.settle().await.is_empty());
        let base = world.tag("base").await;
        assert_eq!(base.digest, Some(digest("base 1")), "neither the rejected nor the newer image moves it");
        assert_eq!(world.0.tag_waiting(&base.id).await.unwrap().unwrap().digest, Some(digest("base 3")));

        world.0.resume_tag("demo", "base", "latest", &anna()).await.unwrap().unwrap();
        assert_eq!(world.tag("base").await.digest, Some(digest("base 3")));
        assert_eq!(counts(&world.settle().await), "app-a 1, app-b 1, httpd-base 1");
        assert_eq!(
            world.push("base", "base 2").await.outcome,
            Outcome::Rejected,
            "resuming does not forgive the bad image"
        );
    }
}

#[tokio::test]
async fn rolling_back_only_a_tag_leaves_its_dependents_alone() {
    for world in World::demo().await {
        let first = world.history("base").await[0].sequence;
        world.push("base", "base 2").await;
        world.settle().await;
        let kept = world.tag("app-a").await.digest;
        world.roll_back("base", first, RollbackMode::Tag).await;
        assert!(world.settle().await.is_empty());
        assert_eq!(world.tag("app-a").await.digest, kept);
    }
}

#[tokio::test]
async fn restoring_brings_dependents_back_without_builds() {
    for world in World::demo().await {
        let first = world.history("base").await[0].sequence;
        let then =
            [world.tag("httpd-base").await.digest, world.tag("app-a").await.digest, world.tag("app-b").await.digest];
        world.push("base", "base 2").await;
        world.settle().await;
        world.roll_back("base", first, RollbackMode::Restore).await;
        assert!(world.settle().await.is_empty(), "no build runs");
        let now =
            [world.tag("httpd-base").await.digest, world.tag("app-a").await.digest, world.tag("app-b").await.digest];
        assert_eq!(now, then);
        let app = world.0.app("demo", "app-a").await.unwrap();
        assert_eq!(app.wanted_digest, then[1], "the apps follow their tags back");
    }
}

#[tokio::test]
async fn what_a_rollback_settles_leaves_stale_what_another_move_brought() {
    for world in World::each().await {
        for stream in ["x", "y"] {
            world.push(stream, &format!("{stream} 1")).await;
        }
        world.config("z", &["x", "y"]).await;
        assert_eq!(counts(&world.settle().await), "z 1");
        let first = world.history("y").await[0].sequence;
        world.push("y", "y 2").await;
        assert_eq!(counts(&world.settle().await), "z 1");
        world.0.pause_config("demo", "z", true, &anna()).await.unwrap();
        world.push("x", "x 2").await;
        // Only this tag: what is built on it keeps what it has. Of the other one nobody said that.
        world.roll_back("y", first, RollbackMode::Tag).await;
        world.0.pause_config("demo", "z", false, &anna()).await.unwrap();
        assert_eq!(counts(&world.settle().await), "z 1");
        assert!(world.settle().await.is_empty());
    }
}

#[tokio::test]
async fn restoring_goes_back_to_before_an_undo_as_to_before_any_other_move() {
    for world in World::demo().await {
        let first = world.history("base").await[0].sequence;
        world.push("base", "base 2").await;
        world.settle().await;
        let moved = world.roll_back("base", first, RollbackMode::Rebuild).await;
        world.settle().await;
        let row = world.tag("base").await.event_sequence.unwrap();
        let then = [world.tag("httpd-base").await.digest, world.tag("app-a").await.digest];
        // The undo puts what is downstream back first, and base after it.
        let cascade = world.0.find_cascade(&moved.cascade_id.unwrap()).await.unwrap().unwrap();
        world.0.undo_cascade("demo", cascade.number, &anna()).await.unwrap();
        world.settle().await;
        assert_ne!(world.tag("app-a").await.digest, then[1]);
        let base = world.tag("base").await;
        assert_eq!(world.0.plan_restore(&base, row).await.unwrap(), Ok(3));
        world.roll_back("base", row, RollbackMode::Restore).await;
        assert!(world.settle().await.is_empty(), "no build runs");
        assert_eq!([world.tag("httpd-base").await.digest, world.tag("app-a").await.digest], then);
    }
}

#[tokio::test]
async fn undoing_a_rollback_puts_everything_forward_again_without_builds() {
    for world in World::demo().await {
        let first = world.history("base").await[0].sequence;
        world.push("base", "base 2").await;
        world.settle().await;
        let before =
            [world.tag("base").await.digest, world.tag("httpd-base").await.digest, world.tag("app-a").await.digest];
        let moved = world.roll_back("base", first, RollbackMode::Rebuild).await;
        world.settle().await;
        let cascade = world.0.find_cascade(&moved.cascade_id.unwrap()).await.unwrap().unwrap();
        let undone = world.0.undo_cascade("demo", cascade.number, &anna()).await.unwrap();
        assert_eq!((undone.tags, undone.apps), (4, 2));
        assert!(world.settle().await.is_empty());
        let after =
            [world.tag("base").await.digest, world.tag("httpd-base").await.digest, world.tag("app-a").await.digest];
        assert_eq!(after, before);
        let base = world.tag("base").await;
        assert_eq!(world.0.tag_hold(&base.id).await.unwrap(), None, "the hold ends with the rollback");
        assert_eq!(world.0.list_rejected(&base.id).await.unwrap(), []);
        assert!(world.0.undo_cascade("demo", cascade.number, &anna()).await.is_err(), "once is enough");
        world.roll_back("base", first, RollbackMode::Rebuild).await;
        assert_eq!(counts(&world.settle().await), "app-a 1, app-b 1, httpd-base 1", "and it can be rolled back again");
    }
}

#[tokio::test]
async fn an_app_rolled_back_stays_while_new_images_wait() {
    for world in World::demo().await {
        world.push("base", "base 2").await;
        world.settle().await;
        let rollout = world.0.roll_back_app("demo", "app-a", 1, None, HoldUntil::Resumed, &anna()).await.unwrap();
        world.push("base", "base 3").await;
        world.settle().await;
        let app = world.0.app("demo", "app-a").await.unwrap();
        assert_eq!((app.last_number, app.wanted_digest.as_deref()), (rollout.number, Some(rollout.digest.as_str())));
        assert!(app.is_behind() && app.held_since.is_some());
        world.0.resume_app("demo", "app-a", &anna()).await.unwrap();
        world.settle().await;
        assert!(!world.0.app("demo", "app-a").await.unwrap().is_behind());
    }
}

#[tokio::test]
async fn a_history_counts_every_move() {
    for world in World::each().await {
        for seed in ["a", "b", "a", "a"] {
            world.push("base", seed).await;
        }
        let history = world.history("base").await;
        let rows: Vec<_> = history.iter().map(|row| (row.number, row.digest.clone().unwrap())).collect();
        assert_eq!(rows, [(3, digest("a")), (2, digest("b")), (1, digest("a"))]);
    }
}

#[tokio::test]
async fn a_lost_build_is_marked_and_requested_again() {
    for world in World::demo().await {
        let started = world.0.start_build("demo", "httpd-base", BuildRequest::manual(anna())).await.unwrap();
        let claimed = world.claim().await.unwrap();
        assert_eq!(claimed.id, started.id);
        world.0.end_all_leases().await.unwrap();
        let lost = world.0.list_lost_builds().await.unwrap();
        assert_eq!(lost.len(), 1);
        world.0.give_up_build(&lost[0], Lost::Worker).await.unwrap();
        let marked = world.0.build_by_id(&started.id).await.unwrap();
        assert_eq!(marked.phase, BuildPhase::Error);
        let retry = world.claim().await.unwrap();
        assert_eq!((retry.number, retry.attempt, retry.cascade_id), (started.number + 1, 2, started.cascade_id));
        let spec = claimed.spec().unwrap();
        let stream = world.0.stream("demo", "httpd-base").await.unwrap();
        let to = TagMove {
            tag: &spec.output_tag,
            kind: EventKind::Build,
            reference: None,
            cause: None,
            build_id: Some(&claimed.id),
        };
        let late = world.0.put_manifest(&stream, &image("late"), Some(to), &Actor::build("late")).await;
        assert!(matches!(late, Err(Error::Conflict(_))), "what a lost build still delivers is not taken");
    }
}

#[tokio::test]
async fn builds_that_end_with_the_server_are_tried_again_and_those_that_end_it_only_so_often() {
    for world in World::demo().await {
        world.0.start_build("demo", "httpd-base", BuildRequest::manual(anna())).await.unwrap();
        let mut attempts = Vec::new();
        for lost in [Lost::Stop, Lost::Stop, Lost::Worker, Lost::Stop, Lost::Worker, Lost::Worker] {
            let build = world.claim().await.unwrap();
            attempts.push(build.attempt);
            world.0.give_up_build(&build, lost).await.unwrap();
        }
        assert_eq!(attempts, [1, 1, 1, 2, 2, 3]);
        assert!(world.claim().await.is_none(), "the third worker that it took was the last");
    }
}

#[tokio::test]
async fn a_lost_build_whose_image_arrived_is_complete() {
    for world in World::demo().await {
        world.0.start_build("demo", "httpd-base", BuildRequest::manual(anna())).await.unwrap();
        let build = world.claim().await.unwrap();
        let stream = world.0.stream("demo", "httpd-base").await.unwrap();
        let tag = build.spec().unwrap().output_tag;
        let to = TagMove { tag: &tag, kind: EventKind::Build, reference: None, cause: None, build_id: Some(&build.id) };
        world.0.put_manifest(&stream, &image("made"), Some(to), &Actor::build(build.name())).await.unwrap();
        world.0.give_up_build(&build, Lost::Worker).await.unwrap();
        let ended = world.0.build_by_id(&build.id).await.unwrap();
        assert_eq!((ended.phase, ended.output_digest), (BuildPhase::Complete, Some(digest("made"))));
        assert!(ended.output_sequence.is_some());
    }
}
