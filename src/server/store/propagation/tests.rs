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
mod builds;
mod freezes;
mod going_back;
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
