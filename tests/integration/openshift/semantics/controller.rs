//! Section 6.7: what is imported by itself when a tag's spec changes, and what is not.

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};
use weir::model::TagImport;

use super::super::{Rest, images, own};
use super::spec_of;
use crate::imports::upstream::Misbehaving;
use crate::upstreams::images::TestImage;
use crate::upstreams::programmable::answer;

fn external(name: &str, reference: &str) -> Value {
    let from = json!({"kind": "DockerImage", "name": reference});
    json!({"name": name, "from": from, "importPolicy": {"insecure": true}})
}

impl Rest {
    /// How the checks of a tag of `app` go, if it is checked.
    async fn checks(&self, tag: &str) -> Option<TagImport> {
        let tag = self.weir.store().tag("demo", "app", tag).await.expect("the tag");
        self.weir.store().find_import(&tag.id).await.expect("its checks")
    }
}

/// How often a registry was asked for anything.
fn asked(registry: &Misbehaving) -> usize {
    registry.upstream.seen().len()
}

#[tokio::test]
async fn section_6_7_what_follows_another_registry_is_imported_and_nothing_else() {
    let rest = Rest::start().await;
    let registry = Misbehaving::start(&TestImage::new("one")).await;
    let mut mere = external("mere", &registry.reference("org/app:mere"));
    mere["reference"] = json!(true);
    let tags = json!([external("t", &registry.reference("org/app:1")), mere, {"name": "pushed"}]);
    rest.make("app", tags).await;
    rest.weir.settle().await;
    assert_eq!(rest.items("app", "t").await, [TestImage::new("one").digest().to_string()]);
    assert!(rest.checks("mere").await.is_none() && rest.checks("pushed").await.is_none());
    assert!(registry.upstream.seen().iter().all(|seen| !seen.path().ends_with("/mere")));
    let once = asked(&registry);
    // Annotations, policies and labels ask for nothing.
    rest.edit("app", |stream| {
        stream["metadata"]["labels"] = json!({"a": "b"});
        stream["spec"]["tags"][2]["annotations"] = json!({"a": "b"});
        stream["spec"]["tags"][2]["referencePolicy"] = json!({"type": "Local"});
    })
    .await;
    rest.weir.settle().await;
    assert_eq!(asked(&registry), once);
    rest.edit("app", |stream| {
        stream["spec"]["tags"][2]["from"]["name"] = json!(registry.reference("org/app:2"));
    })
    .await;
    rest.weir.settle().await;
    assert!(asked(&registry) > once, "another reference is another import");
}

#[tokio::test]
async fn section_6_7_a_failed_import_off_the_schedule_is_not_tried_again_by_itself() {
    let rest = Rest::start().await;
    let registry = Misbehaving::start(&TestImage::new("one")).await;
    registry.misbehave(|_| Some(answer(404, &[], "")));
    rest.make("app", json!([external("t", &registry.reference("org/app:1"))])).await;
    rest.weir.settle().await;
    let failed = rest.checks("t").await.expect("it was tried");
    assert_eq!((failed.outcome.as_str(), failed.next_at, failed.requested_at), ("failed", None, None));
    let once = asked(&registry);
    registry.behave();
    rest.weir.settle().await;
    assert_eq!(asked(&registry), once);
    let stream = rest.edit("app", |stream| stream["spec"]["tags"][0]["generation"] = json!(0)).await;
    assert_eq!(spec_of(&stream, "t")["generation"], 2);
    rest.weir.settle().await;
    assert_eq!(rest.items("app", "t").await.len(), 1, "whoever asks again gets it");
    assert!(rest.ada.get_json(&images("imagestreams/app")).await["status"]["tags"][0]["conditions"].is_null());
}

