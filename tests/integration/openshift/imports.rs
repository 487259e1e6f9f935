//! `imagestreamimports`.

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};

use weir::server::config::Config;
use weir::server::hash::sha256;

use super::{Rest, images};
use crate::support::TestWeir;
use crate::upstreams::Upstream;
use crate::upstreams::docker_registry::DockerRegistry;
use crate::upstreams::images::{TestImage, push_manifest};
use crate::upstreams::programmable::answer;

fn import(references: &[(&str, &str)], keep: bool) -> Value {
    let images: Vec<Value> = references
        .iter()
        .map(|(reference, tag)| {
            json!({
                "from": {"kind": "DockerImage", "name": reference}, "to": {"name": tag},
                "importPolicy": {"insecure": true, "importMode": "Legacy"}, "referencePolicy": {"type": "Source"},
            })
        })
        .collect();
    json!({"metadata": {"name": "python"}, "spec": {"import": keep, "images": images}, "status": {}})
}

#[tokio::test]
async fn images_are_imported_while_the_caller_waits() {
    let upstream = DockerRegistry::start();
    let image = TestImage::new("python 3.6");
    image.push(upstream.address(), "library/python", "3.6").await;
    let rest = Rest::live().await;
    let good = format!("{}/library/python:3.6", upstream.address());
    let bad = format!("{}/library/missing:1", upstream.address());

    let seen = rest.post(StatusCode::CREATED, &images("imagestreamimports"), &import(&[(&good, "3.6")], false)).await;
    assert_eq!(seen["status"]["images"][0]["image"]["metadata"]["name"], image.digest().as_str());
    rest.expect(StatusCode::NOT_FOUND, Method::GET, &images("imagestreams/python"), &json!({})).await;

    let body = import(&[(&good, "3.6"), (&bad, "bad")], true);
    let made = rest.post(StatusCode::CREATED, &images("imagestreamimports"), &body).await;
    let [one, two] = made["status"]["images"].as_array().unwrap().as_slice() else { panic!("{made:#}") };
    assert_eq!((&one["status"]["status"], &one["tag"]), (&json!("Success"), &json!("3.6")));
    assert_eq!(one["image"]["metadata"]["name"], image.digest().as_str());
    assert_eq!((&two["status"]["reason"], &two["status"]["code"]), (&json!("NotFound"), &json!(404)));
    assert_eq!(two["status"]["message"], format!("dockerimage.image.openshift.io \"{bad}\" not found"));
    let stream = &made["status"]["import"];
    let tags = stream["status"]["tags"].as_array().unwrap();
    assert_eq!(tags[0]["items"][0]["image"], image.digest().as_str());
    assert_eq!(tags[1]["conditions"][0]["type"], "ImportSuccess");

    let tag = rest.ada.get_json(&images("imagestreamtags/python:3.6")).await;
    let expected = format!("{}/library/python@{}", upstream.address(), image.digest());
    assert_eq!(tag["image"]["dockerImageReference"], expected);
}

fn import_repository(repository: &str, keep: bool) -> Value {
    let repository = json!({
        "from": {"kind": "DockerImage", "name": repository}, "importPolicy": {"insecure": true, "scheduled": true},
    });
    json!({"metadata": {"name": "python"}, "spec": {"import": keep, "repository": repository}})
}

#[tokio::test]
async fn section_6_2_of_a_whole_repository_the_first_tags_are_taken_and_the_others_named() {
    let upstream = DockerRegistry::start();
    let image = TestImage::new("python");
    image.push(upstream.address(), "library/python", "latest").await;
    let builds = (0..50).map(|n| format!("build-{n:02}"));
    for tag in ["3.9.1".to_owned(), "3.10".to_owned(), "3.9".to_owned()].into_iter().chain(builds) {
        push_manifest(upstream.address(), "library/python", &tag, image.media_type, image.manifest.clone()).await;
    }
    let rest = Rest::live().await;
    let repository = format!("{}/library/python", upstream.address());

    let seen =
        rest.post(StatusCode::CREATED, &images("imagestreamimports"), &import_repository(&repository, false)).await;
    assert_eq!(seen["status"]["repository"]["status"]["status"], "Success", "{seen:#}");
    rest.expect(StatusCode::NOT_FOUND, Method::GET, &images("imagestreams/python"), &json!({})).await;

    let made =
        rest.post(StatusCode::CREATED, &images("imagestreamimports"), &import_repository(&repository, true)).await;
    for answer in [&seen, &made] {
        let status = &answer["status"]["repository"];
        let taken: Vec<&str> =
            status["images"].as_array().unwrap().iter().map(|one| one["tag"].as_str().unwrap()).collect();
        assert_eq!((&taken[..5], taken.len()), (&["latest", "3.10", "3.9", "3.9.1", "build-00"][..], 50));
        assert_eq!(status["additionalTags"], json!(["build-46", "build-47", "build-48", "build-49"]));
        assert_eq!(status["images"][1]["image"]["metadata"]["name"], image.digest().as_str());
    }
    let stream = &made["status"]["import"];
    assert_eq!(stream["spec"]["tags"].as_array().unwrap().len(), 50);
    let policy = &stream["spec"]["tags"][0]["importPolicy"];
    assert_eq!((&policy["scheduled"], &policy["insecure"]), (&json!(true), &json!(true)));
    assert_eq!(made["spec"]["repository"]["from"]["name"], repository.as_str());
}

