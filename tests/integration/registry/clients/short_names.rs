//! Docker Hub's short names, for clients that are told to look here first: `busybox` is asked for as `library/busybox`, which here is a
//! stream that follows the same name elsewhere. Nothing of it is stored before the first of them pulls.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use weir::model::{EventKind, Role};
use weir::server::store::TagSpec;

use super::{door_and_home, is_to_run, push_real_image, run, storage, succeeds, words};
use crate::upstreams::DockerRegistry;

/// Where this server is asked in place of Docker Hub.
fn mirror(address: &str) -> String {
    format!(
        "unqualified-search-registries = [\"docker.io\"]\nshort-name-mode = \"permissive\"\n\
         [[registry]]\nprefix = \"docker.io\"\nlocation = \"docker.io\"\n\
         [[registry.mirror]]\nlocation = \"{address}\"\ninsecure = true\n"
    )
}

#[tokio::test]
async fn c14_short_names_of_docker_hub_are_pulled_through_by_every_client() {
    let ((door, home), hub) = (door_and_home().await, DockerRegistry::start());
    let (home, address) = (home.path(), door.address.clone());
    push_real_image(&door, home).await;
    let copy = format!(
        "copy --src-tls-verify=false --dest-tls-verify=false --src-creds x:{} docker://{address}/demo/real:1 \
         docker://{}/library/busybox:latest",
        door.token,
        hub.address()
    );
    succeeds("skopeo", words(&copy), home).await;
    let library = "library".parse().expect("a name");
    door.store.create_project(&library, "", "", None, &door.actor).await.expect("a project");
    door.store.grant_role("library", "ada", Role::Viewer, &door.actor).await.expect("a role");
    let spec = TagSpec { insecure: true, ..TagSpec::import(hub.reference("library/busybox:latest")) };
    let (stream, tag) = ("busybox".parse().expect("a name"), "latest".parse().expect("a name"));
    door.store.set_tag("library", &stream, &tag, &spec, None, &door.actor).await.expect("it follows");

    let settings = home.join(".config/containers");
    std::fs::create_dir_all(&settings).expect("a directory");
    std::fs::write(settings.join("registries.conf"), mirror(&address)).expect("a file");
    std::fs::create_dir_all(home.join(".docker")).expect("a directory");
    let auth = STANDARD.encode(format!("ada:{}", door.token));
    let known = json!({"auths": {&address: {"auth": auth}}});
    std::fs::write(home.join(".docker/config.json"), known.to_string()).expect("a file");

    let names = ["busybox", "docker.io/busybox", "docker.io/library/busybox:latest"];
    let storage = storage(home);
    for name in names {
        let shown = succeeds("skopeo", words(&format!("inspect --no-tags docker://{name}")), home).await;
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        assert_eq!(shown["Name"], "docker.io/library/busybox", "{name}");
        for client in ["podman", "buildah"] {
            succeeds(client, words(&format!("{storage} pull {name}")), home).await;
            succeeds(client, words(&format!("{storage} rmi {name}")), home).await;
        }
    }
    if is_to_run("the docker daemon", run("docker", words("version"), home).await.status.success()) {
        // Its daemon is not told of mirrors here: the name says where to look.
        for name in [format!("{address}/library/busybox"), format!("{address}/library/busybox:latest")] {
            succeeds("docker", words(&format!("pull {name}")), home).await;
            succeeds("docker", words(&format!("rmi {name}")), home).await;
        }
    }
    let tag = door.store.tag("library", "busybox", "latest").await.expect("the tag");
    let history = door.store.list_history(&tag.id, None, 10).await.expect("its history");
    let kinds: Vec<_> = history.iter().map(|row| row.kind).collect();
    assert_eq!(kinds, [EventKind::Import], "one move, however many pulled");
}