#[tokio::test]
async fn section_6_7_a_schedule_that_is_added_later_begins_with_its_first_interval() {
    let rest = Rest::start().await;
    let registry = Misbehaving::start(&TestImage::new("one")).await;
    rest.make("app", json!([external("t", &registry.reference("org/app:1"))])).await;
    rest.weir.settle().await;
    let (once, first) = (asked(&registry), rest.checks("t").await.unwrap());
    assert_eq!(first.next_at, None);
    rest.edit("app", |stream| stream["spec"]["tags"][0]["importPolicy"]["scheduled"] = json!(true)).await;
    rest.weir.settle().await;
    assert_eq!(asked(&registry), once, "nothing is imported at once");
    let planned = rest.checks("t").await.unwrap().next_at.expect("it is on the schedule");
    assert!(planned > first.last_try_at.unwrap());

    // `oc tag` without --scheduled says that it is not.
    let path = images("imagestreamtags/app:t");
    let body = json!({"metadata": {"name": "app:t"}, "tag": external("t", &registry.reference("org/app:1"))});
    let put = rest.expect(StatusCode::OK, Method::PUT, &path, &body).await;
    assert!(put["tag"]["importPolicy"].get("scheduled").is_none(), "{put:#}");
    assert_eq!(rest.checks("t").await.unwrap().next_at, None);
    rest.weir.settle().await;
    assert_eq!(asked(&registry), once);
}

#[tokio::test]
async fn section_6_7_whoever_takes_the_annotation_off_has_the_repository_imported_again() {
    const LAST_LOOK: &str = "openshift.io/image.dockerRepositoryCheck";
    let rest = Rest::start().await;
    let registry = Misbehaving::start(&TestImage::new("one")).await;
    let list = r#"{"name":"org/app","tags":["1","2"]}"#;
    registry.misbehave(move |seen| seen.path().ends_with("/tags/list").then(|| answer(200, &[], list)));
    let listed = || registry.upstream.seen().iter().filter(|seen| seen.path().ends_with("/tags/list")).count();
    let annotations = json!({"openshift.io/image.insecureRepository": "true", LAST_LOOK: "garbage"});
    let body = json!({
        "metadata": {"name": "app", "annotations": annotations}, "spec": {"dockerImageRepository": registry.reference("org/app")},
    });
    let made = rest.post(StatusCode::CREATED, &images("imagestreams"), &body).await;
    assert!(made["metadata"]["annotations"].get(LAST_LOOK).is_none(), "the server says when it looked: {made:#}");
    rest.weir.settle().await;
    assert_eq!(listed(), 1);
    let path = images("imagestreams/app");
    let imported = rest.ada.get_json(&path).await;
    let at = imported["metadata"]["annotations"][LAST_LOOK].as_str().expect("when it looked");
    assert!(at.len() == 20 && at.ends_with('Z'), "{at}");
    let items = rest.ada.get_json(&images("imagestreams")).await["items"].clone();
    assert_eq!(items[0]["metadata"], imported["metadata"], "lists tell it, too");

    // Whoever writes back what was read asks for nothing.
    for value in [json!(at), json!("2020-01-01T00:00:00Z")] {
        let after = rest.edit("app", |stream| stream["metadata"]["annotations"][LAST_LOOK] = value).await;
        assert_eq!(after["metadata"], imported["metadata"]);
    }
    assert!(
        rest.ada.get_json(&own("streams/app/import-rules/docker-image-repository")).await["listing"]["requestedAt"]
            .is_null()
    );
    let after = rest
        .edit("app", |stream| _ = stream["metadata"]["annotations"].as_object_mut().unwrap().remove(LAST_LOOK))
        .await;
    for key in ["resourceVersion", "generation"] {
        assert_eq!(after["metadata"][key], imported["metadata"][key], "{key}: nothing is another now");
    }
    let rule = rest.weir.store().find_import_rule("demo", "app", "docker-image-repository").await.unwrap().unwrap();
    assert_eq!(rule.requested_by.as_deref(), Some("ada"));
    assert!(rule.requested_at.is_some(), "it is listed as soon as that may be");

    // A stream without a repository has nothing to ask for.
    rest.make("plain", json!([external("t", &registry.reference("org/app:1"))])).await;
    rest.weir.settle().await;
    let shown = rest.ada.get_json(&images("imagestreams/plain")).await;
    assert!(shown["metadata"]["annotations"][LAST_LOOK].is_string(), "{shown:#}");
    rest.edit("plain", |stream| stream["metadata"]["annotations"] = json!({})).await;
}
