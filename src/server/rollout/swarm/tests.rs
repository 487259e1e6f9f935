//! Against a real Docker Engine, with images pulled from a real registry that asks for a password.
//! Everything made here goes away at the end, also when a test fails.

#![expect(
    clippy::disallowed_methods,
    reason = "the registry and the containers are waited for where nothing else runs"
)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::super::conformance::{self, Images, desired, until};
use super::*;
use crate::model::{AppPort, Digest};

const HOST: &str = "unix:///var/run/docker.sock";
const USER: &str = "robot";
const PASSWORD: &str = "pull-1";
/// `htpasswd -B` of the password.
const PASSWORD_HASH: &str = "$2b$05$abcdefghijklmnopqrstuuCAbrf4oe0.PobP6VB4ZLG2dHduDOo.2";

/// Runs a command and gives its output; a test cannot go on without it.
fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{program} cannot be started ({error}): run tools/setup"));
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(output.status.success(), "{program} {args:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// A registry with two versions of a web server (repository `demo/app`), and a name for everything a test makes on the engine.
pub(in crate::server) struct Fixture {
    images: Images,
    instance: String,
    pub(in crate::server) host: String,
    registry: Child,
    _scratch: TempDir,
}

impl Fixture {
    /// With `locked` the registry asks for a password, else it takes any.
    pub(in crate::server) fn new(locked: bool) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let registry = start_registry(scratch.path(), port, locked);
        let repository = format!("127.0.0.1:{port}/demo/app");
        let instance = format!("test-{}", uuid::Uuid::now_v7());
        let missing: Digest = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
        let mut fixture = Self {
            images: Images {
                first: (String::new(), missing.clone()),
                second: (String::new(), missing.clone()),
                missing: (format!("{repository}@{missing}"), missing),
                registry: Some((USER.to_owned(), PASSWORD.into())),
            },
            instance,
            host: format!("127.0.0.1:{port}"),
            registry,
            _scratch: scratch,
        };
        let scratch = fixture._scratch.path().to_owned();
        let push = |version: &str| {
            let digest = push_image(&scratch, &repository, version);
            (format!("{repository}@{digest}"), digest)
        };
        fixture.images.first = push("one");
        fixture.images.second = push("two");
        fixture
    }

    pub(in crate::server) fn engine(&self) -> Swarm {
        Swarm::new(HOST, self.instance.clone()).unwrap()
    }

    /// The images that answer `one` and `two`.
    pub(in crate::server) fn digests(&self) -> [&Digest; 2] {
        [&self.images.first.1, &self.images.second.1]
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let docker = |args: &[&str]| {
            let output = Command::new("docker").args(args).stdin(Stdio::null()).output();
            output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).into_owned())
        };
        for instance in [self.instance.clone(), other(&self.instance)] {
            let services = docker(&["service", "ls", "-q", "--filter", &format!("label={INSTANCE}={instance}")]);
            for service in services.lines() {
                docker(&["service", "rm", service]);
            }
        }
        // Images can go when their containers have.
        let deadline = Instant::now() + Duration::from_secs(20);
        for (image, _) in [&self.images.first, &self.images.second] {
            let filter = format!("ancestor={image}");
            while !docker(&["ps", "-aq", "--filter", &filter]).trim().is_empty() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(200));
            }
            docker(&["image", "rm", "--force", image]);
        }
        let _ = self.registry.kill();
        let _ = self.registry.wait();
    }
}

const INSTANCE: &str = spec::INSTANCE;

fn other(instance: &str) -> String {
    format!("{instance}-other")
}

fn start_registry(scratch: &Path, port: u16, locked: bool) -> Child {
    let password = scratch.join("htpasswd");
    std::fs::write(&password, format!("{USER}:{PASSWORD_HASH}\n")).unwrap();
    let config = scratch.join("registry.yml");
    let auth = format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", password.display());
    let text = format!(
        "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n{}",
        scratch.join("registry").display(),
        if locked { auth.as_str() } else { "" }
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new("docker-registry");
    let child = command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = child.expect("docker-registry (Debian's package of that name) can be started: run tools/setup");
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "docker-registry does not listen");
        std::thread::sleep(Duration::from_millis(50));
    }
    child
}

/// A web server that answers with its version, made from the host's static busybox.
fn push_image(scratch: &Path, repository: &str, version: &str) -> Digest {
    let root = scratch.join(format!("root-{version}"));
    std::fs::create_dir_all(root.join("bin")).unwrap();
    std::fs::create_dir_all(root.join("www")).unwrap();
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static is installed: run tools/setup");
    std::fs::write(root.join("www/index.html"), version).unwrap();
    let path = |name: &str| scratch.join(name).display().to_string();
    let (storage, state, digest) = (path("storage"), path("state"), path("digest"));
    let buildah = |args: &[&str]| {
        let common = ["--root", &storage, "--runroot", &state, "--storage-driver", "vfs"];
        run("buildah", &[&common[..], args].concat())
    };
    let container = buildah(&["from", "scratch"]);
    buildah(&["copy", &container, &root.display().to_string(), "/"]);
    let entrypoint = r#"["/bin/busybox","httpd","-f","-p","8080","-h","/www"]"#;
    buildah(&["config", "--entrypoint", entrypoint, &container]);
    let name = format!("{repository}:{version}");
    buildah(&["commit", "--rm", &container, &name]);
    let creds = format!("{USER}:{PASSWORD}");
    buildah(&["push", "--tls-verify=false", "--creds", &creds, "--digestfile", &digest, &name]);
    std::fs::read_to_string(digest).unwrap().trim().parse().unwrap()
}

