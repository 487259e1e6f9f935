//! The controllers of builds over a real store, a real registry and the fake builder.

use super::*;
use crate::model::{
    Actor, AppName, BuildConfigSpec, BuildPhase, EventKind, GitSource, KnownInputs, NewImage, Source, StrategyFrom,
};
use crate::server::builder::conformance::{self, TestRegistry};
use crate::server::builder::fake::Fake;
use crate::server::controllers::{Inspect, step};
use crate::server::store::testing::{TestStore, each_store, project};
use crate::server::store::{BuildRequest, ConfigFields, TagMove};

struct Bench {
    store: TestStore,
    runner: Runner,
    builds: Builds,
    inspect: Inspect,
    registry: Arc<TestRegistry>,
    repository: tempfile::TempDir,
    _directory: tempfile::TempDir,
}

impl Bench {
    /// One for each database there is.
    async fn each() -> Vec<Self> {
        let registry = Arc::new(TestRegistry::start());
        let mut benches = Vec::new();
        for store in each_store().await {
            project(&store, "demo").await;
            benches.push(Self::over(store, Arc::clone(&registry)));
        }
        benches
    }

    fn over(store: TestStore, registry: Arc<TestRegistry>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let builder = Arc::new(Fake::new(directory.path().to_owned(), conformance::git()).unwrap());
        let settings = BuildSettings {
            concurrency: 2,
            registry_host: registry.host.clone(),
            registry_insecure: true,
            own_hosts: vec![registry.host.clone()],
        };
        let runner = Runner { wake: store.wake().clone(), ..Runner::default() };
        let inspect = Inspect::new(store.clone(), builder.clone(), settings.own_hosts.clone(), runner.clone());
        let builds = Builds::new(store.clone(), builder, settings, runner.clone());
        Self { store, runner, builds, inspect, registry, repository: conformance::repository(), _directory: directory }
    }

    fn git(&self, context: &str, dockerfile: Option<&str>) -> Source {
        let uri = format!("file://{}", self.repository.path().display());
        let git = Some(GitSource { uri, reference: Some("main".into()), secret: None });
        Source {
            git,
            context_dir: Some(context.into()),
            dockerfile_path: dockerfile.map(Into::into),
            ..Source::default()
        }
    }

    async fn config(&self, name: &str, source: Source) {
        self.config_with(name, source, None).await;
    }

    async fn config_with(&self, name: &str, source: Source, strategy_from: Option<StrategyFrom>) {
        let mut spec = BuildConfigSpec::new(source, name.parse().unwrap(), "latest".parse().unwrap());
        spec.strategy_from = strategy_from;
        let inputs = KnownInputs::Declared(Vec::new());
        let fields = ConfigFields { config_trigger: false, ..ConfigFields::new(spec, inputs) };
        let name: AppName = name.parse().unwrap();
        self.store.create_config("demo", &name, &fields, &Actor::person("ada")).await.unwrap();
    }

    async fn start(&self, config: &str) -> Build {
        self.store.start_build("demo", config, BuildRequest::manual(Actor::person("ada"))).await.unwrap()
    }

    /// Drives the controller until it has nothing more to do.
    async fn settle(&self) {
        loop {
            step(&self.builds).await.unwrap();
            if self.runner.tracker.is_empty() {
                return;
            }
            self.wait().await;
        }
    }

    /// Waits until no task is under way.
    async fn wait(&self) {
        self.runner.tracker.close();
        self.runner.tracker.wait().await;
        self.runner.tracker.reopen();
    }

    async fn build(&self, config: &str, number: i64) -> Build {
        self.store.find_build("demo", config, number).await.unwrap().unwrap()
    }

    async fn log(&self, build: &Build) -> Vec<String> {
        self.store.read_log(&build.id, 1, 1000).await.unwrap().into_iter().map(|(_, line)| line).collect()
    }

    /// Starts a build that sleeps and waits until it does.
    async fn sleeping(&self) -> Build {
        let source = Source { dockerfile: Some("FROM scratch\nRUN sleep 5000\n".into()), ..Source::default() };
        self.config("sleeper", source).await;
        let build = self.start("sleeper").await;
        let mut logs = self.store.wake().logs();
        step(&self.builds).await.unwrap();
        while !self.log(&build).await.iter().any(|line| line.contains("RUN sleep")) {
            logs.recv().await.unwrap();
        }
        build
    }

    /// Records what was pushed, as the registry's door does.
    async fn pushed(&self, stream: &str, digest: &str) {
        self.pushed_annotated(stream, digest, "{}").await;
    }

