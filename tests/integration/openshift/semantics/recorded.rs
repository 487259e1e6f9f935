//! Sections 6.6 and 14.1: what `imagestreamimports` write down of a stream, and what they leave as it is.

use std::sync::Arc;

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::super::{Rest, images, own};
use super::imports::import;
use super::requests::{isi, several};
use super::{following, spec_of};
use crate::imports::upstream::Misbehaving;
use crate::upstreams::images::TestImage;
use crate::upstreams::programmable::answer;
use crate::upstreams::{DockerRegistry, Upstream};

impl Rest {
    async fn app(&self) -> Value {
        self.ada.get_json(&images("imagestreams/app")).await
    }
}

/// Version and generation of a stream.
fn state(stream: &Value) -> (&Value, &Value) {
    (&stream["metadata"]["resourceVersion"], &stream["metadata"]["generation"])
}

/// A registry that answers only once it is let.
async fn slow(image: &TestImage) -> (Upstream, Arc<Semaphore>, Arc<Semaphore>) {
    let (asked, let_go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (tells, waits, image) = (Arc::clone(&asked), Arc::clone(&let_go), image.clone());
    let upstream = Upstream::start(move |_| {
        let (tells, waits, image) = (Arc::clone(&tells), Arc::clone(&waits), image.clone());
        Box::pin(async move {
            tells.add_permits(1);
            drop(waits.acquire().await);
            let digest = image.digest().to_string();
            answer(404, &[("content-type", image.media_type), ("docker-content-digest", &digest)], "")
        })
    });
    (upstream.await, asked, let_go)
}

#[tokio::test]
async fn section_14_1_what_changes_while_a_request_looks_stands() {
    let rest = Rest::live().await;
    let image = TestImage::new("one");
    let good = Misbehaving::start(&image).await;
    rest.push("base", "1", 1).await;
    for what in ["the tag", "the version", "the stream"] {
        let (upstream, asked, let_go) = slow(&image).await;
        let made = rest.make("app", json!([following("t", "base:1")])).await;
        // The look that takes its time is at what the tag `t` would follow.
        let bad = format!("{}/org/app:1", upstream.address());
        let mut body = several(&[(&bad, Some("t")), (&good.reference("org/app:1"), Some("u"))], true);
        match what {
            "the version" => body["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"].clone(),
            "the stream" => body["metadata"]["uid"] = made["metadata"]["uid"].clone(),
            _ => {}
        }
        let path = isi();
        let request = rest.call(Method::POST, &path, &body);
        let meanwhile = async {
            asked.acquire().await.expect("asked").forget();
            let path = images("imagestreams/app");
            if what == "the stream" {
                rest.delete(&path).await;
            } else {
                let other = json!({"name": "u", "from": {"kind": "ImageStreamTag", "name": "base:1"}});
                rest.edit("app", |stream| stream["spec"]["tags"].as_array_mut().unwrap().push(other)).await;
            }
            let_go.add_permits(1);
        };
        let ((status, told), ()) = tokio::join!(request, meanwhile);
        if what == "the stream" {
            assert_eq!((status, &told["details"]["kind"]), (StatusCode::NOT_FOUND, &json!("imagestreams")), "{told:#}");
            rest.expect(StatusCode::NOT_FOUND, Method::GET, &images("imagestreams/app"), &json!({})).await;
            continue;
        }
        if what == "the version" {
            assert_eq!(status, StatusCode::CONFLICT, "{told:#}");
            assert!(told["message"].as_str().unwrap().starts_with("the image stream was updated from "), "{told:#}");
        } else {
            assert_eq!(status, StatusCode::CREATED, "{told:#}");
            let one = &told["status"]["images"][1]["status"];
            assert_eq!((&one["code"], &one["reason"]), (&json!(409), &json!("Conflict")), "{told:#}");
        }
        let from = json!({"kind": "ImageStreamTag", "name": "base:1"});
        for tag in ["t", "u"] {
            assert_eq!(spec_of(&rest.app().await, tag)["from"], from, "{what}: {tag}");
        }
        rest.delete(&images("imagestreams/app")).await;
    }
}

#[tokio::test]
async fn section_6_6_an_import_that_finds_nothing_new_leaves_version_and_generation() {
    let rest = Rest::live().await;
    let (one, two) = (TestImage::new("one"), TestImage::new("two"));
    let registry = Misbehaving::start(&one).await;
    let reference = registry.reference("org/app:1");
    let body = import(&reference, "t", "PreserveOriginal", true);
    let mut before = Value::Null;
    for round in 0..3 {
        let (status, _) = rest.import(&body).await;
        assert_eq!(status["status"], "Success", "{status:#}");
        let now = rest.app().await;
        assert_eq!((&now["metadata"]["generation"], &spec_of(&now, "t")["generation"]), (&json!(1), &json!(1)));
        assert!(round == 0 || state(&now) == state(&before), "nothing is another: {now:#}");
        before = now;
    }
    // A failure is told by a condition, which the next success takes away; neither says what the tag should be.
    registry.misbehave(|_| Some(answer(404, &[], "")));
    for _ in 0..2 {
        rest.import(&body).await;
        let failed = rest.app().await;
        assert_eq!(failed["status"]["tags"][0]["conditions"][0]["reason"], "NotFound");
        assert_eq!(state(&failed), state(&before));
    }
    registry.behave();
    rest.import(&body).await;
    let again = rest.app().await;
    assert!(again["status"]["tags"][0]["conditions"].is_null(), "{again:#}");
    assert_eq!(state(&again), state(&before));

    let mut scheduled = body.clone();
    scheduled["spec"]["images"][0]["importPolicy"]["scheduled"] = json!(true);
    for (body, is_scheduled) in [(&scheduled, json!(true)), (&body, Value::Null)] {
        rest.import(body).await;
        let synced = rest.app().await;
        assert_eq!(spec_of(&synced, "t")["importPolicy"]["scheduled"], is_scheduled);
        assert_eq!(spec_of(&synced, "t")["generation"], 1, "the image is the same");
        assert_eq!(synced["status"]["tags"][0]["items"], before["status"]["tags"][0]["items"]);
    }
    registry.set(&two);
    rest.import(&body).await;
    assert_eq!(rest.items("app", "t").await.first(), Some(&two.digest().to_string()));
    // What somebody pushed since is replaced by what the source means, though nothing is new there.
    let pushed = rest.push("app", "t", 7).await;
    rest.import(&body).await;
    let items = rest.items("app", "t").await;
    assert_eq!(items[..2], [two.digest().to_string(), pushed]);
}

#[tokio::test]
async fn section_6_6_a_whole_repository_is_one_generation() {
    let (rest, upstream) = (Rest::live().await, DockerRegistry::start());
    for tag in ["1", "2", "3"] {
        TestImage::new(tag).push(upstream.address(), "org/app", tag).await;
    }
    let from = json!({"kind": "DockerImage", "name": format!("{}/org/app", upstream.address())});
    let repository = json!({"from": from, "importPolicy": {"insecure": true}});
    let body = json!({"metadata": {"name": "app"}, "spec": {"import": true, "repository": repository}});
    let mut versions = Vec::new();
    for _ in 0..2 {
        let made = rest.post(StatusCode::CREATED, &isi(), &body).await;
        assert_eq!(made["status"]["repository"]["status"]["status"], "Success", "{made:#}");
        let stream = rest.app().await;
        assert_eq!(stream["metadata"]["generation"], 1);
        let generations: Vec<_> = ["1", "2", "3"].map(|tag| spec_of(&stream, tag)["generation"].clone()).into();
        assert_eq!(generations, [1, 1, 1]);
        versions.push(stream["metadata"]["resourceVersion"].clone());
    }
    assert_eq!(versions[0], versions[1]);
}

#[tokio::test]
async fn section_6_6_a_tag_that_stays_is_never_told_as_taken() {
    let rest = Rest::live().await;
    let (one, two) = (TestImage::new("one"), TestImage::new("two"));
    let registry = Misbehaving::start(&one).await;
    let body = import(&registry.reference("org/app:1"), "t", "PreserveOriginal", true);
    rest.import(&body).await;
    let tag = own("streams/app/tags/t");
    rest.post(StatusCode::OK, &format!("{tag}/hold"), &json!({})).await;
    registry.set(&two);
    let (first, second) = (one.digest(), two.digest());
    for _ in 0..2 {
        let answer = rest.ada.post(&isi(), &body).await;
        let words = format!("app:t stays at {first} and does not go to {second}: ada holds it");
        assert_eq!(answer.headers()["warning"], format!("299 - \"{words}\""));
        let told: Value = answer.json().await.expect("an answer");
        let status = &told["status"]["images"][0]["status"];
        assert_eq!((&status["status"], &status["code"]), (&json!("Failure"), &json!(409)), "{told:#}");
        assert_eq!(status["message"], words);
    }
    assert_eq!(rest.items("app", "t").await, [first.to_string()]);
    // What it has already it need not go to.
    registry.set(&one);
    let (status, image) = rest.import(&body).await;
    assert_eq!((&status["status"], &image["metadata"]["name"]), (&json!("Success"), &json!(first)), "{status:#}");
    registry.set(&two);
    rest.post(StatusCode::OK, &format!("{tag}/resume"), &json!({})).await;
    let (status, image) = rest.import(&body).await;
    assert_eq!((&status["status"], &image["metadata"]["name"]), (&json!("Success"), &json!(second)), "{status:#}");

    // Rolled back, the image left behind is rejected.
    let rows = rest.ada.get_json(&format!("{tag}/history")).await;
    let old = rows["items"].as_array().unwrap().iter().find(|row| row["digest"] == first.as_str()).unwrap();
    let back = json!({"to": old["sequence"], "mode": "tag"});
    rest.post(StatusCode::OK, &format!("{tag}/rollback"), &back).await;
    let (status, _) = rest.import(&body).await;
    let words = format!("app:t stays at {first} and does not go to {second}: that image was rejected for it");
    assert_eq!(status["message"], words);

    let rules = json!({"immutable": ["fixed*"]});
    let admin = rest.weir.admin().await;
    let set = admin.request(Method::PUT, &own("streams/app/tag-rules")).json(&rules).send().await.expect("an answer");
    assert!(set.status().is_success(), "{}", set.text().await.unwrap_or_default());
    let pushed = rest.push("app", "fixed", 1).await;
    let fixed = import(&registry.reference("org/app:1"), "fixed", "PreserveOriginal", true);
    let (status, _) = rest.import(&fixed).await;
    assert_eq!(status["message"], format!("app:fixed stays at {pushed} and does not go to {second}: it is immutable"));
}

#[tokio::test]
async fn section_6_6_what_waits_for_a_cool_down_is_told_beside_the_image_that_stays() {
    let rest = Rest::live().await;
    let (one, two) = (TestImage::new("one"), TestImage::new("two"));
    let registry = Misbehaving::start(&one).await;
    let body = import(&registry.reference("org/app:1"), "t", "PreserveOriginal", true);
    rest.import(&body).await;
    rest.edit("app", |stream| stream["spec"]["tags"][0]["annotations"] = json!({"weir.dev/import-cool-down": "1h"}))
        .await;
    registry.set(&two);
    let answer = rest.ada.post(&isi(), &body).await;
    let words = format!("app:t keeps its image: {} is new there and waits for its cool-down", two.digest());
    assert_eq!(answer.headers()["warning"], format!("299 - \"{words}\""));
    let told: Value = answer.json().await.expect("an answer");
    assert_eq!(told["status"]["images"][0]["image"]["metadata"]["name"], one.digest().as_str(), "{told:#}");
}
