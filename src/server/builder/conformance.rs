//! What every builder must do, run on each of them: against Debian's `docker-registry` and a git repository made here.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::git::GitConfig;
use super::process::marked;
use super::*;
use crate::model::GitSource;

/// Sources may come from temporary directories.
pub fn git() -> GitConfig {
    GitConfig { file_roots: vec![std::env::temp_dir()], ..GitConfig::default() }
}

/// A registry that ends with the test.
pub struct TestRegistry {
    child: Child,
    pub host: String,
    _directory: tempfile::TempDir,
}

impl TestRegistry {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.yml");
        let data = directory.path().join("data");
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"127.0.0.1:0\"}}\n",
            data.display()
        );
        std::fs::write(&file, config).unwrap();
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry is needed here: apt install docker-registry");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let host = loop {
            let line = lines.next().expect("docker-registry ended").unwrap();
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.split(['"', ' ']).next().unwrap().to_owned();
            }
        };
        // It must not block on its log.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, host, _directory: directory }
    }

    fn access(&self) -> RegistryAccess {
        RegistryAccess { host: self.host.clone(), username: "u".into(), password: "p".into(), insecure: true }
    }

    /// The manifest and the configuration of an image.
    async fn image(&self, name: &str, version: &str) -> (serde_json::Value, serde_json::Value) {
        let client = reqwest::Client::new();
        let base = format!("http://{}/v2/{name}", self.host);
        let accept = "application/vnd.oci.image.manifest.v1+json";
        let manifest = client.get(format!("{base}/manifests/{version}")).header("accept", accept).send().await.unwrap();
        let manifest: serde_json::Value = manifest.json().await.unwrap();
        let config = manifest["config"]["digest"].as_str().unwrap();
        let config = client.get(format!("{base}/blobs/{config}")).send().await.unwrap().json().await.unwrap();
        (manifest, config)
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A repository with the sources of a base made from the host's busybox, and of what builds on it.
pub fn repository() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    std::fs::create_dir_all(path.join("base")).unwrap();
    std::fs::copy("/bin/busybox", path.join("base/busybox"))
        .expect("busybox is needed here: apt install busybox-static");
    let links = "RUN [\"/bin/busybox\", \"--install\", \"/bin\"]\n";
    std::fs::write(
        path.join("base/Dockerfile"),
        format!("FROM scratch\nCOPY busybox /bin/busybox\n{links}ENV VERSION=1\n"),
    )
    .unwrap();
    std::fs::create_dir_all(path.join("app")).unwrap();
    std::fs::write(
        path.join("app/Containerfile"),
        "ARG TAG=none\nFROM base:${TAG} AS built\nRUN echo hello from the app\nFROM built\n",
    )
    .unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.com"])
            .args(arguments)
            .current_dir(path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    run(&["init", "-q", "-b", "main"]);
    run(&["add", "-A"]);
    run(&["commit", "-q", "-m", "Sources"]);
    directory
}

/// Seconds to sleep by which a process is told from those of tests that run at the same time.
fn unlike_any_other() -> String {
    rand::random_range(100_000..1_000_000).to_string()
}

/// One builder under test.
struct Bench<'a> {
    builder: &'a dyn Builder,
    /// Where the builder keeps its work directories.
    directory: &'a Path,
    registry: TestRegistry,
    repository: tempfile::TempDir,
}

type Outcome = (Result<BuildOutput, BuildFailure>, Vec<BuildEvent>);

/// The whole suite.
pub async fn suite(builder: &dyn Builder, directory: &Path) {
    assert_eq!(builder.check().await, Ok(()));
    let bench = Bench { builder, directory, registry: TestRegistry::start(), repository: repository() };
    let base = bench.base().await;
    bench.a_chain_carries_its_provenance(&base).await;
    bench.fetch_reads_without_building().await;
    bench.strategy_and_environment(&base).await;
    bench.failures(&base).await;
    bench.unresolved(&base).await;
    bench.cancelling_leaves_nothing(&base).await;
    bench.reaping_ends_what_was_left(&base).await;
    bench.two_at_once(&base).await;
    let left: Vec<PathBuf> =
        std::fs::read_dir(directory.join("work")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "work directories were left: {left:?}");
}

