//! What a stream forbids its tags, and pushes that are meant for one state of a tag.

use bytes::Bytes;
use reqwest::{Method, Response};
use weir::model::{EventKind, NewImage, Outcome, RollbackMode, SourceKind, TagEvent};
use weir::server::hash::sha256;
use weir::server::store::{Error, TagMove, TagRollback, TagRules, TagSpec};

use super::door::{Door, header, refused};
use crate::upstreams::images::{OCI_MANIFEST, TestImage};

/// A door whose stream `demo/app` exists and has these immutable tags.
async fn door(immutable: &[&str]) -> Door {
    let door = Door::open().await;
    door.store.ensure_stream("demo", &"app".parse().unwrap(), &door.actor).await.expect("a stream");
    rule(&door, immutable).await;
    door
}

async fn rule(door: &Door, immutable: &[&str]) {
    let immutable = immutable.iter().map(|pattern| (*pattern).to_owned()).collect();
    let rules = TagRules { immutable, kind_changes: false };
    door.store.set_tag_rules("demo", "app", &rules, None, &door.actor).await.expect("the rules");
}

async fn points_to(door: &Door, tag: &str) -> String {
    header(&door.head(&format!("demo/app/manifests/{tag}")).await, "docker-content-digest")
}

fn words(rows: &[TagEvent]) -> Vec<(EventKind, Outcome)> {
    rows.iter().map(|row| (row.kind, row.outcome)).collect()
}

#[tokio::test]
async fn an_immutable_tag_stays_at_its_first_image() {
    let door = door(&["v*"]).await;
    let (one, two) = (TestImage::new("one"), TestImage::new("two"));
    for (tag, image) in [("v1", &one), ("v1", &one), ("latest", &one), ("latest", &two)] {
        assert_eq!(door.push("demo/app", tag, image).await.status(), 201, "{tag}");
    }
    for _ in 0..2 {
        let message = refused(door.push("demo/app", "v1", &two).await, 409, "DENIED").await;
        assert!(message.contains("app:v1 is immutable") && message.contains("take another tag"), "{message}");
    }
    assert_eq!(points_to(&door, "v1").await, one.digest().as_str());
    let history = door.history("app", "v1").await;
    assert_eq!(words(&history), [(EventKind::Push, Outcome::Immutable), (EventKind::Push, Outcome::Moved)]);
    assert_eq!((history[0].actor.as_str(), history[0].digest.as_deref()), ("ada", Some(two.digest().as_str())));

    // All tags of a push move, or none.
    let three = TestImage::new("three");
    for blob in [&three.config, &three.layer] {
        door.put_blob("demo/app", blob).await;
    }
    let path = format!("{}?tag=latest&tag=v1&tag=v2", three.digest());
    refused(door.put_manifest("demo/app", &path, OCI_MANIFEST, &three.manifest).await, 409, "DENIED").await;
    assert_eq!(points_to(&door, "latest").await, two.digest().as_str());
    assert_eq!(door.head("demo/app/manifests/v2").await.status(), 404);
    let by_digest = format!("demo/app/manifests/{}", three.digest());
    assert_eq!(door.head(&by_digest).await.status(), 404, "what was refused is not stored");

    rule(&door, &[]).await;
    assert_eq!(door.push("demo/app", "v1", &two).await.status(), 201, "without the rule it moves");
}

#[tokio::test]
async fn only_an_admin_deletes_an_immutable_tag() {
    let door = door(&["v*"]).await;
    let (one, two) = (TestImage::new("one"), TestImage::new("two"));
    door.push("demo/app", "v1", &one).await;
    for path in ["demo/app/manifests/v1".to_owned(), format!("demo/app/manifests/{}", one.digest())] {
        let message = refused(door.delete(&path).await, 409, "DENIED").await;
        assert!(message.contains("app:v1 is immutable"), "{message}");
        assert_eq!(door.get(&path).await.status(), 200);
    }
    let stream = door.store.delete_stream("demo", "app", &door.actor).await;
    assert!(matches!(&stream, Err(Error::Conflict(why)) if why.contains("app:v1 is immutable")), "{stream:?}");

    door.store.delete_tag_as_admin("demo", "app", "v1", &door.actor).await.expect("deleted");
    assert_eq!(door.push("demo/app", "v1", &two).await.status(), 201, "a deleted tag points nowhere");
    assert_eq!(points_to(&door, "v1").await, two.digest().as_str());
}

