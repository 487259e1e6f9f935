//! "Listing Referrers", "Referrers Tag Schema" and "Enabling the Referrers API".

use bytes::Bytes;
use serde_json::{Value, json};
use weir::model::Digest;
use weir::server::hash::sha256;

use super::super::door::{Door, header, refused};
use super::{artifact, descriptor, door_with_empty_blob, index, json_of, put, sha512};
use crate::upstreams::images::{OCI_INDEX, OCI_MANIFEST, TestImage};

/// An artifact about the manifest of that digest.
fn about(subject: &Digest, more: Value) -> Bytes {
    let mut fields = json!({"subject": {"mediaType": OCI_MANIFEST, "digest": subject, "size": 100}});
    super::merge(&mut fields, more);
    artifact(fields)
}

async fn push(door: &Door, manifest: &Bytes) {
    put(door, "demo/app", sha256(manifest).as_str(), manifest).await;
}

/// The referrers of a subject in `demo/app`.
async fn list(door: &Door, subject: &Digest, query: &str) -> Vec<Value> {
    let answer = door.get(&format!("demo/app/referrers/{subject}{query}")).await;
    assert_eq!(answer.status(), 200);
    manifests(&json_of(answer).await)
}

fn manifests(index: &Value) -> Vec<Value> {
    index["manifests"].as_array().expect("a list").clone()
}

fn digests(list: &[Value]) -> Vec<String> {
    list.iter().map(|entry| entry["digest"].as_str().expect("a digest").to_owned()).collect()
}

/// "Assuming a repository is found, this request MUST return a 200 OK response code." "Upon success, the response MUST be a JSON body with
/// an image index containing a list of descriptors. The Content-Type header MUST be set to application/vnd.oci.image.index.v1+json."
#[tokio::test]
async fn the_list_is_an_index() {
    let door = door_with_empty_blob().await;
    let subject = sha256(b"subject");
    push(&door, &about(&subject, json!({"artifactType": "application/x"}))).await;
    let answer = door.get(&format!("demo/app/referrers/{subject}")).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "content-type").as_str()), (200, OCI_INDEX));
    let index = json_of(answer).await;
    assert_eq!((&index["schemaVersion"], &index["mediaType"]), (&json!(2), &json!(OCI_INDEX)));
    assert_eq!(manifests(&index).len(), 1);
}

/// "Each descriptor is of an image manifest or index in the same <name> namespace with a subject field that specifies the value of
/// <digest>."
#[tokio::test]
async fn the_list_has_what_is_about_the_subject_in_this_repository() {
    let door = door_with_empty_blob().await;
    door.put_blob("demo/other", &super::EMPTY).await;
    let subject = TestImage::new("subject");
    door.push("demo/app", "1", &subject).await;
    let here = about(&subject.digest(), json!({"artifactType": "application/here"}));
    let elsewhere = about(&subject.digest(), json!({"artifactType": "application/elsewhere"}));
    push(&door, &here).await;
    push(&door, &about(&sha256(b"another"), json!({"artifactType": "application/another"}))).await;
    put(&door, "demo/other", sha256(&elsewhere).as_str(), &elsewhere).await;
    let expected = json!({
        "mediaType": OCI_MANIFEST, "digest": sha256(&here), "size": here.len(), "artifactType": "application/here"
    });
    assert_eq!(list(&door, &subject.digest(), "").await, [expected]);
}

