//! Sections 3.6, 4.1, 4.5, 4.8 and 5: what a move writes, of which generation it is, and what it clears.

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};
use weir::server::hash::sha256;

use super::super::{Rest, digest, images, own};
use super::{following, spec_of};
use crate::imports::upstream::Misbehaving;
use crate::upstreams::images::{OCI_INDEX, TestImage, index_of};
use crate::upstreams::programmable::answer;

/// The status of a tag.
fn status_of<'a>(stream: &'a Value, tag: &str) -> &'a Value {
    let tags = stream["status"]["tags"].as_array().expect("tags");
    tags.iter().find(|one| one["tag"] == tag).unwrap_or(&Value::Null)
}

async fn stream(rest: &Rest, name: &str) -> Value {
    rest.ada.get_json(&images(&format!("imagestreams/{name}"))).await
}

async fn tag(rest: &Rest, name: &str) -> Value {
    rest.ada.get_json(&images(&format!("imagestreamtags/{name}"))).await
}

fn external(name: &str, from: &str) -> Value {
    let policy = json!({"insecure": true});
    json!({"name": name, "from": {"kind": "DockerImage", "name": from}, "importPolicy": policy})
}

/// Sets what stream `app` imports to tag `t`, and waits until it came.
async fn import(rest: &Rest, from: &str) -> Value {
    rest.edit("app", |stream| {
        let tags = stream["spec"]["tags"].as_array_mut().unwrap();
        tags.retain(|tag| tag["name"] != "t");
        tags.push(external("t", from));
    })
    .await;
    rest.weir.settle().await;
    stream(rest, "app").await
}

#[tokio::test]
async fn section_3_6_the_same_image_from_elsewhere_changes_the_reference_in_its_place() {
    let rest = Rest::start().await;
    let image = TestImage::new("one");
    let upstream = Misbehaving::start(&image).await;
    rest.make("app", json!([])).await;
    rest.make("web", json!([following("t", "app:t"), following("u", "t")])).await;
    let first = import(&rest, &upstream.reference("org/x:1")).await;
    let web = stream(&rest, "web").await;
    let second = import(&rest, &upstream.reference("mirror/x:1")).await;
    let (before, after) = (&status_of(&first, "t")["items"], &status_of(&second, "t")["items"]);
    assert_eq!((before.as_array().unwrap().len(), after.as_array().unwrap().len()), (1, 1));
    for kept in ["created", "image"] {
        assert_eq!(after[0][kept], before[0][kept], "{kept}");
    }
    let there = |path: &str| format!("{}/{path}@{}", upstream.upstream.address(), image.digest());
    assert_eq!(before[0]["dockerImageReference"], there("org/x"));
    assert_eq!(after[0]["dockerImageReference"], there("mirror/x"));
    assert_eq!(after[0]["generation"], spec_of(&second, "t")["generation"], "it satisfies what was said now");
    assert_ne!(first["metadata"]["resourceVersion"], second["metadata"]["resourceVersion"]);
    // Whoever follows gets it, and all that tells of the image does.
    let now = stream(&rest, "web").await;
    for name in ["t", "u"] {
        assert_eq!(status_of(&now, name)["items"][0]["dockerImageReference"], there("mirror/x"), "{name}");
        assert_eq!(status_of(&now, name)["items"][0]["created"], status_of(&web, name)["items"][0]["created"]);
    }
    assert_eq!(tag(&rest, "app:t").await["image"]["dockerImageReference"], there("mirror/x"));
    let one = rest.ada.get_json(&images(&format!("imagestreamimages/app@{}", image.digest()))).await;
    assert_eq!(one["image"]["dockerImageReference"], there("mirror/x"));
    // The history has a row for what moved, the ledger one for each change.
    let history = rest.ada.get_json(&own("streams/app/tags/t/history")).await;
    assert_eq!(history["items"].as_array().unwrap().len(), 1);
    let activity = rest.ada.get_json(&own("activity")).await;
    let told = |object: &str| {
        let rows = activity["items"].as_array().unwrap().iter();
        rows.filter(|row| row["action"] == "tag.refer" && row["object"] == object).cloned().collect::<Vec<_>>()
    };
    for object in ["app:t", "web:t", "web:u"] {
        let rows = told(object);
        assert_eq!(rows.len(), 1, "{object}: {rows:#?}");
        assert_eq!((&rows[0]["from"], &rows[0]["to"]), (&json!(there("org/x")), &json!(there("mirror/x"))));
    }
    // A push of the same image makes it this repository's.
    image.push_as(Some(("ada", rest.ada.token())), rest.weir.registry(), "demo/app", "t").await;
    let pushed = stream(&rest, "app").await;
    let items = status_of(&pushed, "t")["items"].as_array().unwrap().clone();
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["dockerImageReference"], format!("{}/demo/app@{}", rest.weir.registry(), image.digest()));
}