#[tokio::test]
async fn no_automation_moves_an_immutable_tag() {
    let door = door(&["stable", "v1"]).await;
    let (one, two) = (TestImage::new("one"), TestImage::new("two"));
    for (tag, image) in [("latest", &one), ("v1", &one), ("other", &two)] {
        door.push("demo/app", tag, image).await;
    }
    let app = "app".parse().unwrap();
    let spec = |kind, from: &str| TagSpec { source: Some((kind, from.to_owned())), ..TagSpec::default() };
    let set = async |tag: &str, spec: &TagSpec| {
        door.store.set_tag("demo", &app, &tag.parse().unwrap(), spec, None, &door.actor).await
    };
    // A follow.
    set("stable", &spec(SourceKind::ImageStreamTag, "latest")).await.expect("it takes its first image");
    door.push("demo/app", "latest", &two).await;
    let history = door.history("app", "stable").await;
    assert_eq!(words(&history), [(EventKind::Follow, Outcome::Immutable), (EventKind::Api, Outcome::Moved)]);
    // An import: nobody waits for its answer, so that it is a row only.
    let stream = door.store.stream("demo", "app").await.expect("the stream");
    let image = NewImage { digest: sha256(b"imported").to_string(), manifest: "{}".into(), ..NewImage::default() };
    let v1 = "v1".parse().unwrap();
    let from = Some("registry.example.com/app@sha256:x");
    let to = TagMove { tag: &v1, kind: EventKind::Import, reference: from, cause: None, build_id: None };
    for changed in [true, false] {
        let moved = door.store.put_manifest(&stream, &image, [to], &door.actor).await.expect("imported");
        assert_eq!((moved[0].outcome, moved[0].changed), (Outcome::Immutable, changed), "a schedule writes one row");
    }
    // A person's own word.
    let pin = set("v1", &spec(SourceKind::ImageStreamImage, two.digest().as_str())).await;
    assert!(matches!(&pin, Err(Error::Conflict(why)) if why.contains("immutable")), "{pin:?}");
    for tag in ["stable", "v1"] {
        assert_eq!(points_to(&door, tag).await, one.digest().as_str(), "{tag}");
    }
}

#[tokio::test]
async fn a_build_cannot_overwrite_an_immutable_output() {
    let door = door(&["v1"]).await;
    let (one, two) = (TestImage::new("one"), TestImage::new("two"));
    door.push("demo/app", "v1", &one).await;
    let tag = "v1".parse().unwrap();
    let stream = door.store.stream("demo", "app").await.expect("the stream");
    let image = NewImage { digest: two.digest().to_string(), manifest: "{}".into(), ..NewImage::default() };
    let to = TagMove { tag: &tag, kind: EventKind::Build, reference: None, cause: None, build_id: None };
    let built = door.store.put_manifest(&stream, &image, [to], &door.actor).await;
    assert!(matches!(&built, Err(Error::Conflict(why)) if why.contains("app:v1 is immutable")), "{built:?}");
    assert_eq!(words(&door.history("app", "v1").await)[0], (EventKind::Build, Outcome::Immutable));
}

#[tokio::test]
async fn an_admin_with_a_reason_rolls_an_immutable_tag_back() {
    let door = door(&[]).await;
    for content in ["one", "two"] {
        door.push("demo/app", "v1", &TestImage::new(content)).await;
    }
    rule(&door, &["v?"]).await;
    let first = door.history("app", "v1").await[1].sequence;
    let mut back = TagRollback { mode: RollbackMode::Tag, ..TagRollback::to(first) };
    for (is_admin, reason) in [(false, None), (false, Some("it is bad")), (true, None)] {
        back.reason = reason;
        let refused = match is_admin {
            true => door.store.roll_back_tag_as_admin("demo", "app", "v1", &back, &door.actor).await,
            false => door.store.roll_back_tag("demo", "app", "v1", &back, &door.actor).await,
        };
        assert!(matches!(&refused, Err(Error::Conflict(why)) if why.contains("immutable")), "{refused:?}");
    }
    let tag = door.store.tag("demo", "app", "v1").await.expect("the tag");
    assert_eq!(door.store.tag_hold(&tag.id).await.expect("asked"), None, "a refusal leaves nothing behind");
    back.reason = Some("it is bad");
    door.store.roll_back_tag_as_admin("demo", "app", "v1", &back, &door.actor).await.expect("rolled back");
    assert_eq!(points_to(&door, "v1").await, TestImage::new("one").digest().as_str());
    assert_eq!(door.history("app", "v1").await[0].reason.as_deref(), Some("it is bad"));
}

