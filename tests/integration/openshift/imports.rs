//! `imagestreamimports`.

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Rest, images};
use crate::upstreams::docker_registry::DockerRegistry;
use crate::upstreams::images::TestImage;

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
        ("repository", json!({"repository": {"from": {"kind": "DockerImage", "name": "x"}}})),
    ] {
        let body = json!({"metadata": {"name": "python"}, "spec": spec});
        let refused = rest.post(StatusCode::UNPROCESSABLE_ENTITY, &images("imagestreamimports"), &body).await;
        insta::assert_json_snapshot!(format!("import_bad_{label}"), refused);
    }
}