/// "The descriptors MUST include an artifactType field that is set to the value of the artifactType in the image manifest or index, if
/// present. If [...] empty or missing in the image manifest, the value of artifactType MUST be set to the config descriptor mediaType
/// value. If [...] empty or missing in an index, the artifactType MUST be omitted."
#[tokio::test]
async fn artifact_types_are_told() {
    let door = door_with_empty_blob().await;
    let subject = sha256(b"subject");
    let subject_field = json!({"mediaType": OCI_MANIFEST, "digest": subject, "size": 100});
    for (manifest, expected) in [
        (about(&subject, json!({"artifactType": "application/own"})), json!("application/own")),
        (about(&subject, json!({})), json!(super::EMPTY_TYPE)),
        (about(&subject, json!({"artifactType": ""})), json!(super::EMPTY_TYPE)),
        (index(&[], json!({"subject": subject_field, "artifactType": "application/list"})), json!("application/list")),
        (index(&[], json!({"subject": subject_field})), Value::Null),
        (index(&[], json!({"subject": subject_field, "artifactType": ""})), Value::Null),
    ] {
        push(&door, &manifest).await;
        let list = list(&door, &subject, "").await;
        let digest = json!(sha256(&manifest));
        let entry = list.iter().find(|entry| entry["digest"] == digest).expect("in the list");
        assert_eq!(entry["artifactType"], expected);
        assert_eq!(entry.get("artifactType").is_none(), expected.is_null(), "omitted, not null");
    }
}

/// "The descriptors MUST include annotations from the image manifest or index."
#[tokio::test]
async fn annotations_are_told() {
    let door = door_with_empty_blob().await;
    let subject = sha256(b"subject");
    let annotations =
        json!({"org.opencontainers.image.created": "2022-01-01T14:42:55Z", "org.example": "é \"quoted\""});
    push(&door, &about(&subject, json!({"artifactType": "application/x", "annotations": annotations}))).await;
    assert_eq!(list(&door, &subject, "").await[0]["annotations"], annotations);
}

/// "If a query results in no matching referrers, an empty manifest list MUST be returned." "If the registry supports the referrers API, the
/// registry MUST NOT return a 404 Not Found to a referrers API requests."
#[tokio::test]
async fn what_nothing_is_about_has_an_empty_list() {
    let door = door_with_empty_blob().await;
    for repository in ["demo/app", "demo/none"] {
        for subject in [sha256(b"none"), sha512(b"none")] {
            let answer = door.get(&format!("{repository}/referrers/{subject}")).await;
            assert_eq!(answer.status(), 200, "{repository}");
            assert_eq!(json_of(answer).await["manifests"], json!([]));
        }
    }
}

/// "If the request is invalid, such as a <digest> with an invalid syntax, a 400 Bad Request MUST be returned."
#[tokio::test]
async fn digests_that_cannot_be_are_refused() {
    let door = door_with_empty_blob().await;
    for digest in ["latest", "sha256:short", "sha256", "md5:d41d8cd98f00b204e9800998ecf8427e"] {
        refused(door.get(&format!("demo/app/referrers/{digest}")).await, 400, "DIGEST_INVALID").await;
    }
}

/// "A Link header MUST be included in the response when the descriptor list cannot be returned in a single manifest." "Each response is an
/// image index with different descriptors in the manifests field."
#[tokio::test]
async fn a_long_list_comes_in_pieces() {
    let door = door_with_empty_blob().await;
    let subject = sha256(b"subject");
    let mut pushed = Vec::new();
    for n in 0..6 {
        let annotations = json!({"large": format!("{n}").repeat(1_500_000)});
        let manifest = about(&subject, json!({"artifactType": "application/x y", "annotations": annotations}));
        push(&door, &manifest).await;
        pushed.push(sha256(&manifest).to_string());
    }
    let (mut path, mut found, mut pages) =
        (format!("demo/app/referrers/{subject}?artifactType=application/x%20y"), Vec::new(), 0);
    loop {
        let page = door.get(&path).await;
        let link = header(&page, "link");
        let body = page.bytes().await.expect("an index");
        assert!(body.len() <= 4 * 1024 * 1024, "each answer is itself a manifest that may be pushed");
        found.extend(digests(&manifests(&serde_json::from_slice(&body).expect("JSON"))));
        pages += 1;
        let Some(next) = link.strip_prefix("</v2/").and_then(|link| link.strip_suffix(">; rel=\"next\"")) else {
            break;
        };
        path = next.to_owned();
    }
    pushed.sort_unstable();
    assert_eq!((found, pages), (pushed, 3));
}

