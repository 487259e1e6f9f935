//! `spec.dockerImageRepository`: streams that take in all tags of a repository in another registry.

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};
use weir::model::Role;
use weir::server::config::Config;

use super::super::{Rest, digest, images, own};
use super::cause;
use crate::support::TestWeir;
use crate::upstreams::docker_registry::DockerRegistry;
use crate::upstreams::images::TestImage;

fn streams() -> String {
    images("imagestreams")
}

/// The address of the stream's rule at its own door.
fn rule() -> String {
    own("streams/python/import-rules/docker-image-repository")
}

/// A stream `python` that takes in this repository, over plain HTTP.
fn python(repository: &str) -> Value {
    let annotations = json!({"openshift.io/image.insecureRepository": "true"});
    json!({"metadata": {"name": "python", "annotations": annotations}, "spec": {"dockerImageRepository": repository}})
}

/// What a rule is told to do, without how that goes.
async fn asked_of_rule(rest: &Rest) -> Value {
    let mut shown = rest.ada.get_json(&rule()).await;
    shown.as_object_mut().expect("a rule").remove("listing");
    shown
}

/// A registry whose `library/python` has the tags 3.11 and 3.12; the image of both, and the repository.
async fn upstream() -> (DockerRegistry, String, String) {
    let upstream = DockerRegistry::start();
    let image = TestImage::new("python");
    for tag in ["3.11", "3.12"] {
        image.push(upstream.address(), "library/python", tag).await;
    }
    let repository = format!("{}/library/python", upstream.address());
    (upstream, image.digest().to_string(), repository)
}

