//! Section 3.4 with 3.7b and 11: tags pinned to images, of other streams and projects too, and what only names an image.

use axum::http::Method;
use bytes::Bytes;
use reqwest::StatusCode;
use serde_json::{Value, json};
use weir::model::{EventKind, NewImage, Role};
use weir::server::hash::sha256;
use weir::server::store::{TagMove, TagRules};

use super::super::{Rest, digest, images, own};
use super::{cause, following};
use crate::support::{Client, tester};
use crate::upstreams::DockerRegistry;
use crate::upstreams::images::{OCI_INDEX, TestImage, index_of};

const OTHER: &str = "/apis/image.openshift.io/v1/namespaces/other";

/// Eve, who may pull from `demo` and sets tags in `other`.
async fn eve(rest: &Rest) -> Client {
    let eve = rest.weir.user("eve", "other", Role::Editor).await;
    rest.weir.store().grant_role("demo", "eve", Role::Viewer, &tester()).await.expect("a role");
    eve
}

/// As plain `oc tag demo/<source> app:t` does it.
async fn pin(eve: &Client, source: &str) -> Value {
    let from = json!({"kind": "ImageStreamImage", "namespace": "demo", "name": source});
    let body = json!({"metadata": {"name": "app:t"}, "tag": {"name": "t", "from": from}});
    let answer = eve.request(Method::PUT, &format!("{OTHER}/imagestreamtags/app:t")).json(&body).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    answer.json().await.expect("a tag")
}

/// Somebody who may pull from `other` alone.
async fn puller(rest: &Rest) -> Client {
    let pat = rest.weir.user("pat", "other", Role::Viewer).await;
    assert_eq!(pat.get("/v2/demo/base/tags/list").await.status(), StatusCode::NOT_FOUND, "not even that it is there");
    pat
}

async fn pulls(client: &Client, path: &str, expected: &Bytes) {
    let answer = client.get(&format!("/v2/other/app/{path}")).await;
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    assert_eq!(answer.bytes().await.expect("all of it"), *expected, "{path}");
}

async fn pulls_image(client: &Client, reference: &str, image: &TestImage) {
    pulls(client, &format!("manifests/{reference}"), &image.manifest).await;
    for blob in [&image.config, &image.layer] {
        pulls(client, &format!("blobs/{}", sha256(blob)), blob).await;
    }
}

async fn pushed(rest: &Rest, image: &TestImage, tag: &str) {
    image.push_as(Some(("ada", rest.ada.token())), rest.weir.registry(), "demo/base", tag).await;
}

#[tokio::test]
async fn section_3_4_a_pin_to_another_projects_image_is_pulled_whole_by_who_may_pull_here_alone() {
    let rest = Rest::start().await;
    let image = TestImage::new("pinned");
    pushed(&rest, &image, "1").await;
    let (eve, pat) = (eve(&rest).await, puller(&rest).await);
    let tag = pin(&eve, &format!("base@{}", image.digest())).await;
    let here = format!("{}/other/app@{}", rest.weir.registry(), image.digest());
    assert_eq!(tag["image"]["dockerImageReference"], here);
    for reference in ["t", image.digest().as_str()] {
        pulls_image(&pat, reference, &image).await;
    }
}

#[tokio::test]
async fn section_3_4_a_pinned_index_comes_with_its_images() {
    let rest = Rest::start().await;
    let platforms = ["amd64", "arm64"].map(TestImage::new);
    for image in &platforms {
        pushed(&rest, image, image.digest().as_str()).await;
    }
    let index = index_of(&[("amd64", &platforms[0]), ("arm64", &platforms[1])]);
    let put = rest.ada.request(Method::PUT, "/v2/demo/base/manifests/1").header("content-type", OCI_INDEX);
    assert_eq!(put.body(index.clone()).send().await.unwrap().status(), StatusCode::CREATED);
    let (eve, pat) = (eve(&rest).await, puller(&rest).await);
    pin(&eve, &format!("base@{}", sha256(&index))).await;
    pulls(&pat, "manifests/t", &index).await;
    for image in &platforms {
        pulls_image(&pat, image.digest().as_str(), image).await;
    }
}