    async fn pushed_annotated(&self, stream: &str, digest: &str, annotations: &str) {
        let actor = Actor::person("ada");
        let stream = self.store.ensure_stream("demo", &stream.parse().unwrap(), &actor).await.unwrap();
        let image = NewImage {
            digest: digest.into(),
            media_type: "application/vnd.oci.image.manifest.v1+json".into(),
            artifact_type: None,
            manifest: "{}".into(),
            config_digest: None,
            config: None,
            subject: None,
            architecture: None,
            os: None,
            variant: None,
            created: None,
            annotations: annotations.into(),
            layers: vec![],
            children: vec![],
            left_out: vec![],
            size: 0,
        };
        let tag = "latest".parse().unwrap();
        let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
        self.store.put_manifest(&stream, &image, Some(to), &actor).await.unwrap();
    }
}

#[tokio::test]
async fn a_chain_builds_and_leaves_its_traces() {
    for bench in Bench::each().await {
        bench.config("base", bench.git("base", None)).await;
        bench.start("base").await;
        bench.settle().await;
        let base = bench.build("base", 1).await;
        assert_eq!((base.phase, base.reason.as_deref()), (BuildPhase::Complete, None), "{base:?}");
        let digest = base.output_digest.clone().unwrap();
        assert!(base.revision.as_deref().unwrap().contains("Sources"), "{base:?}");
        let steps = base.steps().unwrap();
        assert_eq!(steps.iter().map(|step| step.name.as_str()).collect::<Vec<_>>(), ["fetch", "pull", "build", "push"]);
        assert!(steps.iter().all(|step| step.finished_at.is_some()));
        let log = bench.log(&base).await;
        assert_eq!(base.log_lines, i64::try_from(log.len()).unwrap());
        let build = usize::try_from(steps[2].first_line).unwrap() - 1;
        assert!(log[build].starts_with("STEP 1/"), "{log:#?}");
        bench.pushed("base", &digest).await;

        // Nobody has read this Dockerfile yet: the build finds what it takes in.
        let source =
            Source { dockerfile: Some("FROM base\nCOPY --from=quay.io/x/tools:1 /a /a\n".into()), ..Source::default() };
        bench.config("app", source).await;
        bench.start("app").await;
        bench.settle().await;
        let app = bench.build("app", 1).await;
        assert_eq!((app.phase, app.message.as_deref()), (BuildPhase::Complete, None), "{app:?}");
        let used = app.inputs().unwrap();
        assert_eq!(used.iter().map(|input| input.digest.as_deref()).collect::<Vec<_>>(), [Some(digest.as_str()), None]);
        let log = bench.log(&app).await;
        let pin = format!("base → {}/demo/base@{digest}", bench.registry.host);
        assert!(log.contains(&pin), "{log:#?}");
        let config = bench.store.config("demo", "app").await.unwrap();
        let inputs = bench.store.list_inputs(&config.id).await.unwrap();
        assert_eq!(inputs[0].used_digest.as_deref(), Some(digest.as_str()));
        assert!(!inputs[0].is_stale());
    }
}

