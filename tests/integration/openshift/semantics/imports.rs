//! Parts 5 and 6: what pushes and imports do to a stream, and how an import that fails is told.

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};
use weir::model::Role;
use weir::server::hash::sha256;

use super::super::{Rest, images};
use super::{following, spec_of};
use crate::imports::upstream::Misbehaving;
use crate::support::TestWeir;
use crate::upstreams::DockerRegistry;
use crate::upstreams::images::{OCI_INDEX, TestImage, index_of, push_manifest};
use crate::upstreams::programmable::answer;

pub(super) fn import(reference: &str, to: &str, mode: &str, keep: bool) -> Value {
    let policy = json!({"insecure": true, "importMode": mode});
    let image = json!({"from": {"kind": "DockerImage", "name": reference}, "to": {"name": to}, "importPolicy": policy});
    json!({"metadata": {"name": "app"}, "spec": {"import": keep, "images": [image]}})
}

impl Rest {
    /// The status of the only image of an import, and the image.
    pub(super) async fn import(&self, body: &Value) -> (Value, Value) {
        let made = self.post(StatusCode::CREATED, &images("imagestreamimports"), body).await;
        let one = &made["status"]["images"][0];
        (one["status"].clone(), one["image"].clone())
    }
}

#[tokio::test]
async fn section_5_a_push_makes_the_stream_and_specifies_nothing() {
    let rest = Rest::start().await;
    let vic = rest.weir.user("vic", "demo", Role::Viewer).await;
    let (one, two) = (TestImage::new("one"), TestImage::new("two"));
    let begun = vic.request(Method::POST, "/v2/demo/app/blobs/uploads/").send().await.expect("an answer");
    assert_eq!(begun.status(), StatusCode::FORBIDDEN, "who may not push makes no stream");
    rest.expect(StatusCode::NOT_FOUND, Method::GET, &images("imagestreams/app"), &json!({})).await;

    let push = async |image: &TestImage, tag: &str| {
        image.push_as(Some(("ada", rest.ada.token())), rest.weir.registry(), "demo/app", tag).await;
        rest.ada.get_json(&images("imagestreams/app")).await
    };
    let made = push(&one, "t").await;
    assert_eq!((&made["metadata"]["generation"], &made["spec"]["tags"]), (&json!(1), &json!([])));
    let item = &made["status"]["tags"][0]["items"][0];
    let digest = one.digest().to_string();
    assert_eq!(item["image"], digest.as_str());
    assert_eq!(item["dockerImageReference"], format!("{}/demo/app@{digest}", rest.weir.registry()));
    let again = push(&two, "t").await;
    assert_eq!((&again["metadata"]["generation"], &again["spec"]["tags"]), (&json!(1), &json!([])));
    let bare = push(&TestImage::new("three"), TestImage::new("three").digest().as_str()).await;
    assert_eq!(bare["status"], again["status"], "without a tag it is in no history");
}

#[tokio::test]
async fn section_6_6_a_failed_import_leaves_what_the_tag_follows() {
    let rest = Rest::live().await;
    let upstream = Misbehaving::start(&TestImage::new("one")).await;
    rest.push("base", "t", 1).await;
    let follow = following("t", "base:t");
    let (good, _) = rest.import(&import(&upstream.reference("org/app:1"), "u", "PreserveOriginal", true)).await;
    assert_eq!(good["status"], "Success", "{good:#}");
    let stream = rest.edit("app", |stream| stream["spec"]["tags"].as_array_mut().unwrap().push(follow.clone())).await;
    let before = ["t", "u"].map(|tag| spec_of(&stream, tag).clone());
    rest.expect(StatusCode::OK, Method::POST, "/weir/v1/projects/demo/streams/app/tags/t/hold", &json!({})).await;
    let old = rest.items("app", "t").await;
    rest.push("base", "t", 2).await;
    for tag in ["t", "u"] {
        let (failed, _) = rest.import(&import("registry.invalid/slip:1", tag, "PreserveOriginal", true)).await;
        assert_eq!(failed["status"], "Failure", "{failed:#}");
    }
    let stream = rest.ada.get_json(&images("imagestreams/app")).await;
    assert_eq!(["t", "u"].map(|tag| spec_of(&stream, tag).clone()), before);
    assert_eq!(rest.items("app", "t").await, old, "it is held still");
    rest.expect(StatusCode::OK, Method::POST, "/weir/v1/projects/demo/streams/app/tags/t/resume", &json!({})).await;
    let three = rest.push("base", "t", 3).await;
    assert_eq!(rest.items("app", "t").await.first(), Some(&three), "and follows still");
}

