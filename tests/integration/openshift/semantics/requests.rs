//! Sections 6.1 to 6.5, `imagestreamimports` as requests: what they are for, in which order things are asked, and what is answered.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use weir::server::hash::sha256;
use weir::server::store::SecretData;

use super::super::{Rest, images};
use super::cause;
use super::imports::import;
use crate::imports::upstream::Misbehaving;
use crate::support::{TestWeir, tester};
use crate::upstreams::images::{OCI_INDEX, TestImage, index_of, push_manifest};
use crate::upstreams::programmable::answer;
use crate::upstreams::{DockerRegistry, Upstream};

pub(super) fn isi() -> String {
    images("imagestreamimports")
}

/// Images to import, by reference and tag; without one none is said.
pub(super) fn several(of: &[(&str, Option<&str>)], keep: bool) -> Value {
    let image = |(reference, to): &(&str, Option<&str>)| {
        let from = json!({"kind": "DockerImage", "name": reference});
        let mut image = json!({"from": from, "importPolicy": {"insecure": true}});
        if let Some(to) = to {
            image["to"] = json!({"name": to});
        }
        image
    };
    let list: Vec<Value> = of.iter().map(image).collect();
    json!({"metadata": {"name": "app"}, "spec": {"import": keep, "images": list}})
}

#[tokio::test]
async fn section_6_1_an_image_by_digest_needs_a_tag_only_to_be_kept() {
    let rest = Rest::start().await;
    let image = TestImage::new("one");
    let registry = Misbehaving::start(&image).await;
    let reference = registry.reference(&format!("org/app@{}", image.digest()));
    let looked = rest.post(StatusCode::CREATED, &isi(), &several(&[(&reference, None)], false)).await;
    let one = &looked["status"]["images"][0];
    assert_eq!((&one["status"]["status"], &one["tag"]), (&json!("Success"), &Value::Null), "{looked:#}");
    assert_eq!(one["image"]["metadata"]["name"], image.digest().as_str());
    let refused = rest.post(StatusCode::UNPROCESSABLE_ENTITY, &isi(), &several(&[(&reference, None)], true)).await;
    let words = "Required value: the image is named by its digest: say here which tag it is to have";
    assert_eq!(cause(&refused), ("spec.images[0].to.name", words));
    for keep in [false, true] {
        let body = several(&[(&reference, Some(""))], keep);
        let refused = rest.post(StatusCode::UNPROCESSABLE_ENTITY, &isi(), &body).await;
        assert_eq!(cause(&refused).1, "Required value: the name of the target tag must be specified");
    }
}

#[tokio::test]
async fn section_6_2_digests_are_asked_for_first_and_the_same_thing_once() {
    let rest = Rest::start().await;
    let image = TestImage::new("one");
    let registry = Misbehaving::start(&image).await;
    let by_digest = registry.reference(&format!("org/app@{}", image.digest()));
    let (first, second) = (registry.reference("org/app:1"), registry.reference("org/app:2"));
    let body = several(
        &[
            (&first, Some("a")),
            (&second, Some("b")),
            (&by_digest, Some("c")),
            (&first, Some("d")),
            (&by_digest, Some("e")),
        ],
        false,
    );
    let made = rest.post(StatusCode::CREATED, &isi(), &body).await;
    let told: Vec<_> = made["status"]["images"].as_array().unwrap().iter().map(|one| one["tag"].clone()).collect();
    assert_eq!(told, ["a", "b", "c", "d", "e"], "in the request's order");
    let seen = registry.upstream.seen();
    let manifests: Vec<_> = seen.iter().filter_map(|seen| seen.path().strip_prefix("/v2/org/app/manifests/")).collect();
    assert_eq!(manifests, [image.digest().as_str(), "1", "2"]);
}