#[tokio::test]
async fn section_3_6_the_same_image_from_elsewhere_leaves_a_held_tag_as_it_is() {
    let rest = Rest::start().await;
    let image = TestImage::new("one");
    let upstream = Misbehaving::start(&image).await;
    rest.make("app", json!([])).await;
    let first = import(&rest, &upstream.reference("org/x:1")).await;
    rest.expect(StatusCode::OK, Method::POST, &own("streams/app/tags/t/hold"), &json!({})).await;
    let second = import(&rest, &upstream.reference("mirror/x:1")).await;
    let reference = |stream: &Value| status_of(stream, "t")["items"][0]["dockerImageReference"].clone();
    assert_eq!(reference(&second), reference(&first), "no automation changes it");
}

#[tokio::test]
async fn section_3_6_an_import_of_the_same_image_is_of_the_new_generation_and_no_move() {
    let rest = Rest::start().await;
    let upstream = Misbehaving::start(&TestImage::new("one")).await;
    rest.make("app", json!([])).await;
    let first = import(&rest, &upstream.reference("org/x:1")).await;
    rest.edit("app", |stream| stream["spec"]["tags"][0]["generation"] = json!(0)).await;
    rest.weir.settle().await;
    let second = stream(&rest, "app").await;
    let mut expected = status_of(&first, "t").clone();
    let generation = spec_of(&second, "t")["generation"].clone();
    assert!(generation.as_i64() > spec_of(&first, "t")["generation"].as_i64());
    expected["items"][0]["generation"] = generation;
    assert_eq!(*status_of(&second, "t"), expected, "its generation, and nothing else");
}

