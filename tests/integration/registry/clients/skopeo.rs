//! skopeo, which copies what others only push and pull, and deletes.

use weir::server::store::TagRules;

use super::{both_ends, door_and_home, push_real_image, run, second_project, storage, succeeds, words};
use crate::registry::door::{Door, PASSWORD, header};
use crate::upstreams::images::{OCI_MANIFEST, TestImage};

#[tokio::test]
async fn buildah_and_skopeo() {
    let (door, home) = door_and_home().await;
    let (home, address) = (home.path(), door.address.clone());
    push_real_image(&door, home).await;
    let first = door.history("real", "1").await;
    assert_eq!((first.len(), &*first[0].actor), (1, "ada"));

    // Another repository, Docker's format, by password: bytes are mounted, the manifest is converted.
    let copy = format!(
        "copy --src-tls-verify=false --dest-tls-verify=false --src-creds x:{0} --dest-creds x:{0} --format v2s2 \
         docker://{address}/demo/real:1 docker://{address}/demo/copy:1",
        door.token
    );
    succeeds("skopeo", words(&copy), home).await;
    let mut inspect = words(&format!("inspect --tls-verify=false docker://{address}/demo/copy:1"));
    inspect.extend(["--creds".to_owned(), format!("ada:{PASSWORD}")]);
    let inspected = succeeds("skopeo", inspect, home).await;
    assert!(inspected.contains("\"A=b\""), "{inspected}");
    let listed = format!("list-tags --tls-verify=false --creds x:{} docker://{address}/demo/copy", door.token);
    assert!(succeeds("skopeo", words(&listed), home).await.contains("\"1\""));

    let pull = format!(
        "{} pull --tls-verify=false --creds x:{} docker://{address}/demo/copy:1",
        storage(&home.join("2")),
        door.token
    );
    succeeds("buildah", words(&pull), home).await;

    // It asks for the tag's digest and deletes that.
    let delete =
        |name: &str| words(&format!("delete --tls-verify=false --creds x:{} docker://{address}/{name}", door.token));
    succeeds("skopeo", delete("demo/copy:1"), home).await;
    assert_eq!(door.get("demo/copy/manifests/1").await.status(), 404);
    let missing = run("skopeo", delete("demo/copy:1"), home).await;
    assert!(!missing.status.success());
}

#[tokio::test]
async fn skopeo_is_refused_with_words() {
    let (door, home) = door_and_home().await;
    let (home, address) = (home.path(), door.address.clone());
    door.push("demo/app", "1", &TestImage::new("x")).await;
    door.push("demo/fixed", "v1", &TestImage::new("y")).await;
    let rules = TagRules { immutable: vec!["v*".to_owned()], kind_changes: false };
    door.store.set_tag_rules("demo", "fixed", &rules, None, &door.actor).await.expect("the rules");
    let viewer = door.token_of("vic").await;
    let cases = [
        ("viewer pushing", viewer.clone(), "demo/app:2", "may not push images in project demo"),
        ("another project", door.token.clone(), "other/app:1", "not found"),
        ("immutable tag", door.token.clone(), "demo/fixed:v1", "fixed:v1 is immutable and stays where it is"),
        ("a tag of the past", door.token.clone(), "demo/app:1--asof-20261101T1403Z", "choose another name"),
        ("wrong token", "weir_u_wrong".to_owned(), "demo/app:2", "the user name, password or token is wrong"),
    ];
    for (case, credentials, to, says) in cases {
        let copy = format!(
            "copy --src-tls-verify=false --dest-tls-verify=false --src-creds x:{viewer} --dest-creds x:{credentials} \
             docker://{address}/demo/app:1 docker://{address}/{to}"
        );
        let refused = run("skopeo", words(&copy), home).await;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(says), "{case}: {said}");
    }
}