#[tokio::test]
async fn section_5_a_push_is_what_a_pending_import_was_to_bring() {
    let rest = Rest::start().await;
    let upstream = Misbehaving::start(&TestImage::new("elsewhere")).await;
    let from = json!({"kind": "DockerImage", "name": upstream.reference("org/app:1")});
    rest.make("app", json!([{"name": "t", "from": from, "importPolicy": {"insecure": true}}])).await;
    let pushed = rest.push("app", "t", 1).await;
    rest.weir.settle().await;
    assert_eq!(rest.items("app", "t").await, [pushed]);
    // Asked for, it comes.
    rest.expect(StatusCode::OK, Method::POST, "/weir/v1/projects/demo/streams/app/tags/t/check", &json!({})).await;
    rest.weir.settle().await;
    assert_eq!(rest.items("app", "t").await.len(), 2);
}

#[tokio::test]
async fn section_3_7_what_follows_an_import_finds_it_where_that_did() {
    let rest = Rest::live().await;
    let upstream = Misbehaving::start(&TestImage::new("one")).await;
    let reference = upstream.reference("org/app:1");
    rest.make("app", json!([])).await;
    rest.make("early", json!([following("t", "app:t")])).await;
    let (told, _) = rest.import(&import(&reference, "t", "PreserveOriginal", true)).await;
    assert_eq!(told["status"], "Success", "{told:#}");
    rest.make("late", json!([following("t", "app:t"), following("u", "t")])).await;
    let found = async |stream: &str, tag: usize| {
        let stream = rest.ada.get_json(&images(&format!("imagestreams/{stream}"))).await;
        stream["status"]["tags"][tag]["items"][0]["dockerImageReference"].as_str().unwrap().to_owned()
    };
    let expected = format!("{}/org/app@{}", upstream.upstream.address(), TestImage::new("one").digest());
    for (stream, tag) in [("app", 0), ("early", 0), ("late", 0), ("late", 1)] {
        assert_eq!(found(stream, tag).await, expected, "{stream} {tag}");
    }
    // An imported tag that is made a mere reference has no image any more, until one is pushed.
    let path = images("imagestreamtags/app:t");
    rest.expect(StatusCode::OK, Method::GET, &path, &json!({})).await;
    rest.edit("app", |stream| stream["spec"]["tags"][0]["reference"] = json!(true)).await;
    rest.expect(StatusCode::NOT_FOUND, Method::GET, &path, &json!({})).await;
    let listed = rest.ada.get_json(&images("imagestreamtags")).await;
    assert!(!listed["items"].as_array().unwrap().iter().any(|tag| tag["metadata"]["name"] == "app:t"), "{listed:#}");
    rest.push("app", "t", 1).await;
    rest.expect(StatusCode::OK, Method::GET, &path, &json!({})).await;
}

#[tokio::test]
async fn section_6_1_an_import_of_what_has_changed_since_is_discarded() {
    let rest = Rest::start().await;
    let body = |name: &str, version: &str| {
        let mut body = import("registry.invalid/x:1", "t", "Legacy", true);
        body["metadata"] = json!({"name": name, "resourceVersion": version});
        body
    };
    let path = images("imagestreamimports");
    rest.post(StatusCode::NOT_FOUND, &path, &body("none", "7")).await;
    rest.push("app", "t", 1).await;
    let refused = rest.post(StatusCode::CONFLICT, &path, &body("app", "1")).await;
    assert!(
        refused["message"].as_str().unwrap().contains("the image stream was updated from \"1\" to "),
        "{refused:#}"
    );
    let stream = rest.ada.get_json(&images("imagestreams/app")).await;
    assert_eq!(stream["spec"]["tags"], json!([]), "nothing was specified");
    // By its id, another stream of the name is none.
    for (name, uid) in [("app", "another"), ("none", "another")] {
        let mut body = import("registry.invalid/x:1", "t", "Legacy", false);
        body["metadata"] = json!({"name": name, "uid": uid});
        let refused = rest.post(StatusCode::NOT_FOUND, &path, &body).await;
        assert_eq!((&refused["details"]["kind"], &refused["details"]["name"]), (&json!("imagestreams"), &json!(name)));
    }
    let mut same = import("registry.invalid/x:1", "t", "Legacy", false);
    same["metadata"] = json!({"name": "app", "uid": stream["metadata"]["uid"]});
    rest.post(StatusCode::CREATED, &path, &same).await;
}

