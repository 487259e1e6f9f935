//! containerd, by its own client: what Kubernetes' nodes pull with.
//!
//! It asks `HEAD` of a manifest before it gets it, takes the digest from `Docker-Content-Digest`, gets everything else by digest, and
//! pushes a list only when it has all of its images. The daemon is docker's, or one of its own.

use std::path::Path;

use super::{door_and_home, is_to_run, run, succeeds, words};
use crate::registry::door::{Door, header};
use crate::upstreams::images::{OCI_INDEX, TestImage, index_of};

const SOCKETS: [&str; 2] = ["/run/containerd/containerd.sock", "/run/docker/containerd/containerd.sock"];

/// A namespace of containerd's, which is empty at the beginning and gone at the end.
struct Ctr<'a> {
    socket: &'static str,
    namespace: String,
    home: &'a Path,
}

impl Ctr<'_> {
    fn words(&self, command: &str) -> Vec<String> {
        words(&format!("--address {} --namespace {} {command}", self.socket, self.namespace))
    }

    async fn succeeds(&self, command: &str) -> String {
        succeeds("ctr", self.words(command), self.home).await
    }
}

impl Drop for Ctr<'_> {
    fn drop(&mut self) {
        let ctr = |command: &str| std::process::Command::new("ctr").args(self.words(command)).output();
        let images = ctr("images ls --quiet").map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        for image in images.unwrap_or_default().lines() {
            let _ = ctr(&format!("images rm --sync {image}"));
        }
        let _ = ctr(&format!("namespaces rm {}", self.namespace));
    }
}

/// An index of two images, tagged `demo/many:1`.
async fn push_index(door: &Door) {
    let (one, two) = (TestImage::new("amd64"), TestImage::new("arm64"));
    for image in [&one, &two] {
        door.push("demo/many", image.digest().as_str(), image).await;
    }
    let index = index_of(&[("amd64", &one), ("arm64", &two)]);
    assert_eq!(door.put_manifest("demo/many", "1", OCI_INDEX, &index).await.status(), 201);
}

#[tokio::test]
async fn c14_containerd_pulls_and_pushes() {
    let (door, home) = door_and_home().await;
    let (home, address) = (home.path(), door.address.clone());
    let mut answering = None;
    for socket in SOCKETS {
        if run("ctr", words(&format!("--address {socket} version")), home).await.status.success() {
            answering = Some(socket);
        }
    }
    if !is_to_run("containerd", answering.is_some()) {
        return;
    }
    let socket = answering.unwrap_or_default();
    let ctr = Ctr { socket, namespace: format!("weir-test-{}", std::process::id()), home };
    super::push_real_image(&door, home).await;
    push_index(&door).await;

    let access = format!("--plain-http --user x:{}", door.token);
    let real = format!("{address}/demo/real:1");
    ctr.succeeds(&format!("images pull {access} {real}")).await;
    let copy = format!("{address}/demo/by-ctr:1");
    ctr.succeeds(&format!("images push {access} {copy} {real}")).await;
    let (from, to) = (door.get("demo/real/manifests/1").await, door.get("demo/by-ctr/manifests/1").await);
    assert_eq!(header(&from, "docker-content-digest"), header(&to, "docker-content-digest"), "byte for byte");
    assert_eq!(door.history("by-ctr", "1").await.len(), 1);

    // These layers are no archives: they are fetched, not unpacked.
    let many = format!("{address}/demo/many:1");
    ctr.succeeds(&format!("content fetch {access} --all-platforms {many}")).await;
    ctr.succeeds(&format!("images push {access} {address}/demo/by-ctr:many {many}")).await;
    assert_eq!(header(&door.get("demo/by-ctr/manifests/many").await, "content-type"), OCI_INDEX);

    let refused = run("ctr", ctr.words(&format!("images pull --plain-http --user x:wrong {real}")), home).await;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("401"), "{said}");
}
