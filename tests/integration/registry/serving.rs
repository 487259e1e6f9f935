//! What a repository serves by digest: its own, and what its tags follow, with children and referrers.

use bytes::Bytes;
use serde_json::{Value, json};
use weir::model::SourceKind;
use weir::server::hash::sha256;
use weir::server::store::TagSpec;

use super::door::{Door, header, refused};
use crate::upstreams::images::{OCI_INDEX, OCI_MANIFEST, TestImage, index_of};

fn about(subject: &str, kind: &str, config: &Bytes) -> Bytes {
    let config =
        json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": sha256(config), "size": config.len()});
    let subject = json!({"mediaType": OCI_MANIFEST, "digest": subject, "size": 1});
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": kind, "config": config, "layers": [], "subject": subject
    });
    Bytes::from(manifest.to_string())
}

async fn put(door: &Door, reference: &str, media_type: &str, manifest: &Bytes) {
    let put = door.put_manifest("demo/base", reference, media_type, manifest).await;
    assert_eq!(put.status(), 201, "{}", put.text().await.unwrap_or_default());
}

async fn referrers(door: &Door, repository: &str, subject: &str) -> usize {
    let list: Value = door.get(&format!("{repository}/referrers/{subject}")).await.json().await.expect("an index");
    list["manifests"].as_array().expect("a list").len()
}

#[tokio::test]
async fn a_tag_that_follows_serves_the_whole_image() {
    let (door, child) = (Door::open().await, TestImage::new("child"));
    let spec = TagSpec { source: Some((SourceKind::ImageStreamTag, "base:latest".to_owned())), ..TagSpec::default() };
    let name = "web".parse().expect("a name");
    door.push("demo/base", child.digest().as_str(), &child).await;
    let empty = Bytes::from_static(b"{}");
    door.put_blob("demo/base", &empty).await;
    let inner = index_of(&[("amd64", &child)]);
    put(&door, sha256(&inner).as_str(), OCI_INDEX, &inner).await;
    let listed = json!({"mediaType": OCI_INDEX, "digest": sha256(&inner), "size": inner.len()});
    let outer = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [listed]});
    let outer = Bytes::from(outer.to_string());
    let sbom = about(child.digest().as_str(), "application/sbom", &empty);
    put(&door, sha256(&sbom).as_str(), OCI_MANIFEST, &sbom).await;
    put(&door, "latest", OCI_INDEX, &outer).await;
    door.store.set_tag("demo", &name, &"stable".parse().unwrap(), &spec, None, &door.actor).await.expect("a tag");

    let stable = door.get("demo/web/manifests/stable").await;
    assert_eq!(header(&stable, "docker-content-digest"), sha256(&outer).as_str());
    for digest in [sha256(&inner), child.digest(), sha256(&sbom)] {
        assert_eq!(door.get(&format!("demo/web/manifests/{digest}")).await.status(), 200, "{digest}");
    }
    for blob in [&child.config, &child.layer, &empty] {
        assert_eq!(door.get(&format!("demo/web/blobs/{}", sha256(blob))).await.bytes().await.expect("it"), blob);
    }
    assert_eq!(referrers(&door, "demo/web", child.digest().as_str()).await, 1, "with what is about it");

    // Signed after it was followed: the whole, what it lists, and what is about that.
    for subject in [sha256(&outer), child.digest(), sha256(&sbom)] {
        let signature = about(subject.as_str(), "application/signature", &empty);
        let before = referrers(&door, "demo/web", subject.as_str()).await;
        put(&door, sha256(&signature).as_str(), OCI_MANIFEST, &signature).await;
        assert_eq!(referrers(&door, "demo/web", subject.as_str()).await, before + 1, "{subject}");
    }
}

