//! podman, with buildah's storage and a mind of its own about compression.

use std::path::Path;

use super::{door_and_home, push_real_image, run, storage, succeeds, words};
use crate::registry::door::Door;

/// The engine's settings that need no init system, as in a container.
fn podman(home: &Path, command: &str) -> Vec<String> {
    words(&format!("{} --cgroup-manager=cgroupfs --events-backend=none {command}", storage(home)))
}

fn access(door: &Door) -> String {
    format!("--tls-verify=false --creds x:{}", door.token)
}

#[tokio::test]
async fn pushes_pulls_and_logs_in() {
    let (door, home) = door_and_home().await;
    let (home, address) = (home.path(), door.address.clone());
    push_real_image(&door, home).await;
    let login = format!("login --tls-verify=false -u ada -p {} {address}", door.token);
    succeeds("podman", podman(home, &login), home).await;
    let wrong = run("podman", podman(home, &format!("login --tls-verify=false -u ada -p wrong {address}")), home).await;
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    // podman has its own words for 401.
    assert!(!wrong.status.success() && said.contains("invalid username/password"), "{said}");

    let second = &home.join("2");
    for (format, tag) in [("oci", "oci"), ("v2s2", "docker")] {
        let push = format!("push --tls-verify=false --format {format} made docker://{address}/demo/by-podman:{tag}");
        succeeds("podman", podman(home, &push), home).await;
        let pull = format!("pull --tls-verify=false docker://{address}/demo/by-podman:{tag}");
        let id = succeeds("podman", podman(second, &pull), home).await;
        let inspected = succeeds("podman", podman(second, &format!("image inspect {}", id.trim())), home).await;
        assert!(inspected.contains("\"A=b\""), "{inspected}");
    }
    assert_eq!(door.history("by-podman", "docker").await.len(), 1);
    let logout = podman(home, &format!("logout {address}"));
    succeeds("podman", logout, home).await;
}

/// podman pulls by digest what it resolved by tag, and searches through the catalog, of which one sees one's own part.
#[tokio::test]
async fn pulls_by_digest_and_lists() {
    let (door, home) = door_and_home().await;
    let (home, address) = (home.path(), door.address.clone());
    push_real_image(&door, home).await;
    let digest = door.history("real", "1").await[0].digest.clone().expect("a digest");
    let pull = format!("pull {} docker://{address}/demo/real@{digest}", access(&door));
    succeeds("podman", podman(&home.join("2"), &pull), home).await;
    let login = format!("login --tls-verify=false -u ada -p {} {address}", door.token);
    succeeds("podman", podman(home, &login), home).await;
    let tags = format!("search --tls-verify=false --list-tags {address}/demo/real");
    let listed = succeeds("podman", podman(home, &tags), home).await;
    assert!(listed.contains("demo/real") && listed.contains('1'), "{listed}");
}

/// zstd is OCI's alone. podman remembers layers that it has seen compressed otherwise and would send those: this one it never saw.
#[tokio::test]
async fn layers_of_zstd() {
    let (door, home) = door_and_home().await;
    let (home, address) = (home.path(), door.address.clone());
    let context = home.join("zstd");
    std::fs::create_dir_all(&context).expect("a directory");
    let unseen = format!("{} zstandard ", rand::random::<u64>());
    std::fs::write(context.join("large.txt"), unseen.repeat(10_000)).expect("a file");
    std::fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY large.txt /\n").expect("a Dockerfile");
    let build = format!("{} bud --isolation chroot -t compressed {}", storage(home), context.display());
    succeeds("buildah", words(&build), home).await;
    let push = format!(
        "push {} --format oci --compression-format zstd compressed docker://{address}/demo/zstd:1",
        access(&door)
    );
    succeeds("podman", podman(home, &push), home).await;
    let manifest: serde_json::Value = door.get("demo/zstd/manifests/1").await.json().await.expect("JSON");
    assert_eq!(manifest["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd", "{manifest}");
    let pull = format!("pull {} docker://{address}/demo/zstd:1", access(&door));
    succeeds("podman", podman(&home.join("2"), &pull), home).await;
}