#[tokio::test]
async fn dockerfiles_are_read_before_the_first_build() {
    for bench in Bench::each().await {
        bench.config("app", bench.git("app", Some("Containerfile"))).await;
        let mut missing = bench.git("app", None);
        missing.git.as_mut().unwrap().uri.push_str("-missing");
        bench.config("broken", missing).await;
        let strategy = StrategyFrom::ImageStreamTag("base:latest".into());
        bench.config_with("strategy", bench.git("app", Some("Containerfile")), Some(strategy)).await;
        step(&bench.inspect).await.unwrap();
        bench.wait().await;

        let config = bench.store.config("demo", "app").await.unwrap();
        assert_eq!(config.inspect_error, None);
        let inputs = bench.store.list_inputs(&config.id).await.unwrap();
        assert_eq!(inputs.iter().map(|input| input.reference.as_str()).collect::<Vec<_>>(), ["base:none"]);
        let broken = bench.store.config("demo", "broken").await.unwrap();
        assert_eq!(broken.inspected_generation, broken.generation);
        assert!(broken.inspect_error.unwrap().contains("does not exist"));
        // The last FROM names a stage; the strategy's image takes its place, and the first FROM stays an input.
        let strategy = bench.store.config("demo", "strategy").await.unwrap();
        let inputs = bench.store.list_inputs(&strategy.id).await.unwrap();
        let inputs: Vec<_> = inputs.iter().map(|input| (input.kind.as_str(), input.reference.as_str())).collect();
        assert_eq!(inputs, [("strategy", "base:latest"), ("FROM", "base:none")]);
        assert!(bench.store.list_uninspected_configs().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn failures_say_why_and_end_the_log() {
    for bench in Bench::each().await {
        let inline = |text: &str| Source { dockerfile: Some(text.into()), ..Source::default() };
        let mut secret = bench.git("app", None);
        secret.git.as_mut().unwrap().secret = Some("nobody".into());
        for (name, source, reason) in [
            ("failing", inline("FROM scratch\nRUN false\n"), "DockerBuildFailed"),
            ("unreadable", inline("FORM scratch\n"), "ManageDockerfileFailed"),
            ("nowhere", bench.git("nowhere", None), "InvalidContextDirectory"),
            ("no-secret", secret, "FetchSourceFailed"),
            ("cyclic", inline("FROM cyclic\n"), "InvalidImageReference"),
        ] {
            bench.config(name, source).await;
            bench.start(name).await;
            bench.settle().await;
            let build = bench.build(name, 1).await;
            assert_eq!((build.phase, build.reason.as_deref()), (BuildPhase::Failed, Some(reason)), "{build:?}");
            let message = build.message.clone().unwrap();
            assert!(message.len() > 10, "{message}");
            if name != "no-secret" {
                assert_eq!(bench.log(&build).await.last().unwrap(), &format!("{reason}: {message}"));
            }
        }
    }
}

#[tokio::test]
async fn section_7_3_no_build_takes_in_an_image_that_is_prohibited() {
    for bench in Bench::each().await {
        let denied = r#"{"images.openshift.io/deny-execution":"true"}"#;
        bench.pushed_annotated("base", &format!("sha256:{}", "a".repeat(64)), denied).await;
        let inline = Source { dockerfile: Some("FROM base:latest\n".into()), ..Source::default() };
        bench.config("app", inline).await;
        bench.start("app").await;
        bench.settle().await;
        let build = bench.build("app", 1).await;
        assert_eq!((build.phase, build.reason.as_deref()), (BuildPhase::Failed, Some("InvalidImageReference")));
        assert_eq!(build.message.as_deref(), Some("this image is prohibited by policy: base:latest"));
    }
}

#[tokio::test]
async fn cancelling_stops_a_running_build() {
    for bench in Bench::each().await {
        let build = bench.sleeping().await;
        bench.store.cancel_build("demo", "sleeper", 1, &Actor::person("ada")).await.unwrap();
        step(&bench.builds).await.unwrap();
        bench.wait().await;
        let ended = bench.store.build_by_id(&build.id).await.unwrap();
        assert_eq!((ended.phase, ended.reason.as_deref()), (BuildPhase::Cancelled, Some("CancelledBuild")));
        assert_eq!(ended.message.as_deref(), Some("The build was cancelled by the user."));
        assert_eq!(bench.log(&ended).await.last().unwrap(), "The build was stopped.");
    }
}

#[tokio::test]
async fn stopping_the_server_gives_the_build_to_the_next() {
    for bench in Bench::each().await {
        let build = bench.sleeping().await;
        bench.runner.stop.cancel();
        bench.wait().await;
        let ended = bench.store.build_by_id(&build.id).await.unwrap();
        assert_eq!((ended.phase, ended.reason.as_deref()), (BuildPhase::Error, Some("BuildPodDeleted")));
        let again = bench.build("sleeper", 2).await;
        assert_eq!((again.phase, again.trigger_kind.as_str(), again.attempt), (BuildPhase::New, "retry", 1));
    }
}

#[tokio::test]
async fn a_build_whose_worker_died_is_marked_and_built_again() {
    for bench in Bench::each().await {
        let source = Source { dockerfile: Some("FROM scratch\nENV A=b\n".into()), ..Source::default() };
        bench.config("app", source).await;
        let lost = bench.start("app").await;
        assert_eq!(bench.store.claim_build("a dead server", -1000).await.unwrap().unwrap().id, lost.id);
        bench.settle().await;
        let lost = bench.store.build_by_id(&lost.id).await.unwrap();
        assert_eq!((lost.phase, lost.reason.as_deref()), (BuildPhase::Error, Some("BuildPodDeleted")));
        assert_eq!(bench.build("app", 2).await.phase, BuildPhase::Complete);
    }
}

#[tokio::test]
async fn no_more_run_at_once_than_allowed() {
    for bench in Bench::each().await {
        for name in ["one", "two", "three"] {
            let source = Source { dockerfile: Some("FROM scratch\nRUN echo x\n".into()), ..Source::default() };
            bench.config(name, source).await;
            bench.start(name).await;
        }
        step(&bench.builds).await.unwrap();
        assert_eq!(bench.build("three", 1).await.phase, BuildPhase::New);
        bench.wait().await;
        bench.settle().await;
        assert_eq!(bench.build("three", 1).await.phase, BuildPhase::Complete);
    }
}
