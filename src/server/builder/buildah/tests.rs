//! The real thing, in a storage of its own.

use super::*;
use crate::server::builder::conformance;

#[tokio::test]
async fn conforms() {
    // The provider of TLS that the server installs at its start.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let directory = tempfile::tempdir().unwrap();
    let below = directory.path().join("builder");
    let config = BuildahConfig { git: conformance::git(), ..BuildahConfig::below(below.clone()) };
    let builder = Buildah::new(config);
    conformance::suite(&builder, &below).await;
    let host = builder.host().await.unwrap();
    let mut command = host.command(&builder.config, "test", &below);
    command.args(["containers", "--quiet"]);
    let limits = Limits { timeout: Duration::from_secs(60), cancel: &CancellationToken::new() };
    let left = process::capture(command, limits).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "", "working containers are left");
}

#[tokio::test]
async fn says_what_is_missing() {
    let message = host::present("weir-no-such-program").unwrap_err();
    assert_eq!(
        message,
        "weir-no-such-program is not installed, so builds cannot run: apt install weir-no-such-program"
    );
}

/// A server that was killed leaves its buildah running: nothing here holds on to the process but the mark.
#[tokio::test]
async fn reaps_what_a_killed_server_left() {
    let directory = tempfile::tempdir().unwrap();
    let below = directory.path().join("builder");
    let builder = Buildah::new(BuildahConfig::below(below.clone()));
    let id = "left-of-a-killed-server";
    let work = builder.workshop.work(id);
    std::fs::create_dir_all(&work).unwrap();
    std::fs::copy("/bin/busybox", work.join("busybox")).unwrap();
    let steps = "FROM scratch\nCOPY busybox /bin/sh\nRUN echo started; exec sleep 98763\n";
    std::fs::write(work.join("Dockerfile"), steps).unwrap();
    let mut command = builder.host().await.unwrap().command(&builder.config, id, &work);
    command.args(["bud", "--isolation", "chroot", "--layers"]).arg(&work).kill_on_drop(false);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(child.stdout.take().unwrap()));
    while lines.next_line().await.unwrap().expect("buildah ended") != "started" {}

    builder.reap(id).await.unwrap();
    child.wait().await.unwrap();
    assert!(!work.exists());
    assert!(process::marked(&format!("{}={id}", process::MARKER)).is_empty());
    let sleeping = std::fs::read_dir("/proc").unwrap().flatten().any(|process| {
        std::fs::read(process.path().join("cmdline")).is_ok_and(|line| line.ends_with(b"sleep\x0098763\0"))
    });
    assert!(!sleeping, "a step of the build lives on");
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    assert!(!mounts.contains(below.to_str().unwrap()), "mounts are left:\n{mounts}");
}
