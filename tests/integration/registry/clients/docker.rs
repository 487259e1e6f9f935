//! docker, which lets its daemon do the work.

use super::{door_and_home, is_to_run, push_real_image, run, succeeds, words};

/// `docker` talks to its daemon, which takes any registry on 127.0.0.0/8 without TLS.
#[tokio::test]
async fn docker() {
    let (door, home) = door_and_home().await;
    let (home, address) = (home.path(), door.address.clone());
    if !is_to_run("the docker daemon", run("docker", words("version"), home).await.status.success()) {
        return;
    }
    push_real_image(&door, home).await;
    succeeds("docker", words(&format!("login -u ada -p {} {address}", door.token)), home).await;
    let (from, to) = (format!("{address}/demo/real:1"), format!("{address}/demo/by-docker:2"));
    succeeds("docker", words(&format!("pull {from}")), home).await;
    succeeds("docker", words(&format!("tag {from} {to}")), home).await;
    succeeds("docker", words(&format!("push {to}")), home).await;
    assert_eq!(door.history("by-docker", "2").await.len(), 1);
    succeeds("docker", words(&format!("rmi {from} {to}")), home).await;
    succeeds("docker", words(&format!("pull {to}")), home).await;
    succeeds("docker", words(&format!("rmi {to}")), home).await;
    let login = run("docker", words(&format!("login -u ada -p wrong {address}")), home).await;
    let said = String::from_utf8_lossy(&login.stderr).into_owned();
    assert!(!login.status.success() && said.contains("the user name, password or token is wrong"), "{said}");
}

/// The client alone makes lists, from manifests that it reads, and pushes them without the daemon. They are in Docker's own format.
#[tokio::test]
async fn docker_makes_lists_of_images() {
    let (door, home) = door_and_home().await;
    let (home, address) = (home.path(), door.address.clone());
    if !is_to_run("the docker daemon", run("docker", words("version"), home).await.status.success()) {
        return;
    }
    push_real_image(&door, home).await;
    let to_docker = format!(
        "copy {} --format v2s2 docker://{address}/demo/real:1 docker://{address}/demo/docker:1",
        super::both_ends(&door)
    );
    succeeds("skopeo", words(&to_docker), home).await;
    succeeds("docker", words(&format!("login -u ada -p {} {address}", door.token)), home).await;
    let list = format!("{address}/demo/docker:many");
    succeeds("docker", words(&format!("manifest create --insecure {list} {address}/demo/docker:1")), home).await;
    let annotate = format!("manifest annotate --arch arm64 --variant v8 {list} {address}/demo/docker:1");
    succeeds("docker", words(&annotate), home).await;
    succeeds("docker", words(&format!("manifest push --insecure {list}")), home).await;
    let pushed: serde_json::Value = door.get("demo/docker/manifests/many").await.json().await.expect("JSON");
    assert_eq!(pushed["mediaType"], "application/vnd.docker.distribution.manifest.list.v2+json");
    assert_eq!(pushed["manifests"][0]["platform"]["architecture"], "arm64");
}