#[tokio::test]
async fn section_6_2_a_request_waits_so_long_and_its_imports_go_on() {
    let hurry = |config: &mut weir::server::config::Config| config.import_patience = Duration::from_millis(1);
    let rest = Rest::of(TestWeir::start_with(hurry, false).await).await;
    let image = TestImage::new("one");
    let registry = Misbehaving::start(&image).await;
    let reference = registry.reference("org/app:1");
    let (status, _) = rest.import(&import(&reference, "t", "PreserveOriginal", true)).await;
    let words = format!("Internal error occurred: {reference}: it goes on; look at the stream again later");
    assert_eq!((&status["code"], &status["message"]), (&json!(500), &json!(words)));
    assert_eq!(rest.items("app", "t").await, Vec::<String>::new());
    rest.weir.settle().await;
    assert_eq!(rest.items("app", "t").await, [image.digest().to_string()]);
}

#[tokio::test]
async fn section_6_5_the_first_word_on_a_repository_says_how_it_is_reached() {
    let rest = Rest::start().await;
    let registry = Misbehaving::start(&TestImage::new("one")).await;
    let of = |flags: [bool; 2]| {
        let mut body = several(
            &[(&registry.reference("org/app:1"), Some("a")), (&registry.reference("org/app:2"), Some("b"))],
            false,
        );
        for (index, flag) in flags.into_iter().enumerate() {
            body["spec"]["images"][index]["importPolicy"]["insecure"] = json!(flag);
        }
        body
    };
    for (flags, expected) in [([true, false], json!("Success")), ([false, true], json!("Failure"))] {
        let answer = rest.ada.post(&isi(), &of(flags)).await;
        let warning = answer.headers()["warning"].to_str().expect("words").to_owned();
        let words =
            format!("spec.images[1].importPolicy.insecure does not count: spec.images[0] says {} for", flags[0]);
        assert!(warning.contains(&words), "{warning}");
        let told: Value = answer.json().await.expect("an answer");
        for one in told["status"]["images"].as_array().unwrap() {
            assert_eq!(one["status"]["status"], expected, "{told:#}");
        }
    }
    assert!(rest.ada.post(&isi(), &of([true, true])).await.headers().get("warning").is_none());
}

#[tokio::test]
async fn section_6_3_an_index_comes_whole_or_not_at_all() {
    let rest = Rest::live().await;
    let (arm64, amd64) = (TestImage::new("arm64"), TestImage::new("amd64"));
    let index = index_of(&[("arm64", &arm64), ("amd64", &amd64)]);
    let (served, missing) = (arm64.clone(), amd64.digest().to_string());
    let upstream = Upstream::answering(move |seen| {
        let path = seen.path();
        if path.ends_with("/manifests/1") {
            let digest = sha256(&index).to_string();
            return answer(200, &[("content-type", OCI_INDEX), ("docker-content-digest", &digest)], index.clone());
        }
        if path.ends_with(served.digest().as_str()) {
            return answer(200, &[("content-type", served.media_type)], served.manifest.clone());
        }
        let blob = [&served.config, &served.layer].into_iter().find(|blob| path.ends_with(sha256(blob).as_str()));
        blob.filter(|_| !path.ends_with(&missing))
            .map_or_else(|| answer(404, &[], ""), |blob| answer(200, &[], blob.clone()))
    })
    .await;
    let reference = format!("{}/org/app:1", upstream.address());
    for keep in [false, true] {
        let (status, image) = rest.import(&import(&reference, "t", "PreserveOriginal", keep)).await;
        assert_eq!((&status["status"], &image), (&json!("Failure"), &Value::Null), "kept: {keep}: {status:#}");
    }
    assert_eq!(rest.items("app", "t").await, Vec::<String>::new());
    let (status, image) = rest.import(&import(&reference, "t", "Legacy", true)).await;
    assert_eq!(status["status"], "Failure", "this machine's is the one that is missing: {image:#}");
}