#[tokio::test]
async fn section_6_6_tags_of_a_repository_that_fail_are_counted_and_not_kept() {
    let image = TestImage::new("python");
    let good = image;
    let upstream = Upstream::answering(move |seen| match seen.path() {
        "/v2/python/tags/list" => answer(200, &[], r#"{"name":"python","tags":["1.0","2.0","3.0"]}"#),
        "/v2/python/manifests/3.0" => {
            let digest = good.digest().to_string();
            answer(200, &[("content-type", good.media_type), ("docker-content-digest", &digest)], good.manifest.clone())
        }
        path if path.starts_with("/v2/python/blobs/") => {
            let is_config = path.ends_with(sha256(&good.config).as_str());
            answer(200, &[], if is_config { good.config.clone() } else { good.layer.clone() })
        }
        _ => answer(404, &[], ""),
    })
    .await;
    let rest = Rest::live().await;
    let repository = format!("{}/python", upstream.address());
    let made =
        rest.post(StatusCode::CREATED, &images("imagestreamimports"), &import_repository(&repository, true)).await;
    let status = &made["status"]["repository"];
    assert_eq!(status["status"]["reason"], "ImportFailed", "{made:#}");
    assert_eq!(status["status"]["message"], "2 of the images from this repository failed to import");
    assert_eq!(status["images"][0]["status"]["status"], "Success");
    assert_eq!(status["images"][1]["status"]["reason"], "NotFound");
    let tags = made["status"]["import"]["spec"]["tags"].as_array().unwrap();
    assert_eq!(tags.iter().map(|tag| &tag["name"]).collect::<Vec<_>>(), ["3.0"]);

    let gone = format!("{}/gone", upstream.address());
    let none = rest.post(StatusCode::CREATED, &images("imagestreamimports"), &import_repository(&gone, true)).await;
    assert_eq!(none["status"]["repository"]["status"]["reason"], "NotFound", "{none:#}");
}

#[tokio::test]
async fn section_6_9_a_forbidden_registry_refuses_the_whole_call() {
    let allow = |config: &mut Config| config.allowed_registries = Some("docker.io,*.example.com".parse().unwrap());
    let rest = Rest::of(TestWeir::start_with(allow, false).await).await;
    let image = |name: &str| json!({"from": {"kind": "DockerImage", "name": name}});
    for (label, spec) in [
        ("image", json!({"import": true, "images": [image("busybox"), image("quay.io/org/app:1")]})),
        ("repository", json!({"repository": image("quay.io/org/app")})),
    ] {
        let body = json!({"metadata": {"name": "python"}, "spec": spec});
        let refused = rest.post(StatusCode::UNPROCESSABLE_ENTITY, &images("imagestreamimports"), &body).await;
        insta::assert_json_snapshot!(format!("import_forbidden_{label}"), refused);
    }
    rest.expect(StatusCode::NOT_FOUND, Method::GET, &images("imagestreams/python"), &json!({})).await;
    let tag = json!({"metadata": {"name": "python:1"}, "tag": {"from": {"kind": "DockerImage", "name": "quay.io/org/app:1"}}});
    let refused = rest.post(StatusCode::UNPROCESSABLE_ENTITY, &images("imagestreamtags"), &tag).await;
    assert_eq!(refused["details"]["causes"][0]["reason"], "FieldValueForbidden", "{refused:#}");
}

#[tokio::test]
async fn section_2_2_a_star_is_taken_and_means_nothing() {
    let rest = Rest::start().await;
    let body = json!({"metadata": {"name": "python"}, "spec": {"images": [{"from": {"kind": "DockerImage", "name": "*"}, "to": {"name": "*"}}]}});
    let made = rest.post(StatusCode::CREATED, &images("imagestreamimports"), &body).await;
    assert_eq!(made["status"]["images"], json!([]));
}

#[tokio::test]
async fn bad_imports_are_refused_in_words() {
    let rest = Rest::start().await;
    for (label, spec) in [
        ("nothing", json!({"import": true})),
        ("kind", json!({"images": [{"from": {"kind": "ImageStreamTag", "name": "x"}}]})),
        ("reference", json!({"images": [{"from": {"kind": "DockerImage", "name": "Foo"}}]})),
        ("target", json!({"images": [{"from": {"kind": "DockerImage", "name": "x"}, "to": {"name": ""}}]})),
        ("repository_tag", json!({"repository": {"from": {"kind": "DockerImage", "name": "x:1"}}})),
        ("repository_kind", json!({"repository": {"from": {"kind": "ImageStreamTag", "name": "x"}}})),
    ] {
        let body = json!({"metadata": {"name": "python"}, "spec": spec});
        let refused = rest.post(StatusCode::UNPROCESSABLE_ENTITY, &images("imagestreamimports"), &body).await;
        insta::assert_json_snapshot!(format!("import_bad_{label}"), refused);
    }
}
