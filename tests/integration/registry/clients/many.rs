//! Images for several architectures: lists that buildah and podman make, and skopeo copies whole.

use serde_json::Value;

use super::{both_ends, door_and_home, second_project, storage, succeeds, words};
use crate::registry::door::header;
use crate::upstreams::images::OCI_INDEX;

#[tokio::test]
async fn lists_are_pushed_copied_and_pulled_whole() {
    let (door, home) = door_and_home().await;
    let (home, address) = (home.path(), door.address.clone());
    second_project(&door).await;
    let (storage_here, context) = (storage(home), home.join("context"));
    std::fs::create_dir_all(&context).expect("a directory");
    std::fs::write(
        context.join("Dockerfile"),
        "FROM scratch\nARG TARGETARCH\nENV ARCH=$TARGETARCH\nCOPY Dockerfile /\n",
    )
    .expect("a Dockerfile");
    succeeds("buildah", words(&format!("{storage_here} manifest create many")), home).await;
    for architecture in ["amd64", "arm64"] {
        let build = format!(
            "{storage_here} bud --isolation chroot --arch {architecture} --build-arg TARGETARCH={architecture} --manifest many {}",
            context.display()
        );
        succeeds("buildah", words(&build), home).await;
    }
    let access = format!("--tls-verify=false --creds x:{}", door.token);
    // The children come first, by their digests, and belong to no tag.
    let push = format!("{storage_here} manifest push --all {access} many docker://{address}/demo/many:1");
    succeeds("buildah", words(&push), home).await;
    let podman = format!(
        "{storage_here} --events-backend=none manifest push --all {access} many docker://{address}/demo/by-podman:1"
    );
    succeeds("podman", words(&podman), home).await;
    for pushed in ["many", "by-podman"] {
        let answer = door.get(&format!("demo/{pushed}/manifests/1")).await;
        assert_eq!(header(&answer, "content-type"), OCI_INDEX, "{pushed}");
        let index: Value = answer.json().await.expect("JSON");
        let architectures: Vec<_> =
            index["manifests"].as_array().expect("a list").iter().map(|one| &one["platform"]["architecture"]).collect();
        assert_eq!(architectures, ["amd64", "arm64"], "{pushed}");
        assert_eq!(door.history(pushed, "1").await.len(), 1);
    }

    let copy = format!(
        "copy --all --preserve-digests {} docker://{address}/demo/many:1 docker://{address}/copies/many:1",
        both_ends(&door)
    );
    succeeds("skopeo", words(&copy), home).await;
    let raw = |name: &str| words(&format!("inspect --raw {access} docker://{address}/{name}"));
    let (from, to) =
        (succeeds("skopeo", raw("demo/many:1"), home).await, succeeds("skopeo", raw("copies/many:1"), home).await);
    assert_eq!(from, to, "byte for byte");
    // Each architecture is to be had from the copy alone.
    let index: Value = serde_json::from_str(&to).expect("JSON");
    for child in index["manifests"].as_array().expect("a list") {
        let architecture = child["platform"]["architecture"].as_str().expect("a name");
        let other = storage(&home.join(architecture));
        let pull = format!("{other} pull --arch {architecture} {access} docker://{address}/copies/many:1");
        let id = succeeds("buildah", words(&pull), home).await;
        let inspected = succeeds("buildah", words(&format!("{other} inspect --type image {}", id.trim())), home).await;
        assert!(inspected.contains(&format!("ARCH={architecture}")), "{inspected}");
    }
    // Only the present machine's image, out of the list.
    let one = format!("copy {} docker://{address}/demo/many:1 docker://{address}/copies/one:1", both_ends(&door));
    succeeds("skopeo", words(&one), home).await;
    assert_ne!(header(&door.get("copies/one/manifests/1").await, "content-type"), OCI_INDEX);
}
