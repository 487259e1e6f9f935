//! The OCI distribution-spec against the real listener: one test for each MUST and SHOULD that is a registry's, written from the text.
//! Each names the section it is from, <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>.

mod api;
mod blobs;
mod chunks;
mod data;
mod management;
mod manifests;
mod pull;
mod referrers;
mod tags;

use axum::http::Method;
use bytes::Bytes;
use reqwest::Response;
use serde_json::{Value, json};
use weir::model::Digest;
use weir::server::hash::{digest_like, sha256};

use super::door::{Door, header};
use crate::upstreams::images::{OCI_INDEX, OCI_MANIFEST};

/// The empty configuration of artifacts.
const EMPTY: Bytes = Bytes::from_static(b"{}");
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";

fn sha512(bytes: &[u8]) -> Digest {
    digest_like(&format!("sha512:{}", "0".repeat(128)).parse().expect("a digest"), bytes)
}

/// A descriptor by sha256.
fn descriptor(media_type: &str, bytes: &Bytes) -> Value {
    json!({"mediaType": media_type, "digest": sha256(bytes), "size": bytes.len()})
}

/// A manifest with an empty configuration as its only part, and what is given beside that.
fn artifact(more: Value) -> Bytes {
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(EMPTY_TYPE, &EMPTY), "layers": [descriptor(EMPTY_TYPE, &EMPTY)]
    });
    merge(&mut manifest, more);
    Bytes::from(manifest.to_string())
}

/// An index of descriptors, and what is given beside them.
fn index(manifests: &[Value], more: Value) -> Bytes {
    let mut index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests});
    merge(&mut index, more);
    Bytes::from(index.to_string())
}

fn merge(into: &mut Value, more: Value) {
    if let Value::Object(more) = more {
        into.as_object_mut().expect("an object").extend(more);
    }
}

/// Pushes a manifest whose parts are there, as what it says it is.
async fn put(door: &Door, repository: &str, reference: &str, manifest: &Bytes) -> Response {
    let media_type = serde_json::from_slice::<Value>(manifest).expect("JSON")["mediaType"].clone();
    let put = door.put_manifest(repository, reference, media_type.as_str().unwrap_or_default(), manifest).await;
    let status = put.status();
    assert!(status == 201, "{status}: {}", put.text().await.unwrap_or_default());
    put
}

/// A door where artifacts may be pushed to `demo/app`.
async fn door_with_empty_blob() -> Door {
    let door = Door::open().await;
    door.put_blob("demo/app", &EMPTY).await;
    door
}

async fn send(door: &Door, method: Method, path: &str, headers: &[(&'static str, &str)], body: &Bytes) -> Response {
    let mut request = door.request(method, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.clone()).send().await.expect("an answer")
}

async fn json_of(response: Response) -> Value {
    response.json().await.expect("JSON")
}

/// Checks that a `Location` can be pulled, and what is there.
async fn pullable(door: &Door, response: &Response, bytes: &Bytes) {
    let location = header(response, "location");
    let pulled = door.get(location.trim_start_matches("/v2/")).await;
    assert_eq!(pulled.status(), 200, "{location}");
    assert_eq!(&pulled.bytes().await.expect("the bytes"), bytes);
}

/// A path behind `/v2/` of a `Location`.
fn location(response: &Response) -> String {
    header(response, "location").trim_start_matches("/v2/").to_owned()
}
