//! The clients people use: skopeo, buildah and docker push and pull, with tokens and passwords.

use std::path::Path;
use std::process::{Command, Output};

use weir::server::store::TagRules;

use super::door::{Door, PASSWORD};
use crate::upstreams::images::TestImage;

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
    let storage = format!("--root {0}/root --runroot {0}/run --storage-driver vfs", home.display());
    let build = format!("{storage} bud --isolation chroot -t made {}", layout.display());
    succeeds("buildah", words(&build), home).await;
    let push = format!(
        "{storage} push --tls-verify=false --creds ada:{} made docker://{}/demo/real:1",
        door.token, door.address
    );
    succeeds("buildah", words(&push), home).await;
}

#[tokio::test]
async fn buildah_and_skopeo() {
    let (door, home) = (Door::open().await, tempfile::tempdir().expect("a directory"));
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

    let storage = format!("--root {0}/root2 --runroot {0}/run2 --storage-driver vfs", home.display());
    let pull = format!("{storage} pull --tls-verify=false --creds x:{} docker://{address}/demo/copy:1", door.token);
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
    let (door, home) = (Door::open().await, tempfile::tempdir().expect("a directory"));
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

/// `docker` talks to its daemon, which takes any registry on 127.0.0.0/8 without TLS.
#[tokio::test]
async fn docker() {
    let (door, home) = (Door::open().await, tempfile::tempdir().expect("a directory"));
    let (home, address) = (home.path(), door.address.clone());
    if !run("docker", words("version"), home).await.status.success() {
        assert!(std::env::var_os("CI").is_none(), "the docker daemon must run where tests are to be believed");
        eprintln!("the docker daemon does not run: its part of the tests is not run either");
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
