//! "API": whether the registry is one, and how it says no.

use axum::http::Method;
use bytes::Bytes;
use serde_json::{Value, json};
use weir::server::hash::sha256;

use super::super::door::header;
use super::{artifact, door_with_empty_blob, put, send};
use crate::upstreams::images::OCI_MANIFEST;

/// "Error Codes", but for those of newer registries.
const CODES: [&str; 14] = [
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
];

/// Determining Support: "If the response is 200 OK, then the registry implements this specification."
#[tokio::test]
async fn the_registry_is_one() {
    let door = door_with_empty_blob().await;
    for path in ["", "/"] {
        let url = format!("http://{}/v2{path}", door.address);
        let answer = crate::upstreams::images::client().get(url).bearer_auth(&door.token).send().await;
        assert_eq!(answer.expect("an answer").status(), 200, "/v2{path}");
    }
}

/// Error Codes: "If the response body is in JSON format, it MUST have the following format"; "The code field MUST be a unique identifier,
/// containing only uppercase alphabetic characters and underscores" and "MUST be one of the following".
#[tokio::test]
async fn errors_are_in_the_words_of_the_specification() {
    let door = door_with_empty_blob().await;
    put(&door, "demo/app", "latest", &artifact(json!({}))).await;
    let (none, upload) = (sha256(b"none"), door.begin("demo/app").await);
    let there = format!("demo/app/blobs/{}", sha256(b"{}"));
    let body = Bytes::from_static(b"body");
    let cases: [(Method, String, Vec<_>, u16); 17] = [
        (Method::GET, "demo/app/manifests/none".into(), vec![], 404),
        (Method::GET, format!("demo/app/blobs/{none}"), vec![], 404),
        (Method::GET, "demo/none/tags/list".into(), vec![], 404),
        (Method::GET, "unknown/app/tags/list".into(), vec![], 404),
        (Method::GET, "a/b/c/tags/list".into(), vec![], 400),
        (Method::GET, "demo/app/tags/list?n=x".into(), vec![], 400),
        (Method::GET, "demo/app/blobs/x".into(), vec![], 400),
        (Method::GET, there.clone(), vec![("range", "bytes=9-")], 416),
        (Method::DELETE, there, vec![], 409),
        (Method::GET, format!("{upload}0"), vec![], 404),
        (Method::PATCH, upload.clone(), vec![("content-range", "7-10")], 416),
        (Method::PATCH, upload.clone(), vec![("content-range", "0-99")], 400),
        (Method::PUT, format!("{upload}?digest={none}"), vec![], 400),
        (Method::PUT, "demo/app/manifests/x".into(), vec![("content-type", OCI_MANIFEST)], 400),
        (Method::PUT, "demo/app/manifests/.x".into(), vec![], 400),
        (Method::POST, "demo/app/manifests/x".into(), vec![], 405),
        (Method::PUT, "other/app/manifests/x".into(), vec![], 404),
    ];
    for (method, path, headers, status) in cases {
        let answer = send(&door, method.clone(), &path, &headers, &body).await;
        assert_eq!(answer.status(), status, "{method} {path}");
        assert_eq!(header(&answer, "content-type"), "application/json", "{method} {path}");
        let body: Value = answer.json().await.expect("JSON");
        let errors = body["errors"].as_array().unwrap_or_else(|| panic!("{method} {path}: {body}"));
        for error in errors {
            assert!(CODES.contains(&error["code"].as_str().unwrap_or_default()), "{method} {path}: {body}");
            assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{method} {path}: {body}");
        }
        assert!(!errors.is_empty());
    }
}
