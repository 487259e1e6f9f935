//! The clients people use, as Debian has them: docker, podman, buildah, skopeo and containerd push, pull, copy and delete, with tokens
//! and passwords. What is peculiar about each is noted where it shows.

mod artifacts;
mod containerd;
mod docker;
mod many;
mod podman;
mod short_names;
mod signatures;
mod skopeo;

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;
use weir::model::Role;

use super::door::Door;

/// A door, and a home for one client that nothing of another test is in.
async fn door_and_home() -> (Door, TempDir) {
    (Door::open().await, tempfile::tempdir().expect("a directory"))
}

/// A second project of Ada's.
async fn second_project(door: &Door) {
    let name = "copies".parse().expect("a name");
    door.store.create_project(&name, "", "", None, &door.actor).await.expect("a project");
    door.store.grant_role("copies", "ada", Role::Editor, &door.actor).await.expect("a role");
}

/// Whether a daemon is there; where tests are to be believed, it has to be.
fn is_to_run(daemon: &str, runs: bool) -> bool {
    if !runs {
        assert!(std::env::var_os("CI").is_none(), "{daemon} must run where tests are to be believed");
        eprintln!("{daemon} does not run: its part of the tests is not run either");
    }
    runs
}

/// What skopeo is told of both ends of a copy.
fn both_ends(door: &Door) -> String {
    format!("--src-tls-verify=false --dest-tls-verify=false --src-creds x:{0} --dest-creds x:{0}", door.token)
}

/// buildah's and podman's own storage below a home; the driver that needs no mounts.
fn storage(home: &Path) -> String {
    format!("--root {0}/root --runroot {0}/run --storage-driver vfs", home.display())
}

async fn run(program: &'static str, arguments: Vec<String>, home: &Path) -> Output {
    let home = home.to_owned();
    let work = move || {
        let mut command = Command::new(program);
        command.args(&arguments).env("HOME", &home).env("XDG_RUNTIME_DIR", &home).env("TMPDIR", &home);
        command.output().unwrap_or_else(|e| panic!("{program} runs: {e}"))
    };
    tokio::task::spawn_blocking(work).await.expect("joined")
}

async fn succeeds(program: &'static str, arguments: Vec<String>, home: &Path) -> String {
    let output = run(program, arguments.clone(), home).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// An image that every client believes in: its layer is a tar archive, its diff id is right.
async fn push_real_image(door: &Door, home: &Path) {
    let layout = home.join("context");
    std::fs::create_dir_all(&layout).expect("a directory");
    std::fs::write(layout.join("hello.txt"), "hello").expect("a file");
    std::fs::write(layout.join("Dockerfile"), "FROM scratch\nCOPY hello.txt /\nENV A=b\n").expect("a Dockerfile");
    let storage = storage(home);
    let build = format!("{storage} bud --isolation chroot -t made {}", layout.display());
    succeeds("buildah", words(&build), home).await;
    let push = format!(
        "{storage} push --tls-verify=false --creds ada:{} made docker://{}/demo/real:1",
        door.token, door.address
    );
    succeeds("buildah", words(&push), home).await;
}