#[tokio::test]
async fn section_3_1_all_tags_of_the_repository_come_and_no_write_of_the_stream_cuts_them() {
    let (_upstream, image, repository) = upstream().await;
    let rest = Rest::start().await;
    let made = rest.post(StatusCode::CREATED, &streams(), &python(&repository)).await;
    assert_eq!(made["spec"]["dockerImageRepository"], repository, "{made:#}");
    assert_eq!(made["metadata"]["generation"], 1);
    let here = format!("{}/demo/python", rest.weir.registry());
    assert_eq!(made["status"]["dockerImageRepository"], here);
    rest.weir.settle().await;
    for tag in ["3.11", "3.12"] {
        assert_eq!(rest.items("python", tag).await, std::slice::from_ref(&image), "{tag}");
    }

    let written = rest.edit("python", |stream| stream["metadata"]["labels"] = json!({"team": "base"})).await;
    let names: Vec<_> = written["spec"]["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
    assert_eq!(names, ["3.11", "3.12"]);
    let bare = rest.edit("python", |stream| stream["spec"] = json!({"dockerImageRepository": repository})).await;
    assert_eq!(bare["spec"], written["spec"], "who does not know of its tags leaves them");
    assert_eq!(bare["metadata"]["generation"], written["metadata"]["generation"]);
    rest.weir.settle().await;
    let listing = rest.ada.get_json(&rule()).await["listing"].clone();
    assert_eq!((&listing["selected"], &listing["leftAlone"]), (&json!(2), &json!(0)), "{listing}");
    assert_eq!(rest.items("python", "3.12").await, [image]);
}

#[tokio::test]
async fn section_3_8_what_is_set_at_the_rules_own_door_stays_and_the_rule_goes_with_the_field() {
    let rest = Rest::start().await;
    rest.post(StatusCode::CREATED, &streams(), &python("quay.io/org/python")).await;
    let mut changed = asked_of_rule(&rest).await;
    assert_eq!((&changed["patternKind"], &changed["insecure"]), (&json!("all"), &json!(true)));
    (changed["limit"], changed["paused"], changed["intervalSeconds"]) = (json!(3), json!(true), json!(3600));
    rest.expect(StatusCode::OK, Method::PUT, &rule(), &changed).await;
    let changed = asked_of_rule(&rest).await;
    let stream = rest.edit("python", |stream| stream["metadata"]["annotations"] = Value::Null).await;
    assert_eq!(asked_of_rule(&rest).await, changed, "nor does the annotation matter any more");
    assert_eq!(stream["metadata"]["generation"], 1);

    let put = |stream: &mut Value| stream["spec"]["dockerImageRepository"] = json!("quay.io/org/other");
    let other = rest.edit("python", put).await;
    assert_eq!(other["metadata"]["generation"], 2);
    let now = asked_of_rule(&rest).await;
    for (key, value) in [("repository", json!("quay.io/org/other")), ("limit", json!(3)), ("insecure", json!(false))] {
        assert_eq!(now[key], value, "{key}");
    }

    rest.expect(StatusCode::NO_CONTENT, Method::DELETE, &rule(), &json!({})).await;
    let path = images("imagestreams/python");
    rest.expect(StatusCode::CONFLICT, Method::PUT, &path, &other).await;
    let after = rest.ada.get_json(&path).await;
    assert_eq!(after["spec"].get("dockerImageRepository"), None, "{after:#}");

    rest.edit("python", put).await;
    assert_eq!(asked_of_rule(&rest).await["limit"], Value::Null, "it is a new one");
    let none = rest.edit("python", |stream| stream["spec"]["dockerImageRepository"] = json!("")).await;
    assert_eq!(none["spec"].get("dockerImageRepository"), None, "{none:#}");
    rest.expect(StatusCode::NOT_FOUND, Method::GET, &rule(), &json!({})).await;
}

#[tokio::test]
async fn section_3_2_each_mistake_of_the_repository_is_told_at_its_field() {
    let rest = Rest::start().await;
    rest.make("app", json!([])).await;
    let no_tag = "the repository name may not contain a tag";
    let no_id = "the repository name may not contain an ID";
    let by_digest = format!("quay.io/org/app@{}", digest(1));
    for (repository, words) in [
        (json!("quay.io/org/app:1"), no_tag),
        (json!(by_digest), no_id),
        (json!("quay.io/Org/app"), "repository name must be lowercase"),
        (json!("a b"), "invalid reference format"),
        (json!("quay.io"), "quay.io is a registry"),
        (json!(5), "must be text"),
    ] {
        let mut body = python("");
        body["spec"]["dockerImageRepository"] = repository.clone();
        let refused = rest.post(StatusCode::UNPROCESSABLE_ENTITY, &streams(), &body).await;
        let mut other = rest.ada.get_json(&images("imagestreams/app")).await;
        other["spec"]["dockerImageRepository"] = repository;
        let path = images("imagestreams/app");
        let unchanged = rest.expect(StatusCode::UNPROCESSABLE_ENTITY, Method::PUT, &path, &other).await;
        for (refused, name) in [(refused, "python"), (unchanged, "app")] {
            let (field, message) = cause(&refused);
            assert_eq!(field, "spec.dockerImageRepository", "{refused:#}");
            assert!(message.contains(words), "{refused:#}");
            assert_eq!((&refused["reason"], &refused["details"]["name"]), (&json!("Invalid"), &json!(name)));
        }
    }
    rest.expect(StatusCode::NOT_FOUND, Method::GET, &images("imagestreams/python"), &json!({})).await;
    let both = python(&format!("quay.io/org/app:1@{}", digest(1)));
    let refused = rest.post(StatusCode::UNPROCESSABLE_ENTITY, &streams(), &both).await;
    let causes = refused["details"]["causes"].as_array().unwrap();
    assert_eq!(causes.len(), 2, "{refused:#}");
    assert!(causes[1]["message"].as_str().is_some_and(|message| message.contains(no_id)), "{refused:#}");

    for number in 0..20 {
        let body = json!({"repository": "quay.io/org/app", "name": format!("r{number}")});
        rest.post(StatusCode::CREATED, &own("streams/app/import-rules"), &body).await;
    }
    let mut full = rest.ada.get_json(&images("imagestreams/app")).await;
    full["spec"]["dockerImageRepository"] = json!("quay.io/org/app");
    let refused = rest.expect(StatusCode::UNPROCESSABLE_ENTITY, Method::PUT, &images("imagestreams/app"), &full).await;
    let (field, message) = cause(&refused);
    assert_eq!(field, "spec.dockerImageRepository", "{refused:#}");
    assert!(message.contains("at most 20 import rules"), "{refused:#}");
}

#[tokio::test]
async fn section_6_9_the_repository_is_held_against_the_allowed_registries() {
    let allow = |config: &mut Config| config.allowed_registries = Some("docker.io".parse().unwrap());
    let rest = Rest::of(TestWeir::start_with(allow, false).await).await;
    let refused = rest.post(StatusCode::UNPROCESSABLE_ENTITY, &streams(), &python("quay.io/org/python")).await;
    let (field, message) = cause(&refused);
    assert_eq!(field, "spec.dockerImageRepository", "{refused:#}");
    assert!(message.contains("importing images from registry"), "{refused:#}");
    rest.expect(StatusCode::NOT_FOUND, Method::GET, &images("imagestreams/python"), &json!({})).await;
    let secure = json!({"metadata": {"name": "python"}, "spec": {"dockerImageRepository": "library/python"}});
    rest.post(StatusCode::CREATED, &streams(), &secure).await;
}

#[tokio::test]
async fn section_3_8_streams_are_chosen_by_their_repository() {
    let rest = Rest::start().await;
    rest.make("a", json!([])).await;
    for (name, repository) in [("b", "quay.io/org/x"), ("c", "quay.io/org/y")] {
        let body = json!({"metadata": {"name": name}, "spec": {"dockerImageRepository": repository}});
        rest.post(StatusCode::CREATED, &streams(), &body).await;
    }
    let another = json!({"repository": "quay.io/org/x", "name": "another"});
    rest.post(StatusCode::CREATED, &own("streams/a/import-rules"), &another).await;
    for (selector, expected) in [
        ("=quay.io/org/x", vec!["b"]),
        ("==quay.io/org/y", vec!["c"]),
        ("!=quay.io/org/x", vec!["a", "c"]),
        ("=", vec!["a"]),
        ("!=", vec!["b", "c"]),
        ("!=,metadata.name=c", vec!["c"]),
        ("=quay.io/org", vec![]),
    ] {
        let path = format!("imagestreams?fieldSelector=spec.dockerImageRepository{selector}");
        let list = rest.ada.get_json(&images(&path)).await;
        let names: Vec<_> = list["items"].as_array().unwrap().iter().map(|item| &item["metadata"]["name"]).collect();
        assert_eq!(names, expected, "{selector}");
    }
    let list = rest.ada.get_json(&streams()).await;
    let shown: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|item| item["spec"].get("dockerImageRepository")).collect();
    assert_eq!(shown, [None, Some(&json!("quay.io/org/x")), Some(&json!("quay.io/org/y"))]);
}