/// A chart, which is an artifact: its configuration is not an image's.
fn chart(content: &str) -> TestImage {
    let image = TestImage::new(content);
    let config = "application/vnd.cncf.helm.config.v1+json";
    let text = String::from_utf8_lossy(&image.manifest).replace("application/vnd.oci.image.config.v1+json", config);
    TestImage { manifest: Bytes::from(text), ..image }
}

#[tokio::test]
async fn b9_charts_and_images_do_not_take_each_others_tags() {
    let door = door(&[]).await;
    let image = TestImage::new("image");
    door.push("demo/app", "1.0", &image).await;
    door.push("demo/app", "chart-1.0", &chart("one")).await;
    let message = refused(door.push("demo/app", "1.0", &chart("one")).await, 409, "DENIED").await;
    assert!(message.contains("app:1.0 stays where it is: an artifact may not take an image's tag"), "{message}");
    refused(door.push("demo/app", "chart-1.0", &image).await, 409, "DENIED").await;
    assert_eq!(points_to(&door, "1.0").await, image.digest().as_str());
    assert_eq!(door.history("app", "1.0").await[0].outcome, Outcome::OtherKind);
    assert_eq!(door.push("demo/app", "chart-1.0", &chart("two")).await.status(), 201, "the same kind may");

    let rules = TagRules { immutable: Vec::new(), kind_changes: true };
    door.store.set_tag_rules("demo", "app", &rules, None, &door.actor).await.expect("the rules");
    assert_eq!(door.push("demo/app", "1.0", &chart("one")).await.status(), 201);
    let told: Vec<_> = door.history("app", "1.0").await.iter().map(TagEvent::kind_change).collect();
    let artifact = Some("an artifact in place of an image");
    assert_eq!(told, [artifact, artifact, None], "what was refused, and what was not, in words");
}

#[tokio::test]
async fn a_conditional_push_takes_place_only_where_it_is_meant_to() {
    let door = Door::open().await;
    let (one, two) = (TestImage::new("one"), TestImage::new("two"));
    for image in [&one, &two] {
        door.push("demo/app", image.digest().as_str(), image).await;
    }
    let put = async |image: &TestImage, name: &'static str, value: String| -> Response {
        let request = door.request(Method::PUT, "demo/app/manifests/latest").header(name, value);
        let request = request.header("content-type", image.media_type).body(image.manifest.clone());
        request.send().await.expect("an answer")
    };
    let tag = |image: &TestImage| format!("\"{}\"", image.digest());
    let message = refused(put(&one, "if-match", "*".into()).await, 412, "DENIED").await;
    assert!(message.contains("latest has no image"), "{message}");
    assert_eq!(put(&one, "if-none-match", "*".into()).await.status(), 201);
    refused(put(&two, "if-none-match", "*".into()).await, 412, "DENIED").await;
    let message = refused(put(&two, "if-match", tag(&two)).await, 412, "DENIED").await;
    assert!(message.contains(one.digest().as_str()), "{message}");
    assert_eq!(points_to(&door, "latest").await, one.digest().as_str());
    let etag = header(&door.head("demo/app/manifests/latest").await, "etag");
    assert_eq!(put(&two, "if-match", etag).await.status(), 201, "the ETag of a pull is what a push names");
    assert_eq!(points_to(&door, "latest").await, two.digest().as_str());
    refused(put(&one, "if-none-match", tag(&one)).await, 400, "MANIFEST_INVALID").await;
    door.delete("demo/app/manifests/latest").await;
    assert_eq!(put(&one, "if-none-match", "*".into()).await.status(), 201, "a deleted tag is not there");
}
