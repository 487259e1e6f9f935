//! A server that ends in the middle of a download.

use weir::server::hash::sha256;

use super::until;
use crate::support::{ADMIN_PASSWORD, Client, RunningWeir, run_weir};
use crate::upstreams::images::TestImage;
use crate::upstreams::{Flow, Tap};

const LARGE: usize = 4_000_000;

fn admin(weir: &RunningWeir, data: &str) -> Client {
    let made = run_weir(["token", "create", "--user", "admin", "--data-dir", data]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    Client::new(&weir.url, Some(made.stdout.trim().to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_server_had_begun_is_brought_by_the_next() {
    let tap = Tap::shut(&TestImage::large("killed", LARGE)).await;
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().to_str().expect("a path in UTF-8");
    let weir = RunningWeir::start(directory.path(), &["--admin-password", ADMIN_PASSWORD]);
    let client = admin(&weir, data);
    follow(&client, &tap).await;
    let manifest = client.get("/v2/demo/base/manifests/latest").await;
    assert_eq!(manifest.status(), 200, "{}", manifest.text().await.unwrap_or_default());
    let blob = format!("/v2/demo/base/blobs/{}", sha256(&tap.image.layer));
    tap.open(2_000_000);
    let mut coming = client.get(&blob).await;
    assert_eq!(coming.status(), 200);
    coming.chunk().await.expect("bytes").expect("not the end");
    weir.kill();
    assert!(coming.bytes().await.is_err(), "a body of a killed server is not whole");

    // Its controllers bring what nobody asks for.
    tap.open_wide();
    let weir = RunningWeir::start(directory.path(), &[]);
    let hex = sha256(&tap.image.layer).hex().to_owned();
    let file = directory.path().join("blobs/blobs/sha256").join(&hex[..2]).join(&hex);
    until("the layer is stored", async || file.exists()).await;
    tap.set(Flow::Limited(100));
    let client = admin(&weir, data);
    let whole = client.get(&blob).await.bytes().await.expect("a whole body");
    assert!(whole == tap.image.layer);
    let verified = run_weir(["verify", "--data-dir", data]);
    assert_eq!(verified.code, Some(0), "{}", verified.stdout);
    weir.kill();
}

async fn follow(client: &Client, tap: &Tap) {
    let project = serde_json::json!({"metadata": {"name": "demo"}});
    let made = client.post("/apis/project.openshift.io/v1/projectrequests", &project).await;
    assert!(made.status().is_success(), "{}", made.text().await.unwrap_or_default());
    let tag = serde_json::json!({
        "name": "latest",
        "from": {"kind": "DockerImage", "name": tap.reference()},
        "importPolicy": {"insecure": true, "scheduled": true},
    });
    let stream = serde_json::json!({"metadata": {"name": "base"}, "spec": {"tags": [tag]}});
    let made = client.post("/apis/image.openshift.io/v1/namespaces/demo/imagestreams", &stream).await;
    assert!(made.status().is_success(), "{}", made.text().await.unwrap_or_default());
}