#[tokio::test]
async fn section_6_1_an_import_of_the_whole_repository_sets_nothing_of_the_rule() {
    let (upstream, image, repository) = upstream().await;
    let rest = Rest::live().await;
    let import = async |stream: &str, repository: &str| {
        let from = json!({"from": {"kind": "DockerImage", "name": repository}, "importPolicy": {"insecure": true}});
        let body = json!({"metadata": {"name": stream}, "spec": {"import": true, "repository": from}});
        let made = rest.post(StatusCode::CREATED, &images("imagestreamimports"), &body).await;
        assert_eq!(made["status"]["repository"]["status"]["status"], "Success", "{made:#}");
        made["status"]["import"].clone()
    };
    rest.post(StatusCode::CREATED, &streams(), &python(&repository)).await;
    let before = asked_of_rule(&rest).await;
    let imported = import("python", &repository).await;
    assert_eq!(imported["spec"]["dockerImageRepository"], repository, "{imported:#}");
    assert_eq!(rest.items("python", "3.11").await, [image]);
    TestImage::new("ruby").push(upstream.address(), "library/ruby", "3").await;
    let other = import("python", &format!("{}/library/ruby", upstream.address())).await;
    assert_eq!(other["spec"]["dockerImageRepository"], repository, "{other:#}");
    assert_eq!(asked_of_rule(&rest).await, before);
    let alone = import("alone", &repository).await;
    assert_eq!(alone["spec"].get("dockerImageRepository"), None, "{alone:#}");
}

#[tokio::test]
async fn who_may_not_change_the_stream_gets_no_rule_by_it() {
    let rest = Rest::start().await;
    let made = rest.make("python", json!([])).await;
    let vera = rest.weir.user("vera", "demo", Role::Viewer).await;
    let mut wanted = made.clone();
    wanted["spec"]["dockerImageRepository"] = json!("quay.io/org/python");
    let path = images("imagestreams/python");
    let answer = vera.request(Method::PUT, &path).json(&wanted).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let mut another = python("quay.io/org/python");
    another["metadata"]["name"] = json!("another");
    vera.post_json(&streams(), &another, StatusCode::FORBIDDEN).await;
    rest.expect(StatusCode::NOT_FOUND, Method::GET, &rule(), &json!({})).await;
    assert_eq!(vera.get_json(&path).await["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    rest.expect(StatusCode::OK, Method::PUT, &path, &wanted).await;
    assert_eq!(vera.get_json(&path).await["spec"]["dockerImageRepository"], "quay.io/org/python");
}