#[tokio::test]
async fn what_others_say_of_an_image_is_said_in_their_repository() {
    let (door, image) = (Door::open().await, TestImage::new("shared"));
    door.push("demo/base", "latest", &image).await;
    door.push("demo/copy", "latest", &image).await;
    let empty = Bytes::from_static(b"{}");
    door.put_blob("demo/copy", &empty).await;
    let claim = about(image.digest().as_str(), "application/claim", &empty);
    let digest = sha256(&claim);
    let put = door.put_manifest("demo/copy", digest.as_str(), OCI_MANIFEST, &claim).await;
    assert_eq!((put.status().as_u16(), header(&put, "oci-subject")), (201, image.digest().to_string()));
    assert_eq!(referrers(&door, "demo/copy", image.digest().as_str()).await, 1);
    assert_eq!(referrers(&door, "demo/base", image.digest().as_str()).await, 0);
    refused(door.get(&format!("demo/base/manifests/{digest}")).await, 404, "MANIFEST_UNKNOWN").await;
}

/// That bytes are stored is not enough: each repository has what came to it, under every name there is for that.
#[tokio::test]
async fn what_is_stored_for_another_repository_alone_is_not_there() {
    let (door, image) = (Door::open().await, TestImage::new("private"));
    let empty = Bytes::from_static(b"{}");
    door.put_blob("demo/base", &empty).await;
    door.push("demo/base", image.digest().as_str(), &image).await;
    let list = index_of(&[("amd64", &image)]);
    put(&door, "latest", OCI_INDEX, &list).await;
    let sbom = about(image.digest().as_str(), "application/sbom", &empty);
    put(&door, sha256(&sbom).as_str(), OCI_MANIFEST, &sbom).await;
    door.push("demo/other", "latest", &TestImage::new("other")).await;
    for digest in [sha256(&list), image.digest(), sha256(&sbom)] {
        assert_eq!(door.get(&format!("demo/base/manifests/{digest}")).await.status(), 200, "{digest}");
        let path = format!("demo/other/manifests/{digest}");
        assert_eq!(door.head(&path).await.status(), 404, "{digest}");
        refused(door.get(&path).await, 404, "MANIFEST_UNKNOWN").await;
    }
    for blob in [&image.config, &image.layer, &empty] {
        let path = format!("demo/other/blobs/{}", sha256(blob));
        assert_eq!(door.head(&path).await.status(), 404);
        refused(door.get(&path).await, 404, "BLOB_UNKNOWN").await;
    }
    assert_eq!(referrers(&door, "demo/base", image.digest().as_str()).await, 1);
    assert_eq!(referrers(&door, "demo/other", image.digest().as_str()).await, 0);
    // A manifest alone does not bring its parts with it.
    let put = door.put_manifest("demo/other", "stolen", OCI_MANIFEST, &image.manifest).await;
    refused(put, 400, "MANIFEST_BLOB_UNKNOWN").await;
}

/// What stands in a tag's history is pulled by digest when the tag has moved on, and when it is deleted; with children and referrers.
#[tokio::test]
async fn b3_a_history_is_served_by_digest() {
    let (door, image) = (Door::open().await, TestImage::new("old"));
    let empty = Bytes::from_static(b"{}");
    door.put_blob("demo/base", &empty).await;
    door.push("demo/base", image.digest().as_str(), &image).await;
    let list = index_of(&[("amd64", &image)]);
    put(&door, "latest", OCI_INDEX, &list).await;
    let sbom = about(image.digest().as_str(), "application/sbom", &empty);
    put(&door, sha256(&sbom).as_str(), OCI_MANIFEST, &sbom).await;
    let served = async |when: &str| {
        for digest in [sha256(&list), image.digest(), sha256(&sbom)] {
            assert_eq!(door.get(&format!("demo/base/manifests/{digest}")).await.status(), 200, "{digest} {when}");
        }
        for blob in [&image.config, &image.layer] {
            assert_eq!(door.get(&format!("demo/base/blobs/{}", sha256(blob))).await.status(), 200, "{when}");
        }
        assert_eq!(referrers(&door, "demo/base", image.digest().as_str()).await, 1, "{when}");
    };
    let new = TestImage::new("new");
    door.push("demo/base", new.digest().as_str(), &new).await;
    put(&door, "latest", OCI_INDEX, &index_of(&[("amd64", &new)])).await;
    served("when the tag moved on").await;
    assert_eq!(door.delete("demo/base/manifests/latest").await.status(), 202);
    served("when the tag is deleted").await;
}