#[tokio::test]
async fn section_6_3_an_index_is_kept_or_one_platform_of_it() {
    let (rest, upstream) = (Rest::start().await, DockerRegistry::start());
    let (arm64, amd64) = (TestImage::new("arm64"), TestImage::new("amd64"));
    for image in [&arm64, &amd64] {
        image.push(upstream.address(), "org/app", image.digest().as_str()).await;
    }
    let both = index_of(&[("arm64", &arm64), ("amd64", &amd64)]);
    let foreign = index_of(&[("arm64", &arm64)]);
    for (tag, index) in [("both", &both), ("foreign", &foreign)] {
        push_manifest(upstream.address(), "org/app", tag, OCI_INDEX, index.clone()).await;
    }
    let whole = sha256(&both);
    for (from, mode, expected) in [
        (":both".to_owned(), "PreserveOriginal", whole.clone()),
        (":both".to_owned(), "", whole.clone()),
        (":both".to_owned(), "Legacy", amd64.digest()),
        (format!("@{whole}"), "Legacy", amd64.digest()),
        (format!("@{whole}"), "PreserveOriginal", whole.clone()),
        // Of none for this machine, the first.
        (":foreign".to_owned(), "Legacy", arm64.digest()),
    ] {
        let reference = format!("{}/org/app{from}", upstream.address());
        let (status, image) = rest.import(&import(&reference, "t", mode, false)).await;
        assert_eq!(status["status"], "Success", "{status:#}");
        assert_eq!(image["metadata"]["name"], expected.as_str(), "{from} {mode}");
        let stored = format!("{}/org/app@{expected}", upstream.address());
        assert_eq!(image["dockerImageReference"], stored, "as typed, at the digest");
    }
    rest.expect(StatusCode::NOT_FOUND, Method::GET, &images("imagestreams/app"), &json!({})).await;
}

#[tokio::test]
async fn section_6_3_an_index_comes_with_its_images_and_with_their_texts_when_asked_for() {
    let (rest, upstream) = (Rest::live().await, DockerRegistry::start());
    let (arm64, amd64) = (TestImage::new("arm64"), TestImage::new("amd64"));
    for image in [&arm64, &amd64] {
        image.push(upstream.address(), "org/app", image.digest().as_str()).await;
    }
    let both = index_of(&[("arm64", &arm64), ("amd64", &amd64)]);
    push_manifest(upstream.address(), "org/app", "both", OCI_INDEX, both.clone()).await;
    let reference = format!("{}/org/app:both", upstream.address());
    for keep in [false, true] {
        for with_texts in [false, true] {
            let mut body = import(&reference, "t", "PreserveOriginal", keep);
            body["spec"]["images"][0]["includeManifest"] = json!(with_texts);
            let made = rest.post(StatusCode::CREATED, &images("imagestreamimports"), &body).await;
            let one = &made["status"]["images"][0];
            let manifests = one["manifests"].as_array().unwrap();
            let names: Vec<_> = manifests.iter().map(|image| image["metadata"]["name"].as_str().unwrap()).collect();
            assert_eq!(names, [arm64.digest().as_str(), amd64.digest().as_str()], "in the index's order; kept: {keep}");
            let of_arm = format!("{}/org/app@{}", upstream.address(), arm64.digest());
            assert_eq!(manifests[0]["dockerImageReference"], of_arm);
            let text = one["image"]["dockerImageManifest"].as_str();
            assert_eq!(text.map(str::as_bytes), with_texts.then_some(&both[..]), "kept: {keep}");
            assert_eq!(manifests[0]["dockerImageConfig"].is_string(), with_texts);
        }
    }
}

#[tokio::test]
async fn section_6_2_a_repository_is_taken_up_to_the_limit_in_the_order_of_priority() {
    let upstream = DockerRegistry::start();
    let tags = ["beta", "3.9.1", "3.10", "latest", "3.10.2", "v3.10"];
    for tag in tags {
        TestImage::new(tag).push(upstream.address(), "org/app", tag).await;
    }
    let in_order = ["latest", "3.10", "v3.10", "3.10.2", "3.9.1", "beta"];
    for (limit, taken) in [(50, 6), (2, 2), (0, 0), (-1, 6)] {
        let rest = Rest::of(TestWeir::start_with(|config| config.repository_import_limit = limit, false).await).await;
        let from = json!({"kind": "DockerImage", "name": format!("{}/org/app", upstream.address())});
        let repository = json!({"from": from, "importPolicy": {"insecure": true}});
        let body = json!({"metadata": {"name": "app"}, "spec": {"import": false, "repository": repository}});
        let made = rest.post(StatusCode::CREATED, &images("imagestreamimports"), &body).await;
        let told = &made["status"]["repository"];
        let names = |list: &Value| list.as_array().cloned().unwrap_or_default();
        let got: Vec<_> = names(&told["images"]).iter().map(|image| image["tag"].clone()).collect();
        assert_eq!(
            (got, names(&told["additionalTags"])),
            (
                in_order[..taken].iter().map(|tag| json!(tag)).collect(),
                in_order[taken..].iter().map(|tag| json!(tag)).collect(),
            ),
            "{limit}"
        );
    }
}