#[tokio::test]
async fn skopeo_is_told_that_the_project_is_full() {
    let (door, home) = door_and_home().await;
    let (home, address) = (home.path(), door.address.clone());
    push_real_image(&door, home).await;
    second_project(&door).await;
    let holds = door.store.project_usage("demo").await.expect("figures").bytes;
    door.store.set_quota("copies", Some(holds - 1), &door.actor).await.expect("a quota");
    let copy = format!("copy {} docker://{address}/demo/real:1 docker://{address}/copies/real:1", both_ends(&door));
    let refused = run("skopeo", words(&copy), home).await;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("the project copies may hold"), "{said}");
    assert!(said.contains("delete images or ask for a larger quota"), "{said}");
    assert_eq!(door.get("copies/real/manifests/1").await.status(), 404);
    door.store.set_quota("copies", Some(holds), &door.actor).await.expect("a quota");
    succeeds("skopeo", words(&copy), home).await;
}

/// skopeo asks for a mount only where its own notes (`blob-info-cache-v1.boltdb`) say that another repository of the registry has the
/// blob.
#[tokio::test]
async fn copies_between_projects_send_no_layer_twice() {
    let (door, home) = door_and_home().await;
    let (home, address) = (home.path(), door.address.clone());
    second_project(&door).await;
    push_real_image(&door, home).await;
    let manifest: serde_json::Value = door.get("demo/real/manifests/1").await.json().await.expect("JSON");
    let layer = manifest["layers"][0]["digest"].as_str().expect("a digest").to_owned();
    let file = inode(&door, &layer);
    let copy = format!("copy {} docker://{address}/demo/real:1 docker://{address}/copies/real:1", both_ends(&door));
    succeeds("skopeo", words(&copy), home).await;
    // An upload would have put another file in its place.
    assert_eq!(inode(&door, &layer), file, "the layer was sent again instead of being mounted");
    let (from, to) = (door.get("demo/real/manifests/1").await, door.get("copies/real/manifests/1").await);
    assert_eq!(header(&from, "docker-content-digest"), header(&to, "docker-content-digest"));
    // Whoever leaves a copy behind takes nothing from the other.
    let delete = format!("delete --tls-verify=false --creds x:{} docker://{address}/demo/real:1", door.token);
    succeeds("skopeo", words(&delete), home).await;
    assert_eq!(door.get("demo/real/manifests/1").await.status(), 404);
    let pull = format!(
        "{} pull --tls-verify=false --creds x:{} docker://{address}/copies/real:1",
        storage(&home.join("2")),
        door.token
    );
    succeeds("buildah", words(&pull), home).await;
}

fn inode(door: &Door, digest: &str) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let hex = digest.strip_prefix("sha256:").expect("sha256");
    let file = door.directory.path().join("blobs/blobs/sha256").join(&hex[..2]).join(hex);
    std::fs::metadata(file).expect("the blob's file").ino()
}

/// OCI's format and Docker's, there and back: the blobs stay, the manifest is another one.
#[tokio::test]
async fn formats_are_converted_there_and_back() {
    let (door, home) = door_and_home().await;
    let (home, address) = (home.path(), door.address.clone());
    push_real_image(&door, home).await;
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let steps = [("v2s2", "real:1", "docker:1", docker), ("oci", "docker:1", "oci:1", OCI_MANIFEST)];
    for (format, from, to, media_type) in steps {
        let ends = both_ends(&door);
        let copy = format!("copy {ends} --format {format} docker://{address}/demo/{from} docker://{address}/demo/{to}");
        succeeds("skopeo", words(&copy), home).await;
        let manifest = door.get(&format!("demo/{}", to.replace(':', "/manifests/"))).await;
        assert_eq!(header(&manifest, "content-type"), media_type, "{to}");
        let pull = format!(
            "{} pull --tls-verify=false --creds x:{} docker://{address}/demo/{to}",
            storage(&home.join(format)),
            door.token
        );
        succeeds("buildah", words(&pull), home).await;
    }
    // Schema 1 has been dead for years; who insists is told so.
    let ends = both_ends(&door);
    let copy = format!("copy {ends} --format v2s1 docker://{address}/demo/docker:1 docker://{address}/demo/old:1");
    let refused = run("skopeo", words(&copy), home).await;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("schema 1"), "{said}");
}