#[tokio::test]
async fn section_3_4_what_a_pin_names_is_pulled_through_while_it_is_not_here_and_found_where_it_came_from() {
    let (mut upstream, image) = (DockerRegistry::start(), TestImage::new("elsewhere"));
    image.push(upstream.address(), "org/base", "1").await;
    let rest = Rest::start().await;
    let from = json!({"kind": "DockerImage", "name": format!("{}/org/base:1", upstream.address())});
    rest.make("base", json!([])).await;
    rest.edit("base", |stream| {
        stream["spec"]["tags"] = json!([{"name": "1", "from": from, "importPolicy": {"insecure": true}}]);
    })
    .await;
    // The first pull brings the manifest, and nothing else yet.
    assert_eq!(rest.ada.get("/v2/demo/base/manifests/1").await.status(), StatusCode::OK);
    let (eve, pat) = (eve(&rest).await, puller(&rest).await);
    let tag = pin(&eve, &format!("base@{}", image.digest())).await;
    let there = format!("{}/org/base@{}", upstream.address(), image.digest());
    assert_eq!(tag["image"]["dockerImageReference"], there, "its reference policy is Source");
    pulls_image(&pat, "t", &image).await;
    rest.weir.settle().await;
    upstream.stop();
    pulls_image(&pat, "t", &image).await;
    let mut local = tag["tag"].clone();
    local["referencePolicy"] = json!({"type": "Local"});
    let body = json!({"metadata": {"name": "app:t"}, "tag": local});
    let put = eve.request(Method::PUT, &format!("{OTHER}/imagestreamtags/app:t")).json(&body).send().await.unwrap();
    let tag: Value = put.json().await.unwrap();
    let here = format!("{}/other/app@{}", rest.weir.registry(), image.digest());
    assert_eq!(tag["image"]["dockerImageReference"], here, "Local: pulled from this registry");
}

#[tokio::test]
async fn section_3_4_what_stands_in_another_repository_is_pulled_here_or_there_as_reference_says() {
    let rest = Rest::start().await;
    rest.push("base", "1", 1).await;
    let eve = eve(&rest).await;
    let tag = |name: &str, kind: &str, source: &str, reference: bool| {
        let from = json!({"kind": kind, "namespace": "demo", "name": source});
        json!({"name": name, "from": from, "reference": reference})
    };
    let image = format!("base@{}", digest(1));
    let tags = json!([
        tag("follows", "ImageStreamTag", "base:1", false),
        tag("follows-there", "ImageStreamTag", "base:1", true),
        tag("pinned", "ImageStreamImage", &image, false),
        tag("pinned-there", "ImageStreamImage", &image, true),
        following("z-behind", "follows-there"),
    ]);
    let body = json!({"metadata": {"name": "app"}, "spec": {"tags": tags}});
    eve.post_json(&format!("{OTHER}/imagestreams"), &body, StatusCode::CREATED).await;
    rest.push("base", "1", 2).await;
    let stream = eve.get_json(&format!("{OTHER}/imagestreams/app")).await;
    let host = rest.weir.registry();
    let (here, there) = (|n| format!("{host}/other/app@{}", digest(n)), |n| format!("{host}/demo/base@{}", digest(n)));
    for (at, expected) in [here(2), there(2), here(1), there(1), there(2)].into_iter().enumerate() {
        let told = &stream["status"]["tags"][at];
        assert_eq!(told["items"][0]["dockerImageReference"], expected, "{told:#}");
        let tag = told["tag"].as_str().unwrap();
        let one = eve.get_json(&format!("{OTHER}/imagestreamtags/app:{tag}")).await;
        assert_eq!(one["image"]["dockerImageReference"], expected, "{tag}");
    }
}

#[tokio::test]
async fn section_3_4_a_pin_is_to_an_image_that_came_and_is_still_here() {
    let rest = Rest::start().await;
    rest.push("app", "v1", 1).await;
    rest.push("app", "t", 3).await;
    let store = rest.weir.store();
    let rules = TagRules { immutable: vec!["v*".to_owned()], kind_changes: false };
    store.set_tag_rules("demo", "app", &rules, None, &tester()).await.unwrap();
    let stream = store.stream("demo", "app").await.unwrap();
    let refused = NewImage { digest: digest(2), manifest: "{}".to_owned(), ..NewImage::default() };
    let v1 = "v1".parse().unwrap();
    let to = TagMove { tag: &v1, kind: EventKind::Push, reference: None, cause: None, build_id: None };
    store.put_manifest(&stream, &refused, Some(to), &tester()).await.unwrap_err();

    let found = images(&format!("imagestreamimages/app@{}", digest(2)));
    rest.expect(StatusCode::NOT_FOUND, Method::GET, &found, &json!({})).await;
    for statement in [
        "delete from repository_images where digest like 'sha256:33%'",
        "delete from image_layers where digest like 'sha256:33%'",
        "delete from images where digest like 'sha256:33%'",
    ] {
        rest.weir.run_sql(statement).await;
    }
    let put = images("imagestreamtags/app:x");
    for (n, words) in [
        (2, format!("error generating tag event: image {} is not in the history of demo/app", digest(2))),
        (3, format!("{} is not stored here any more", digest(3))),
    ] {
        let from = json!({"kind": "ImageStreamImage", "name": format!("app@{}", digest(n))});
        let body = json!({"metadata": {"name": "app:x"}, "tag": {"from": from}});
        let refused = rest.expect(StatusCode::UNPROCESSABLE_ENTITY, Method::PUT, &put, &body).await;
        let (field, message) = cause(&refused);
        assert_eq!(field, "spec.tags[x].from.name");
        assert!(message.contains(&words), "{message}");
    }
    rest.expect(StatusCode::NOT_FOUND, Method::GET, &put, &json!({})).await;

    // Section 4.1: whoever asks for the tag is told which image is gone; histories and lists still name it.
    let gone = rest.expect(StatusCode::NOT_FOUND, Method::GET, &images("imagestreamtags/app:t"), &json!({})).await;
    assert_eq!((&gone["details"]["kind"], &gone["details"]["name"]), (&json!("images"), &json!(digest(3))));
    assert_eq!(rest.items("app", "t").await, [digest(3)]);
    let list = rest.ada.get_json(&images("imagestreamtags")).await;
    assert_eq!(list["items"][0]["image"]["metadata"]["name"], digest(3));
    let layers = rest.ada.get_json(&images("imagestreams/app/layers")).await;
    assert_eq!(layers["images"][digest(3)], json!({"imageMissing": true}), "section 4.8");
}

