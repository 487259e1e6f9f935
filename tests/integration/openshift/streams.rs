//! `imagestreams`.

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};
use weir::server::store::TagSpec;

use super::{Rest, images};
use crate::support::tester;

#[tokio::test]
async fn a_stream_is_made_read_changed_and_deleted() {
    let rest = Rest::start().await;
    rest.push("base", "1", 1).await;
    let body = json!({
        "kind": "ImageStream",
        "apiVersion": "image.openshift.io/v1",
        "metadata": {"name": "app", "labels": {"tier": "web"}, "annotations": {"openshift.io/display-name": "App"}},
        "spec": {"lookupPolicy": {"local": true}, "tags": [
            {"name": "pinned", "annotations": null, "generation": 77, "from": {"kind": "ImageStreamTag", "name": "base:1"}},
            {"name": "upstream", "from": {"kind": "DockerImage", "name": "registry.invalid/x:1"},
             "importPolicy": {"scheduled": true, "importMode": "Legacy"}, "annotations": {"weir.dev/import-interval": "1h"}},
        ]},
        "status": {"dockerImageRepository": ""},
    });
    let made = rest.post(StatusCode::CREATED, &images("imagestreams"), &body).await;
    insta::assert_json_snapshot!("stream_created", rest.redacted(made.clone()));
    let got = rest.ada.get_json(&images("imagestreams/app")).await;
    assert_eq!(got, made);

    let mut changed = got.clone();
    changed["metadata"]["labels"]["tier"] = "db".into();
    changed["spec"]["tags"].as_array_mut().unwrap().pop();
    let path = images("imagestreams/app");
    let updated = rest.expect(StatusCode::OK, Method::PUT, &path, &changed).await;
    assert_eq!(updated["metadata"]["labels"]["tier"], "db");
    assert_eq!(updated["spec"]["tags"].as_array().unwrap().len(), 1);
    assert_eq!(
        updated["status"]["tags"], got["status"]["tags"],
        "what tags are stays when what they should be changes"
    );

    let stale = rest.expect(StatusCode::CONFLICT, Method::PUT, &path, &changed).await;
    assert_eq!(stale["reason"], "Conflict");
    changed["metadata"]["resourceVersion"] = "".into();
    let unversioned = rest.expect(StatusCode::UNPROCESSABLE_ENTITY, Method::PUT, &path, &changed).await;
    assert_eq!(unversioned["details"]["causes"][0]["field"], "metadata.resourceVersion");

    let deleted = rest.delete(&path).await;
    insta::assert_json_snapshot!("stream_deleted", rest.redacted(deleted));
    let gone = rest.expect(StatusCode::NOT_FOUND, Method::GET, &path, &json!({})).await;
    insta::assert_json_snapshot!("stream_not_found", gone);
}

#[tokio::test]
async fn section_3_3_writing_what_is_so_already_changes_nothing() {
    let rest = Rest::start().await;
    rest.push("base", "1", 1).await;
    let docker = json!({"kind": "DockerImage", "name": "registry.invalid/x:1"});
    let body = json!({
        "metadata": {"name": "app", "labels": {"tier": "web"}, "annotations": {"openshift.io/display-name": "App"}},
        "spec": {"lookupPolicy": {"local": true}, "tags": [
            {"name": "pinned", "from": {"kind": "ImageStreamTag", "name": "base:1"}},
            {"name": "upstream", "from": docker, "importPolicy": {"scheduled": true}, "annotations": {"weir.dev/import-interval": "1h"}},
        ]},
    });
    let path = images("imagestreams/app");
    rest.post(StatusCode::CREATED, &images("imagestreams"), &body).await;
    // Set elsewhere: it is shown as an annotation, and stands in none.
    let interval_ms = Some(90_500);
    let spec = TagSpec { interval_ms, ..TagSpec::import("registry.invalid/y:1") };
    let names = ("app".parse().unwrap(), "elsewhere".parse().unwrap());
    let store = rest.weir.store();
    store.set_tag("demo", &names.0, &names.1, &spec, None, &tester()).await.unwrap();

    let got = rest.ada.get_json(&path).await;
    let before = store.last_sequence().await.unwrap();
    let same = async |path: &str, object: &Value| {
        rest.expect(StatusCode::OK, Method::PUT, path, object).await;
        assert_eq!(rest.ada.get_json(&images("imagestreams/app")).await, got, "{path}");
        assert_eq!(store.last_sequence().await.unwrap(), before, "{path}");
    };
    same(&path, &got).await;
    for of in
        ["imagestreamtags/app:pinned", "imagetags/app:pinned", "imagetags/app:upstream", "imagetags/app:elsewhere"]
    {
        let of = images(of);
        same(&of, &rest.ada.get_json(&of).await).await;
    }
    // As clients write that know nothing of versions.
    let upstream = json!({"metadata": {"name": "app:upstream", "annotations": {"weir.dev/import-interval": "1h"}},
        "tag": {"name": "upstream", "from": docker, "generation": null, "importPolicy": {"scheduled": true}}});
    same(&images("imagestreamtags/app:upstream"), &upstream).await;

    // Who asks for the image again is heard.
    let mut again = upstream.clone();
    again["tag"]["generation"] = 0.into();
    rest.expect(StatusCode::OK, Method::PUT, &images("imagestreamtags/app:upstream"), &again).await;
    let after = rest.ada.get_json(&path).await;
    let generation = |stream: &Value| stream["metadata"]["generation"].as_i64().unwrap();
    assert_eq!(generation(&after), generation(&got) + 1);
    assert_eq!(after["spec"]["tags"][2]["generation"], generation(&after));
}