impl Bench<'_> {
    fn job(&self, name: &str) -> BuildJob {
        BuildJob {
            id: uuid::Uuid::now_v7().to_string(),
            project: "demo".into(),
            name: name.into(),
            source: Source::default(),
            git_credentials: None,
            commit: None,
            inputs: Vec::new(),
            external: Vec::new(),
            strategy_from: None,
            build_args: Vec::new(),
            env: Vec::new(),
            labels: Vec::new(),
            output: Some(format!("{}/demo/{name}:latest", self.registry.host)),
            registry: self.registry.access(),
            no_cache: false,
        }
    }

    fn inline(&self, name: &str, dockerfile: &str, inputs: &[&PinnedInput]) -> BuildJob {
        let source = Source { dockerfile: Some(dockerfile.into()), ..Source::default() };
        BuildJob { source, inputs: inputs.iter().map(|input| (*input).clone()).collect(), ..self.job(name) }
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

    async fn run(&self, job: BuildJob) -> Outcome {
        self.run_until(job, CancellationToken::new(), None).await
    }

    /// Runs a job; once the log has a line that contains `stop_at`, cancels it.
    async fn run_until(&self, job: BuildJob, cancel: CancellationToken, stop_at: Option<&str>) -> Outcome {
        let (sender, mut receiver) = mpsc::channel(4);
        let watch = async {
            let mut events = Vec::new();
            while let Some(event) = receiver.recv().await {
                if let (BuildEvent::Line(line), Some(stop_at)) = (&event, stop_at)
                    && line.contains(stop_at)
                {
                    cancel.cancel();
                }
                events.push(event);
            }
            events
        };
        let run = tokio::time::timeout(Duration::from_secs(120), self.builder.run(job, sender, cancel.clone()));
        let (result, events) = tokio::join!(run, watch);
        (result.expect("the build takes too long"), events)
    }

    async fn base(&self) -> PinnedInput {
        let job = BuildJob { source: self.git("base", None), ..self.job("base") };
        let (result, events) = self.run(job).await;
        let digest = result.unwrap_or_else(|failure| panic!("{failure:?}\n{events:#?}")).digest.unwrap();
        let pull_spec = format!("{}/demo/base@{digest}", self.registry.host);
        PinnedInput { reference: "base:latest".into(), pull_spec, digest: Some(digest) }
    }

    async fn a_chain_carries_its_provenance(&self, base: &PinnedInput) {
        let mut job = BuildJob { source: self.git("app", Some("Containerfile")), ..self.job("app-7") };
        job.inputs = vec![base.clone()];
        job.build_args = vec![("TAG".into(), "latest".into())];
        job.labels = vec![
            ("team".into(), "blue \"x\" $HOME \\n".into()),
            ("io.openshift.build.namespace".into(), "mine".into()),
        ];
        let (result, events) = self.run(job).await;
        let digest = result.unwrap_or_else(|failure| panic!("{failure:?}\n{events:#?}")).digest.unwrap();
        let (manifest, config) = self.registry.image("demo/app-7", digest.as_str()).await;

        let fetched =
            events.iter().find_map(|event| if let BuildEvent::Fetched(fetched) = event { Some(fetched) } else { None });
        let fetched = fetched.unwrap();
        assert!(fetched.dockerfile.starts_with("ARG TAG=none"), "the Dockerfile as its author wrote it");
        let revision = fetched.revision.clone().unwrap();
        assert_eq!((revision.message.as_str(), revision.reference.as_str()), ("Sources", "main"));

        let labels = &config["config"]["Labels"];
        let annotations = &manifest["annotations"];
        for (name, expected) in [
            ("org.opencontainers.image.base.name", format!("{}/demo/base:latest", self.registry.host)),
            ("org.opencontainers.image.base.digest", base.digest.as_ref().unwrap().to_string()),
            ("org.opencontainers.image.revision", revision.commit.clone()),
            ("org.opencontainers.image.source", format!("file://{}", self.repository.path().display())),
        ] {
            assert_eq!(labels[name], expected, "{labels:#}");
            assert_eq!(annotations[name], expected, "{annotations:#}");
        }
        assert_eq!(labels["io.openshift.build.name"], "app-7");
        assert_eq!(labels["io.openshift.build.commit.id"], revision.commit);
        assert_eq!(labels["io.openshift.build.source-context-dir"], "app");
        assert_eq!(labels["team"], "blue \"x\" $HOME \\n");
        assert_eq!(labels["io.openshift.build.namespace"], "mine", "what the author asks for wins");
        self.log_is_in_order(&events, base);
    }

    fn log_is_in_order(&self, events: &[BuildEvent], base: &PinnedInput) {
        let steps: Vec<&str> =
            events.iter().filter_map(|e| if let BuildEvent::Step(step) = e { Some(*step) } else { None }).collect();
        assert_eq!(steps, ["fetch", "pull", "build", "push"]);
        let place = |wanted: &str| {
            let found =
                events.iter().position(|event| matches!(event, BuildEvent::Line(line) if line.contains(wanted)));
            found.unwrap_or_else(|| panic!("no line has {wanted}: {events:#?}"))
        };
        let order = [
            place("Fetching file://"),
            place("Commit: "),
            place(&format!("base:latest → {}", base.pull_spec)),
            place("FROM "),
            place("RUN echo hello"),
            place("Pushing "),
            place("Pushed "),
        ];
        assert!(order.is_sorted(), "{events:#?}");
        assert!(events.contains(&BuildEvent::Line("hello from the app".into())), "{events:#?}");
    }

    async fn fetch_reads_without_building(&self) {
        let fetched = self.builder.fetch(&self.git("app", Some("Containerfile")), None).await.unwrap();
        assert!(fetched.dockerfile.contains("FROM base:${TAG}"));
        assert_eq!(fetched.revision.unwrap().author, "Ann <ann@example.com>");
        let missing = self.builder.fetch(&self.git("app", None), None).await;
        assert!(matches!(missing, Err(BuildFailure::Failed { reason: "ManageDockerfileFailed", .. })), "{missing:?}");
        let inline = Source { dockerfile: Some("FROM x".into()), ..Source::default() };
        assert_eq!(
            self.builder.fetch(&inline, None).await,
            Ok(Fetched { dockerfile: "FROM x".into(), revision: None })
        );
    }

    async fn strategy_and_environment(&self, base: &PinnedInput) {
        let mut job = self.inline("strategy", "FROM nothing:1 AS last\nRUN echo [$COLOUR]\n", &[]);
        job.strategy_from = Some(base.clone());
        job.env = vec![("COLOUR".into(), "light \"blue\"".into())];
        let (result, events) = self.run(job).await;
        assert!(result.is_ok(), "{result:?}\n{events:#?}");
        let step = format!("FROM {} AS last", base.pull_spec);
        assert!(
            events.iter().any(|event| matches!(event, BuildEvent::Line(line) if line.contains(&step))),
            "{events:#?}"
        );
    }

    async fn failures(&self, base: &PinnedInput) {
        // A digest nobody has: content that is here already need not be asked for.
        let digest: Digest = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
        let pull_spec = format!("{}/demo/base@{digest}", self.registry.host);
        let missing = PinnedInput { pull_spec, digest: Some(digest), ..base.clone() };
        let cases = [
            ("DockerBuildFailed", self.inline("f1", "FROM base:latest\nRUN false\n", &[base])),
            ("PullBuilderImageFailed", self.inline("f2", "FROM base:latest\n", &[&missing])),
            ("ManageDockerfileFailed", self.inline("f3", "FORM base\n", &[base])),
            ("ManageDockerfileFailed", self.inline("f4", "FROM dir:/etc\n", &[base])),
            ("InvalidContextDirectory", BuildJob { source: self.git("nowhere", None), ..self.job("f5") }),
            ("InvalidContextDirectory", BuildJob { source: self.git("../..", None), ..self.job("f6") }),
            ("FetchSourceFailed", {
                let mut source = self.git("app", None);
                source.git.as_mut().unwrap().uri.push_str("-missing");
                BuildJob { source, ..self.job("f7") }
            }),
            ("PushImageToRegistryFailed", {
                let job = self.inline("f8", "FROM scratch\nENV A=b\n", &[]);
                let registry = RegistryAccess { host: "127.0.0.1:1".into(), ..job.registry };
                BuildJob { output: Some("127.0.0.1:1/demo/x:latest".into()), registry, ..job }
            }),
        ];
        for (expected, job) in cases {
            let name = job.name.clone();
            let (result, events) = self.run(job).await;
            match result {
                Err(BuildFailure::Failed { reason, message }) => {
                    assert_eq!(reason, expected, "{name}: {message}\n{events:#?}");
                    assert!(message.len() > 20, "{name}: {message}");
                }
                other => panic!("{name}: {other:?}\n{events:#?}"),
            }
        }
    }

    async fn unresolved(&self, base: &PinnedInput) {
        let dockerfile = "FROM base:latest\nCOPY --from=tools:2 /a /a\nRUN --mount=from=quay.io/x/y,target=/m true\n";
        let (result, events) = self.run(self.inline("unresolved", dockerfile, &[base])).await;
        assert_eq!(result, Err(BuildFailure::Unresolved(vec!["tools:2".into(), "quay.io/x/y".into()])));
        assert!(events.iter().any(|event| matches!(event, BuildEvent::Fetched(_))), "what was read is told before");
    }

    /// Processes that carry the build's mark or sleep as only this test does.
    fn processes(build_id: &str, sleep: &str) -> usize {
        let command = format!("sleep\0{sleep}\0");
        let sleeping = std::fs::read_dir("/proc").unwrap().flatten().filter(|process| {
            std::fs::read(process.path().join("cmdline")).is_ok_and(|line| line.ends_with(command.as_bytes()))
        });
        sleeping.count() + marked(&format!("{}={build_id}", process::MARKER)).len()
    }

    async fn cancelling_leaves_nothing(&self, base: &PinnedInput) {
        let sleep = unlike_any_other();
        let job = self.inline("cancelled", &format!("FROM base:latest\nRUN sleep {sleep}\n"), &[base]);
        let id = job.id.clone();
        let (result, _) = self.run_until(job, CancellationToken::new(), Some("RUN sleep")).await;
        assert_eq!(result, Err(BuildFailure::Cancelled));
        assert_eq!(Self::processes(&id, &sleep), 0, "processes are left");
        assert!(!self.directory.join("work").join(&id).exists(), "its directory is left");
    }

    /// The future is dropped as when a server dies, except that a process of its own stands for one left behind.
    async fn reaping_ends_what_was_left(&self, base: &PinnedInput) {
        let sleep = unlike_any_other();
        let job = self.inline("left", &format!("FROM base:latest\nRUN sleep {sleep}\n"), &[base]);
        let id = job.id.clone();
        let (sender, mut receiver) = mpsc::channel(4);
        let mut run = self.builder.run(job, sender, CancellationToken::new());
        let started = async {
            while let Some(event) = receiver.recv().await {
                if matches!(&event, BuildEvent::Line(line) if line.contains("RUN sleep")) {
                    return;
                }
            }
        };
        tokio::select! {
            result = &mut run => panic!("{result:?}"),
            () = started => {}
        }
        drop(run);
        let mut orphan = Command::new("sleep").arg(&sleep).env(process::MARKER, &id).spawn().unwrap();
        process::until_marked(&id).await;
        self.builder.reap(&id).await.unwrap();
        orphan.wait().unwrap();
        assert_eq!(Self::processes(&id, &sleep), 0, "processes are left");
        assert!(!self.directory.join("work").join(&id).exists(), "its directory is left");
        self.builder.reap(&id).await.unwrap();
    }

    async fn two_at_once(&self, base: &PinnedInput) {
        let one = self.run(self.inline("one", "FROM base:latest\nRUN echo one\n", &[base]));
        let two = self.run(self.inline("two", "FROM base:latest\nRUN echo two\n", &[base]));
        let (one, two) = tokio::join!(one, two);
        assert!(one.0.is_ok() && two.0.is_ok(), "{one:?} {two:?}");
    }
}