/// The newest item of a tag's status.
async fn newest(rest: &Rest, stream: &str, tag: &str) -> Value {
    let stream = rest.ada.get_json(&images(&format!("imagestreams/{stream}"))).await;
    let tags = stream["status"]["tags"].as_array().unwrap();
    tags.iter().find(|one| one["tag"] == tag).map_or(Value::Null, |one| one["items"][0].clone())
}

fn mere(name: &str, source: &str) -> Value {
    json!({"name": name, "reference": true, "from": {"kind": "DockerImage", "name": source}})
}

#[tokio::test]
async fn section_3_4_what_follows_a_mere_reference_names_the_same_and_has_no_image() {
    let rest = Rest::start().await;
    rest.push("base", "s", 1).await;
    rest.push("app", "t", 2).await;
    rest.edit("base", |stream| stream["spec"]["tags"] = json!([mere("s", "registry.invalid/x:1")])).await;
    rest.edit("app", |stream| stream["spec"]["tags"] = json!([following("t", "base:s"), following("u", "t")])).await;
    for (stream, tag) in [("base", "s"), ("app", "t"), ("app", "u")] {
        let item = newest(&rest, stream, tag).await;
        let told = (&item["dockerImageReference"], &item["image"]);
        assert_eq!(told, (&json!("registry.invalid/x:1"), &json!("")), "{stream}:{tag} gives no image of before");
        assert!(item["generation"].as_i64() > Some(0), "{item}");
        let path = format!("{stream}:{tag}");
        rest.expect(StatusCode::NOT_FOUND, Method::GET, &images(&format!("imagestreamtags/{path}")), &json!({})).await;
        let shown = rest.ada.get_json(&images(&format!("imagetags/{path}"))).await;
        assert_eq!((&shown["image"], &shown["status"]["items"][0]["image"]), (&Value::Null, &json!("")));
    }
    assert_eq!(rest.items("app", "t").await, [String::new(), digest(2)], "what it was stays in its history");
    // Another name goes on to those who follow; a hold keeps what is held as it is.
    let hold = own("streams/app/tags/u/hold");
    rest.expect(StatusCode::OK, Method::POST, &hold, &json!({})).await;
    rest.edit("base", |stream| stream["spec"]["tags"] = json!([mere("s", "registry.invalid/x:2")])).await;
    for (stream, tag, expected) in [("app", "t", "registry.invalid/x:2"), ("app", "u", "registry.invalid/x:1")] {
        assert_eq!(newest(&rest, stream, tag).await["dockerImageReference"], expected, "{stream}:{tag}");
    }
    // An image that comes to the source is what they follow again, even the one of before.
    rest.push("base", "s", 1).await;
    for (stream, tag) in [("base", "s"), ("app", "t")] {
        assert_eq!(newest(&rest, stream, tag).await["image"], digest(1), "{stream}:{tag}");
        let path = images(&format!("imagestreamtags/{stream}:{tag}"));
        rest.expect(StatusCode::OK, Method::GET, &path, &json!({})).await;
    }
}

#[tokio::test]
async fn section_3_4_a_mere_reference_is_of_the_time_it_was_made() {
    let rest = Rest::start().await;
    rest.push("app", "t", 1).await;
    rest.weir.run_sql("update tags set moved_at = 1000, created_at = 1000").await;
    rest.edit("app", |stream| stream["spec"]["tags"] = json!([mere("t", "registry.invalid/x:1")])).await;
    let created = newest(&rest, "app", "t").await["created"].as_str().unwrap().to_owned();
    assert!(created.as_str() > "2020", "now, and not when the tag came to its last image: {created}");
    // Section 3.6: another name in its place keeps the time; and what is only taken back stays (3.8).
    rest.weir.run_sql("update tags set refers_at = 1000").await;
    rest.edit("app", |stream| stream["spec"]["tags"] = json!([mere("t", "registry.invalid/x:2")])).await;
    let item = newest(&rest, "app", "t").await;
    assert_eq!(
        (&item["created"], &item["dockerImageReference"]),
        (&json!("1970-01-01T00:00:01Z"), &json!("registry.invalid/x:2"))
    );
    rest.edit("app", |stream| stream["spec"]["tags"] = json!([])).await;
    assert_eq!(newest(&rest, "app", "t").await["dockerImageReference"], "registry.invalid/x:2");
}