#[tokio::test]
async fn section_6_3_one_image_for_two_tags_is_one_and_another_mode_takes_it_anew() {
    let (rest, upstream) = (Rest::live().await, DockerRegistry::start());
    let amd64 = TestImage::new("amd64");
    amd64.push(upstream.address(), "org/app", amd64.digest().as_str()).await;
    let index = index_of(&[("amd64", &amd64)]);
    push_manifest(upstream.address(), "org/app", "1", OCI_INDEX, index.clone()).await;
    let (whole, part) = (sha256(&index).to_string(), amd64.digest().to_string());
    let by_digest = format!("{}/org/app@{whole}", upstream.address());
    let made = rest
        .post(StatusCode::CREATED, &isi(), &several(&[(&by_digest, Some("a")), (&by_digest, Some("b"))], true))
        .await;
    for one in made["status"]["images"].as_array().unwrap() {
        assert_eq!((&one["status"]["status"], &one["image"]["metadata"]["name"]), (&json!("Success"), &json!(whole)));
    }
    for tag in ["a", "b"] {
        assert_eq!(rest.items("app", tag).await, std::slice::from_ref(&whole));
    }
    // Of two for the same tag the last one counts.
    let tagged = format!("{}/org/app:1", upstream.address());
    let none = format!("{}/org/none:1", upstream.address());
    let made =
        rest.post(StatusCode::CREATED, &isi(), &several(&[(&none, Some("t")), (&tagged, Some("t"))], true)).await;
    let [first, last] = made["status"]["images"].as_array().unwrap().as_slice() else { panic!("{made:#}") };
    assert_eq!((&first["status"]["code"], &last["status"]["status"]), (&json!(409), &json!("Success")), "{made:#}");

    for (mode, expected) in [("Legacy", &part), ("PreserveOriginal", &whole)] {
        let (status, image) = rest.import(&import(&tagged, "t", mode, true)).await;
        assert_eq!((&status["status"], &image["metadata"]["name"]), (&json!("Success"), &json!(expected)), "{mode}");
    }
    assert_eq!(rest.items("app", "t").await, [whole.clone(), part, whole]);
}

#[tokio::test]
async fn section_6_4_a_password_that_is_refused_is_left_out_once_for_the_whole_import() {
    let rest = Rest::live().await;
    let image = TestImage::new("public");
    let served = image.clone();
    let upstream = Upstream::answering(move |seen| {
        let words = r#"{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}"#;
        let is_secret = seen.uri.contains("secret");
        if seen.path() == "/token" {
            return match seen.authorization() {
                None if !is_secret => answer(200, &[], r#"{"token":"anybody","expires_in":300}"#),
                _ => answer(401, &[], words),
            };
        }
        if seen.authorization() != Some("Bearer anybody") || is_secret {
            let host = seen.header("host").unwrap_or_default();
            let scope = if is_secret { "repository:secret:pull" } else { "repository:org/app:pull" };
            let challenge = format!(r#"Bearer realm="http://{host}/token",service="x",scope="{scope}""#);
            return answer(401, &[("www-authenticate", &challenge)], "");
        }
        if seen.path().contains("/manifests/") {
            return answer(200, &[("content-type", served.media_type)], served.manifest.clone());
        }
        let blob =
            [&served.config, &served.layer].into_iter().find(|blob| seen.path().ends_with(sha256(blob).as_str()));
        blob.map_or_else(|| answer(404, &[], ""), |blob| answer(200, &[], blob.clone()))
    })
    .await;
    let host = upstream.address().to_owned();
    let secret = SecretData::Registry { host, username: "ada".to_owned(), password: "wrong".into() };
    rest.weir.store().create_secret("demo", &"upstream".parse().unwrap(), &secret, &tester()).await.unwrap();
    for keep in [false, true] {
        let reference = format!("{}/org/app:1", upstream.address());
        let (status, told) = rest.import(&import(&reference, "t", "PreserveOriginal", keep)).await;
        assert_eq!(status["status"], "Success", "{status:#}");
        assert_eq!(told["metadata"]["name"], image.digest().as_str());
        // What nobody gets without a password is refused for the password's sake.
        let hidden = format!("{}/secret:1", upstream.address());
        let (status, _) = rest.import(&import(&hidden, "u", "PreserveOriginal", keep)).await;
        let words = format!("incorrect username or password for image \"{hidden}\"");
        assert_eq!((&status["code"], &status["message"]), (&json!(401), &json!(words)));
    }
    let shown = upstream
        .seen()
        .iter()
        .filter(|seen| seen.header("authorization").is_some_and(|how| how.starts_with("Basic ")))
        .count();
    assert!(shown <= 4, "a password that was refused is not shown again and again: {shown} times");
}