/// "The registry SHOULD support filtering on artifactType." "If filtering is requested and applied, the response MUST include a header
/// OCI-Filters-Applied: artifactType".
#[tokio::test]
async fn the_list_may_be_of_one_artifact_type() {
    let door = door_with_empty_blob().await;
    let subject = sha256(b"subject");
    let sbom = about(&subject, json!({"artifactType": "application/vnd.example+sbom"}));
    for manifest in
        [&sbom, &about(&subject, json!({"artifactType": "application/signature"})), &about(&subject, json!({}))]
    {
        push(&door, manifest).await;
    }
    for (query, expected) in [
        ("?artifactType=application%2Fvnd.example%2Bsbom", vec![sha256(&sbom).to_string()]),
        ("?artifactType=application/none", Vec::new()),
    ] {
        let answer = door.get(&format!("demo/app/referrers/{subject}{query}")).await;
        assert_eq!(header(&answer, "oci-filters-applied"), "artifactType");
        assert_eq!(digests(&manifests(&json_of(answer).await)), expected);
    }
    let by_config = list(&door, &subject, &format!("?artifactType={}", super::EMPTY_TYPE.replace('+', "%2B"))).await;
    assert_eq!(by_config.len(), 1, "what has no type of its own has that of its config");
    let all = door.get(&format!("demo/app/referrers/{subject}")).await;
    assert_eq!(header(&all, "oci-filters-applied"), "");
    assert_eq!(manifests(&json_of(all).await).len(), 3);
}

/// Referrers Tag Schema: a client that does not know the API keeps its own list under `<algorithm>-<hex>`, and must be able to read it.
#[tokio::test]
async fn clients_may_keep_a_list_of_their_own() {
    let door = door_with_empty_blob().await;
    for subject in [sha256(b"subject"), sha512(b"subject")] {
        let tag = format!("{}-{}", subject.algorithm(), &subject.hex()[..64]);
        assert_eq!(door.get(&format!("demo/app/manifests/{tag}")).await.status(), 404, "the list begins empty");
        let signature = about(&subject, json!({"artifactType": "application/signature"}));
        push(&door, &signature).await;
        let mut entry = descriptor(OCI_MANIFEST, &signature);
        entry["artifactType"] = "application/signature".into();
        let list = index(&[entry], json!({}));
        put(&door, "demo/app", &tag, &list).await;
        let read = door.get(&format!("demo/app/manifests/{tag}")).await;
        assert_eq!(header(&read, "content-type"), OCI_INDEX);
        assert_eq!(read.bytes().await.expect("the list"), list);
    }
}

/// Enabling the Referrers API: "Registries MUST include preexisting image manifests that are listed in an image index tagged with the
/// referrers tag schema and have a valid subject field", and "MUST include all newly pushed image manifests with a valid subject field".
#[tokio::test]
async fn manifests_are_in_the_list_however_their_clients_keep_theirs() {
    let door = door_with_empty_blob().await;
    let subject = sha256(b"subject");
    let (old, new) =
        (about(&subject, json!({"artifactType": "a/old"})), about(&subject, json!({"artifactType": "a/new"})));
    push(&door, &old).await;
    let tag = format!("sha256-{}", subject.hex());
    put(&door, "demo/app", &tag, &index(&[descriptor(OCI_MANIFEST, &old)], json!({}))).await;
    put(&door, "demo/app", "newest", &new).await;
    let mut expected = [&old, &new].map(|manifest| sha256(manifest).to_string());
    expected.sort_unstable();
    assert_eq!(digests(&list(&door, &subject, "").await), expected);
}

/// Deleting Manifests: what is deleted is about nothing any more.
#[tokio::test]
async fn a_deleted_referrer_is_not_in_the_list() {
    let door = door_with_empty_blob().await;
    let subject = sha256(b"subject");
    let signature = about(&subject, json!({"artifactType": "application/signature"}));
    push(&door, &signature).await;
    assert_eq!(door.delete(&format!("demo/app/manifests/{}", sha256(&signature))).await.status(), 202);
    assert!(list(&door, &subject, "").await.is_empty());
}