/// What the web server at a port says. A replica without a health check counts as ready from its start, a moment before it listens.
pub(in crate::server) fn ask(port: u16) -> String {
    let start = Instant::now();
    let mut stream = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(error) => assert!(start.elapsed() < Duration::from_secs(20), "port {port}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swarm_does_all_an_engine_must_do() {
    let fixture = Fixture::new(true);
    let engine = fixture.engine();
    conformance::suite(&engine, &fixture.images).await;

    // What is observed is what answers.
    for image in [&fixture.images.first, &fixture.images.second] {
        let wanted = desired(image, 20, 2, &fixture.images);
        engine.apply(&wanted).await.unwrap();
        let seen = until(&engine, "it runs", |seen| seen.settled(&wanted.digest, 2)).await;
        let version = if *image == fixture.images.first { "one" } else { "two" };
        for replica in &seen.replicas {
            assert_eq!(ask(replica.ports[0].1), version, "{replica:?}");
        }
    }
    two_servers_share_it(&fixture, &engine).await;
    a_fixed_port_is_handed_over(&fixture, &engine).await;
    a_crash_is_reported(&fixture, &engine).await;
}

async fn two_servers_share_it(fixture: &Fixture, engine: &Swarm) {
    let neighbour = Swarm::new(HOST, other(&fixture.instance)).unwrap();
    assert_eq!(neighbour.list().await, Ok(vec![]));
    assert_eq!(neighbour.observe("demo", "app").await, Ok(Observed::default()));
    let wanted = desired(&fixture.images.first, 1, 1, &fixture.images);
    neighbour.apply(&wanted).await.expect("the same names are no trouble");
    until(&neighbour, "the neighbour's app runs", |seen| seen.settled(&wanted.digest, 1)).await;
    neighbour.remove("demo", "app").await.unwrap();
    let mine = engine.observe("demo", "app").await.unwrap();
    assert!(mine.settled(&fixture.images.second.1, 2), "{mine:?}");
}

async fn a_fixed_port_is_handed_over(fixture: &Fixture, engine: &Swarm) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (image, version) in [(&fixture.images.first, "one"), (&fixture.images.second, "two")] {
        let mut wanted = desired(image, 25, 1, &fixture.images);
        wanted.spec.ports[0].published = Some(port);
        engine.apply(&wanted).await.unwrap();
        let seen = until(engine, "it runs on its port", |seen| seen.settled(&wanted.digest, 1)).await;
        assert_eq!(seen.replicas[0].ports, [(8080, port)]);
        assert_eq!(ask(port), version);
    }
}

async fn a_crash_is_reported(fixture: &Fixture, engine: &Swarm) {
    engine.remove("demo", "app").await.unwrap();
    let mut wanted = desired(&fixture.images.first, 30, 1, &fixture.images);
    wanted.spec.command = vec!["/bin/busybox".to_owned(), "false".to_owned()];
    engine.apply(&wanted).await.unwrap();
    let seen = until(engine, "the crash is noticed", |seen| seen.failed.is_some()).await;
    assert!(seen.failed.as_deref().is_some_and(|reason| reason.contains("non-zero exit (1)")), "{seen:?}");
    assert!(!seen.retryable && !seen.settled(&wanted.digest, 1));
}

#[tokio::test]
async fn an_engine_that_is_away_is_named_with_the_remedy() {
    let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
    let image = (format!("127.0.0.1:1/demo/app@{digest}"), digest);
    let images = Images { first: image.clone(), second: image.clone(), missing: image, registry: None };
    let engine = Swarm::new("unix:///nowhere/docker.sock", "test".to_owned()).unwrap();
    conformance::away(&engine, &images).await;
    insta::assert_snapshot!(
        engine.check().await.unwrap_err(),
        @"Docker does not answer at unix:///nowhere/docker.sock: start it (systemctl start docker) or choose --rollout none"
    );
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let engine = Swarm::new(&format!("tcp://{closed}"), "test".to_owned()).unwrap();
    conformance::away(&engine, &images).await;
    assert!(Swarm::new("docker.sock", "test".to_owned()).is_err());
}

#[tokio::test]
async fn the_mesh_is_refused_where_the_kernel_lacks_it() {
    let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
    let image = (format!("127.0.0.1:1/demo/app@{digest}"), digest);
    let images = Images { first: image.clone(), second: image.clone(), missing: image.clone(), registry: None };
    let mut wanted = desired(&image, 1, 1, &images);
    wanted.spec.ports = vec![AppPort { container: 80, published: None, mode: PublishMode::Ingress }];
    let answer = Swarm::new(HOST, "test".to_owned()).unwrap().refuse_mesh_without_ipvs(&wanted);
    assert_eq!(answer.is_err(), ipvs::is_missing());
    if let Err(error) = answer {
        assert!(error.to_string().ends_with("publish it with mode host"), "{error}");
    }
}

#[test]
fn a_token_docker_could_not_read_is_refused_and_the_token_is_not_told() {
    let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
    let image = (format!("127.0.0.1:5000/demo/app@{digest}"), digest);
    let registry = |token: &str| Some(("robot".to_owned(), token.to_owned().into()));
    let mut images = Images { first: image.clone(), second: image.clone(), missing: image, registry: registry("a~b?") };
    let error = credentials(&desired(&images.first, 1, 1, &images)).unwrap_err();
    assert!(!error.to_string().contains("a~b"), "{error}");
    images.registry = registry("weir_0123-abc");
    let credentials = credentials(&desired(&images.first, 1, 1, &images)).unwrap().unwrap();
    assert_eq!(credentials.serveraddress.as_deref(), Some("127.0.0.1:5000"));
}