#[tokio::test]
async fn section_3_6_whatever_moves_a_tag_clears_the_condition_of_its_failed_import() {
    let rest = Rest::start().await;
    let upstream = Misbehaving::start(&TestImage::new("one")).await;
    upstream.misbehave(|_| Some(answer(404, &[], "")));
    rest.push("app", "t", 1).await;
    rest.push("app", "t", 2).await;
    for (what, path) in [("a rollback", "org/x:1"), ("a push", "org/x:2")] {
        let failed = import(&rest, &upstream.reference(path)).await;
        let condition = &status_of(&failed, "t")["conditions"][0];
        assert_eq!(condition["generation"], spec_of(&failed, "t")["generation"], "of the generation there is: {what}");
        if what == "a push" {
            rest.push("app", "t", 4).await;
        } else {
            let history = rest.ada.get_json(&own("streams/app/tags/t/history")).await;
            let back = json!({"to": history["items"][1]["sequence"], "mode": "tag"});
            rest.expect(StatusCode::OK, Method::POST, &own("streams/app/tags/t/rollback"), &back).await;
            rest.expect(StatusCode::OK, Method::POST, &own("streams/app/tags/t/resume"), &json!({})).await;
        }
        let after = stream(&rest, "app").await;
        assert!(status_of(&after, "t")["conditions"].is_null(), "{what}: {after:#}");
        assert!(tag(&rest, "app:t").await["conditions"].is_null(), "{what}");
        // Each failure is told, and that it is over is, too.
        let activity = rest.ada.get_json(&own("activity")).await;
        let told: Vec<_> = activity["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|row| row["action"].as_str().filter(|action| action.starts_with("import.")))
            .filter(|action| *action != "import.request")
            .collect();
        assert_eq!(told[..2], ["import.recover", "import.fail"], "{what}");
    }
}

#[tokio::test]
async fn section_5_a_push_is_of_its_streams_generation_and_so_is_what_follows_it() {
    let rest = Rest::start().await;
    rest.push("app", "t", 1).await;
    let generation = |stream: &Value, tag: &str| status_of(stream, tag)["items"][0]["generation"].clone();
    assert_eq!(generation(&stream(&rest, "app").await, "t"), 1);
    rest.edit("app", |stream| stream["spec"]["tags"] = json!([{"name": "a"}])).await;
    rest.edit("app", |stream| stream["spec"]["tags"] = json!([{"name": "a"}, following("u", "t")])).await;
    rest.make("web", json!([following("v", "app:t")])).await;
    rest.push("app", "t", 2).await;
    let (app, web) = (stream(&rest, "app").await, stream(&rest, "web").await);
    assert_eq!(app["metadata"]["generation"], 3);
    assert_eq!((generation(&app, "t"), generation(&app, "u")), (json!(3), json!(3)), "section 3.7: its source's");
    assert_eq!(generation(&web, "v"), 1, "of its own stream's, where that is another one");
    // Section 4.1: the tag shows the move's and not the wish's, in lists, too.
    for (name, expected) in [("app:t", 3), ("app:u", 3), ("web:v", 1)] {
        assert_eq!(tag(&rest, name).await["generation"], expected, "{name}");
    }
    let list = rest.ada.get_json(&images("imagestreamtags")).await;
    let listed: Vec<_> = list["items"].as_array().unwrap().iter().map(|tag| tag["generation"].clone()).collect();
    assert_eq!(listed, [3, 3, 1]);
}

#[tokio::test]
async fn section_14_a_push_satisfies_an_import_that_is_pending_at_its_generation() {
    let rest = Rest::start().await;
    let upstream = Misbehaving::start(&TestImage::new("elsewhere")).await;
    rest.make("app", json!([external("t", &upstream.reference("org/x:1"))])).await;
    rest.push("app", "t", 1).await;
    let pushed = stream(&rest, "app").await;
    let (spec, item) = (spec_of(&pushed, "t"), &status_of(&pushed, "t")["items"][0]);
    assert_eq!(item["generation"], pushed["metadata"]["generation"]);
    assert!(item["generation"].as_i64() >= spec["generation"].as_i64(), "nothing is pending any more");
    rest.weir.settle().await;
    assert_eq!(rest.items("app", "t").await, [digest(1)], "and nothing comes");
}

#[tokio::test]
async fn section_4_1_a_tag_tells_its_events_time_its_conditions_and_where_it_is_pulled() {
    let rest = Rest::start().await;
    let image = TestImage::new("one");
    let upstream = Misbehaving::start(&image).await;
    rest.make("app", json!([])).await;
    let made = import(&rest, &upstream.reference("org/x:1")).await;
    rest.weir.run_sql("update tags set created_at = 1000").await;
    let shown = tag(&rest, "app:t").await;
    assert_eq!(shown["metadata"]["creationTimestamp"], status_of(&made, "t")["items"][0]["created"]);
    let there = format!("{}/org/x@{}", upstream.upstream.address(), image.digest());
    assert_eq!(shown["image"]["dockerImageReference"], there);
    assert!(shown["conditions"].is_null());
    upstream.misbehave(|_| Some(answer(404, &[], "")));
    rest.edit("app", |stream| {
        stream["spec"]["tags"][0]["referencePolicy"] = json!({"type": "Local"});
        stream["spec"]["tags"][0]["generation"] = json!(0);
    })
    .await;
    rest.weir.settle().await;
    let (shown, made) = (tag(&rest, "app:t").await, stream(&rest, "app").await);
    let here = format!("{}/demo/app@{}", rest.weir.registry(), image.digest());
    assert_eq!(shown["image"]["dockerImageReference"], here, "Local: pulled from here, its history unchanged");
    assert_eq!(status_of(&made, "t")["items"][0]["dockerImageReference"], there);
    assert_eq!(shown["conditions"], status_of(&made, "t")["conditions"]);
    assert_eq!(shown["conditions"][0]["status"], "False");
    assert!(shown["generation"].as_i64() < shown["tag"]["generation"].as_i64(), "what was said since has not come");
}

#[tokio::test]
async fn section_4_5_a_deleted_tag_leaves_the_generations_of_others_and_raises_the_streams() {
    let rest = Rest::start().await;
    rest.push("app", "pushed", 1).await;
    rest.edit("app", |stream| stream["spec"]["tags"] = json!([{"name": "a"}, {"name": "b"}])).await;
    let before = stream(&rest, "app").await;
    rest.delete(&images("imagestreamtags/app:a")).await;
    let after = stream(&rest, "app").await;
    assert_eq!(spec_of(&after, "b"), spec_of(&before, "b"));
    assert_eq!(after["status"], before["status"]);
    let generation = |stream: &Value| stream["metadata"]["generation"].as_i64().unwrap();
    assert_eq!(generation(&after), generation(&before) + 1);
}

#[tokio::test]
async fn section_4_8_an_index_is_told_with_the_manifests_it_lists() {
    let rest = Rest::start().await;
    let platforms = ["amd64", "arm64"].map(TestImage::new);
    for image in &platforms {
        let digest = image.digest();
        image.push_as(Some(("ada", rest.ada.token())), rest.weir.registry(), "demo/app", digest.as_str()).await;
    }
    let index = index_of(&[("amd64", &platforms[0]), ("arm64", &platforms[1])]);
    let put = rest.ada.request(Method::PUT, "/v2/demo/app/manifests/t").header("content-type", OCI_INDEX);
    assert_eq!(put.body(index.clone()).send().await.unwrap().status(), StatusCode::CREATED);
    let layers = rest.ada.get_json(&images("imagestreams/app/layers")).await;
    let names = platforms.each_ref().map(|image| image.digest().to_string());
    assert_eq!(layers["images"][sha256(&index).as_str()], json!({"manifests": names}));
    for (image, name) in platforms.iter().zip(&names) {
        let (config, layer) = (sha256(&image.config).to_string(), sha256(&image.layer).to_string());
        assert_eq!(layers["images"][name], json!({"config": config, "layers": [layer]}));
        assert_eq!(layers["blobs"][name]["size"], image.manifest.len());
    }
}

#[tokio::test]
async fn section_5_a_mapping_to_a_tag_that_stays_says_so_and_until_when() {
    let rest = Rest::start().await;
    for image in [1, 2, 3] {
        rest.push("app", "t", image).await;
    }
    let map = async |n: u8| {
        let body = json!({"metadata": {"name": "app"}, "tag": "t", "image": {"metadata": {"name": digest(n)}}});
        let answer = rest.ada.post(&images("imagestreammappings"), &body).await;
        assert_eq!(answer.status(), StatusCode::CREATED);
        answer.headers().get("warning").map(|text| text.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    assert_eq!(map(3).await, "");
    let image = TestImage::new("pushed");
    image.push_as(Some(("ada", rest.ada.token())), rest.weir.registry(), "demo/app", image.digest().as_str()).await;
    for (until, words) in [
        ("resumed", "is held until somebody resumes it: "),
        ("2099-01-02T03:04:05Z", "is held until 2099-01-02T03:04:05Z, or until somebody resumes it: "),
        ("newer", "is held until a newer, different image arrives, or somebody resumes it: "),
    ] {
        let hold = own("streams/app/tags/t/hold");
        rest.expect(StatusCode::OK, Method::POST, &hold, &json!({"until": until})).await;
        let warning = map(1).await;
        assert!(warning.contains("demo/app:t") && warning.contains(words), "{until}: {warning}");
        // The registry's own door says the same. What the tag never pointed to ends a hold that waits for that.
        let put = rest.ada.request(Method::PUT, "/v2/demo/app/manifests/t").header("content-type", image.media_type);
        let pushed = put.body(image.manifest.clone()).send().await.unwrap();
        let warning = pushed.headers().get("warning").map_or("", |text| text.to_str().unwrap());
        assert_eq!(warning.contains(words), until != "newer", "{until}: {warning}");
    }
    let rejected = own("streams/app/tags/t/rejected");
    let answer = rest.ada.post(&rejected, &json!({"digest": digest(1)})).await;
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    assert!(map(1).await.contains("this image was rejected for demo/app:t"));
}