#[tokio::test]
async fn streams_are_listed_by_label_name_and_page() {
    let rest = Rest::start().await;
    for name in ["a", "b", "c", "d"] {
        let tier = if name < "c" { "web" } else { "db" };
        let body = json!({"metadata": {"name": name, "labels": {"tier": tier}}});
        rest.post(StatusCode::CREATED, &images("imagestreams"), &body).await;
    }
    let names = async |query: &str| {
        let list = rest.ada.get_json(&images(&format!("imagestreams?{query}"))).await;
        let items = list["items"].as_array().unwrap();
        let names: Vec<String> =
            items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect();
        (names.concat(), list["metadata"]["continue"].as_str().map(str::to_owned))
    };
    assert_eq!(names("").await, ("abcd".to_owned(), None));
    assert_eq!(names("limit=500").await.0, "abcd");
    assert_eq!(names("labelSelector=tier%3Ddb").await.0, "cd");
    assert_eq!(names("labelSelector=!tier").await.0, "");
    assert_eq!(names("fieldSelector=metadata.name%3Db").await.0, "b");
    let (first, next) = names("limit=3").await;
    assert_eq!(first, "abc");
    assert_eq!(names(&format!("limit=3&continue={}", next.unwrap())).await, ("d".to_owned(), None));
    rest.push("b", "latest", 1).await;
    let list = rest.ada.get_json(&images("imagestreams")).await;
    insta::assert_json_snapshot!("stream_list", rest.redacted(list));
    for bad in ["fieldSelector=spec.x%3D1", "continue=%21", "limit=many", "labelSelector=a%20b"] {
        rest.expect(StatusCode::BAD_REQUEST, Method::GET, &images(&format!("imagestreams?{bad}")), &json!({})).await;
    }
}

#[tokio::test]
async fn bad_streams_are_refused_in_words() {
    let rest = Rest::start().await;
    let long = "x".repeat(300);
    for (label, name) in [("upper", "Foo"), ("double", "a--b"), ("long", &long), ("empty", "")] {
        let body = json!({"metadata": {"name": name}});
        let refused = rest.post(StatusCode::UNPROCESSABLE_ENTITY, &images("imagestreams"), &body).await;
        insta::assert_json_snapshot!(format!("stream_name_{label}"), refused);
    }
    for (label, spec) in [
        ("unknown_field", json!({"lookupPolicy": {"locale": true}, "tag": []})),
        ("source_kind", json!({"tags": [{"name": "x", "from": {"kind": "Image", "name": "y"}}]})),
        ("reference", json!({"tags": [{"name": "x", "from": {"kind": "DockerImage", "name": "!!"}}]})),
        ("tag_name", json!({"tags": [{"name": "-x"}]})),
        (
            "circle",
            json!({"tags": [
                {"name": "x", "from": {"kind": "ImageStreamTag", "name": "y"}}, {"name": "y", "from": {"kind": "ImageStreamTag", "name": "x"}},
            ]}),
        ),
    ] {
        let body = json!({"metadata": {"name": "app"}, "spec": spec});
        let refused = rest.post(StatusCode::UNPROCESSABLE_ENTITY, &images("imagestreams"), &body).await;
        insta::assert_json_snapshot!(format!("stream_bad_{label}"), refused);
    }
    let none = rest.call(Method::GET, &images("imagestreams/app"), &json!({})).await;
    assert_eq!(none.0, StatusCode::NOT_FOUND, "what is refused leaves nothing behind");
    let body = json!({"metadata": {"name": "app"}});
    rest.post(StatusCode::CREATED, &images("imagestreams"), &body).await;
    let again = rest.post(StatusCode::CONFLICT, &images("imagestreams"), &body).await;
    assert_eq!(again["message"], "imagestreams.image.openshift.io \"app\" already exists");
}

#[tokio::test]
async fn unknown_fields_do_as_the_caller_wishes() {
    let rest = Rest::start().await;
    let body = |name: &str| json!({"metadata": {"name": name}, "sepc": {}});
    let path = |validation: &str| images(&format!("imagestreams?fieldValidation={validation}"));
    let strict = rest.post(StatusCode::BAD_REQUEST, &path("Strict"), &body("a")).await;
    assert_eq!(strict["message"], "strict decoding error: unknown field \"sepc\"");
    rest.post(StatusCode::CREATED, &path("Ignore"), &body("b")).await;
    let warned = rest.ada.post(&path("Warn"), &body("c")).await;
    assert_eq!(warned.status(), StatusCode::CREATED);
    assert_eq!(warned.headers()["warning"], "299 - \"unknown field 'sepc'\"");
}