#[tokio::test]
async fn section_6_4_each_cause_has_its_status() {
    let rest = Rest::start().await;
    let password = r#"{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}"#;
    let unknown = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}"#;
    for (status, body, code, reason, words) in [
        (404, unknown, 404, "NotFound", "dockerimage.image.openshift.io \"REFERENCE\" not found"),
        (401, "", 401, "Unauthorized", "you may not have access to the container image \"REFERENCE\""),
        (403, "", 401, "Unauthorized", "you may not have access to the container image \"REFERENCE\""),
        (401, password, 401, "Unauthorized", "incorrect username or password for image \"REFERENCE\""),
        (
            500,
            "",
            500,
            "InternalError",
            "Internal error occurred: REFERENCE: registry HOST has trouble of its own: it answered 500",
        ),
        (418, "", 500, "InternalError", "Internal error occurred: REFERENCE: the registry answered 418 I'm a teapot"),
    ] {
        let registry = Misbehaving::start(&TestImage::new("x")).await;
        registry.misbehave(move |_| Some(answer(status, &[], body)));
        let reference = registry.reference("org/app:1");
        let (told, image) = rest.import(&import(&reference, "t", "Legacy", false)).await;
        assert_eq!((&told["code"], &told["reason"]), (&json!(code), &json!(reason)), "{told:#}");
        let words = words.replace("REFERENCE", &reference).replace("HOST", registry.upstream.address());
        assert_eq!(told["message"], words, "{told:#}");
        assert!(image.is_null());
    }
    let registry = Misbehaving::start(&TestImage::new("x")).await;
    let reference = registry.reference("org/app:1");
    let mut body = import(&reference, "t", "Legacy", false);
    body["spec"]["images"][0]["importPolicy"]["insecure"] = json!(false);
    let (told, _) = rest.import(&body).await;
    assert_eq!(told["code"], 400, "{told:#}");
    let words = format!("the repository \"{reference}\" is HTTP only and requires the insecure flag to import");
    assert_eq!(told["message"], words);

    // Weir's way to block a registry is to pause it.
    let pause = format!("/weir/v1/registries/{}/pause", registry.upstream.address());
    assert!(rest.weir.admin().await.post(&pause, &json!({"reason": "it is moved"})).await.status().is_success());
    let (told, _) = rest.import(&import(&reference, "t", "Legacy", false)).await;
    assert_eq!((&told["code"], &told["reason"]), (&json!(403), &json!("Forbidden")), "{told:#}");
    assert!(
        told["message"].as_str().unwrap().contains("blocked") && told["message"].to_string().contains("it is moved")
    );
}

#[tokio::test]
async fn section_6_6_an_import_is_recorded_once_and_a_failure_leaves_what_was_there() {
    let rest = Rest::live().await;
    let (one, two) = (TestImage::new("one"), TestImage::new("two"));
    let registry = Misbehaving::start(&one).await;
    let reference = registry.reference("org/app:1");
    let body = import(&reference, "t", "PreserveOriginal", true);
    let stream = async || rest.ada.get_json(&images("imagestreams/app")).await;
    // A tag that follows something else follows what is imported explicitly from then on.
    rest.push("base", "1", 1).await;
    rest.make("app", json!([following("t", "base:1")])).await;
    for _ in 0..2 {
        let (status, _) = rest.import(&body).await;
        assert_eq!(status["status"], "Success", "{status:#}");
    }
    let imported = stream().await;
    assert_eq!(spec_of(&imported, "t")["from"], json!({"kind": "DockerImage", "name": reference}));
    let first = [one.digest().to_string(), super::super::digest(1)];
    assert_eq!(rest.items("app", "t").await, first, "the same image again is no move");

    registry.misbehave(|_| Some(answer(404, &[], "")));
    let mut conditions = Vec::new();
    for _ in 0..2 {
        let (status, _) = rest.import(&body).await;
        assert_eq!(status["reason"], "NotFound", "{status:#}");
        conditions.push(stream().await["status"]["tags"][0]["conditions"][0].clone());
    }
    assert_eq!((&conditions[0]["type"], &conditions[0]["status"]), (&json!("ImportSuccess"), &json!("False")));
    assert_eq!(conditions[0]["reason"], "NotFound", "as the import's own answer has it");
    assert_eq!(conditions[0]["lastTransitionTime"], conditions[1]["lastTransitionTime"], "it is one failure");
    assert_eq!(rest.items("app", "t").await, first);

    registry.behave();
    registry.set(&two);
    rest.import(&body).await;
    assert_eq!(rest.items("app", "t").await.first(), Some(&two.digest().to_string()));
    assert!(stream().await["status"]["tags"][0]["conditions"].is_null(), "success clears the condition");
}
