//! Artifacts, as oras pushes them: neither images nor to be run, and told apart by their types. By plain HTTP in the order of its
//! requests, as Debian has none. Python's package `oras` (0.2) pushes and pulls with its `basic` way of signing in; with its `token` way it sends
//! the token it has again where a 401 asks for one that reaches further, to any registry.

use bytes::Bytes;
use reqwest::Method;
use serde_json::{Value, json};
use weir::server::hash::sha256;

use super::{both_ends, door_and_home, second_project, succeeds, words};
use crate::registry::door::{Door, header};
use crate::upstreams::images::{OCI_MANIFEST, TestImage};

const EMPTY: Bytes = Bytes::from_static(b"{}");
const SBOM: &str = "application/spdx+json";

fn descriptor(media_type: &str, bytes: &Bytes) -> Value {
    json!({"mediaType": media_type, "digest": sha256(bytes), "size": bytes.len()})
}

/// oras asks for each blob before it sends it, in two requests, and for the manifest by digest before it puts it.
async fn push_as_oras(door: &Door, repository: &str, reference: &str, blobs: &[&Bytes], manifest: &Bytes) {
    for blob in blobs {
        let path = format!("{repository}/blobs/{}", sha256(blob));
        if door.head(&path).await.status() == 200 {
            continue;
        }
        let upload = door.begin(repository).await;
        let put = door.request(Method::PUT, &format!("{upload}?digest={}", sha256(blob)));
        let put = put.header("content-type", "application/octet-stream").body((*blob).clone()).send().await;
        assert_eq!(put.expect("an answer").status(), 201);
    }
    assert_eq!(door.head(&format!("{repository}/manifests/{}", sha256(manifest))).await.status(), 404);
    let put = door.put_manifest(repository, reference, OCI_MANIFEST, manifest).await;
    assert_eq!(put.status(), 201, "{}", put.text().await.unwrap_or_default());
}

#[tokio::test]
async fn a_list_of_parts_attached_to_an_image() {
    let door = Door::open().await;
    let (image, parts) = (TestImage::new("shipped"), Bytes::from_static(br#"{"spdxVersion":"SPDX-2.3"}"#));
    door.push("demo/app", "1", &image).await;
    let subject = json!({"mediaType": OCI_MANIFEST, "digest": image.digest(), "size": image.manifest.len()});
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": SBOM, "subject": subject,
        "config": descriptor("application/vnd.oci.empty.v1+json", &EMPTY), "layers": [descriptor(SBOM, &parts)],
        "annotations": {"org.opencontainers.image.created": "2026-01-01T00:00:00Z"},
    });
    let manifest = Bytes::from(manifest.to_string());
    let digest = sha256(&manifest);
    push_as_oras(&door, "demo/app", digest.as_str(), &[&EMPTY, &parts], &manifest).await;
    // `oras discover` and `oras pull` of what it found.
    let asked =
        format!("demo/app/referrers/{}?artifactType={}", image.digest(), SBOM.replace('/', "%2F").replace('+', "%2B"));
    let found = door.get(&asked).await;
    assert_eq!(header(&found, "oci-filters-applied"), "artifactType");
    let found: Value = found.json().await.expect("an index");
    assert_eq!(found["manifests"][0]["digest"], digest.as_str(), "{found}");
    assert_eq!(found["manifests"][0]["artifactType"], SBOM);
    let pulled = door.get(&format!("demo/app/manifests/{digest}")).await;
    assert_eq!(pulled.bytes().await.expect("the manifest"), manifest);
    let pulled = door.get(&format!("demo/app/blobs/{}", sha256(&parts))).await;
    assert_eq!(pulled.bytes().await.expect("the parts"), parts);
}

/// A chart as helm pushes it: a configuration of its own type, which no image has, and skopeo copies what it does not understand.
#[tokio::test]
async fn a_chart_is_copied_between_projects() {
    let (door, home) = door_and_home().await;
    let address = door.address.clone();
    second_project(&door).await;
    let (config, chart) = (Bytes::from_static(br#"{"name":"web","version":"1.0.0"}"#), Bytes::from_static(b"a chart"));
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor("application/vnd.cncf.helm.config.v1+json", &config),
        "layers": [descriptor("application/vnd.cncf.helm.chart.content.v1.tar+gzip", &chart)],
    });
    let manifest = Bytes::from(manifest.to_string());
    push_as_oras(&door, "demo/chart", "1.0.0", &[&config, &chart], &manifest).await;
    let copy =
        format!("copy {} docker://{address}/demo/chart:1.0.0 docker://{address}/copies/chart:1.0.0", both_ends(&door));
    succeeds("skopeo", words(&copy), home.path()).await;
    let copied = door.get("copies/chart/manifests/1.0.0").await;
    assert_eq!(copied.bytes().await.expect("the manifest"), manifest, "byte for byte");
    let blob = door.get(&format!("copies/chart/blobs/{}", sha256(&chart))).await;
    assert_eq!(blob.bytes().await.expect("the chart"), chart);
}
