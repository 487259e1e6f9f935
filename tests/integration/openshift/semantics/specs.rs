//! Part 3: what a stream and its tags should be, and what follows from a change of that.

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};
use weir::model::Role;

use super::super::{Rest, digest, images};
use super::{cause, following, spec_of};
use crate::support::tester;

#[tokio::test]
async fn section_3_1_a_new_stream_is_its_first_generation_and_has_no_status_of_the_clients() {
    let rest = Rest::start().await;
    let body = json!({
        "metadata": {"name": "app", "generation": 9},
        "spec": {"tags": [
            {"name": "a", "generation": 77}, {"name": "b", "generation": 0}, {"name": "c", "generation": null},
        ]},
        "status": {"dockerImageRepository": "elsewhere/x", "tags": [{"tag": "a", "items": [{"image": digest(1)}]}]},
    });
    let made = rest.post(StatusCode::CREATED, &images("imagestreams"), &body).await;
    assert_eq!(made["metadata"]["generation"], 1);
    for tag in ["a", "b", "c"] {
        assert_eq!(spec_of(&made, tag)["generation"], 1, "{tag}");
    }
    let repository = format!("{}/demo/app", rest.weir.registry());
    assert_eq!(made["status"]["dockerImageRepository"], repository);
    assert_eq!(made["status"]["publicDockerImageRepository"], repository);
    assert_eq!(made["status"]["tags"], json!([]));
}

#[tokio::test]
async fn section_1_5_tags_are_sorted_the_last_of_a_name_counts_and_what_is_left_out_has_defaults() {
    let rest = Rest::start().await;
    let tags = json!([
        {"name": "b"},
        {"name": "a", "from": {"kind": "DockerImage", "name": "x:1"}},
        {"name": "a", "from": {"kind": "DockerImage", "name": "x:2"}},
    ]);
    let made = rest.make("app", tags).await;
    let names: Vec<_> = made["spec"]["tags"].as_array().unwrap().iter().map(|tag| tag["name"].clone()).collect();
    assert_eq!(names, ["a", "b"]);
    let tag = spec_of(&made, "a");
    assert_eq!(tag["from"]["name"], "x:2");
    assert_eq!(tag["referencePolicy"]["type"], "Source");
    assert_eq!(tag["importPolicy"], json!({"importMode": "PreserveOriginal"}), "which is this server's default");
}

#[tokio::test]
async fn section_3_2_each_mistake_is_told_at_its_field() {
    let rest = Rest::start().await;
    let kinds = "valid values are 'DockerImage', 'ImageStreamImage', 'ImageStreamTag'";
    let scheduled = "only tags pointing to Docker repositories may be scheduled for background import";
    let modes = "invalid import mode, valid modes are '', 'Legacy', 'PreserveOriginal'";
    let form = "must be of the form <tag>, <repo>:<tag>, <id>, or <repo>@<id>";
    let from = |kind: &str, name: &str| json!({"from": {"kind": kind, "name": name}});
    let with = |mut tag: Value, key: &str, value: Value| {
        tag[key] = value;
        tag
    };
    let external = from("DockerImage", "x:1");
    for (tag, field, words) in [
        (from("", "x"), "from.kind", ""),
        (from("Image", "x"), "from.kind", kinds),
        (from("DockerImage", ""), "from.name", ""),
        (from("DockerImage", "Foo"), "from.name", "repository name must be lowercase"),
        (from("DockerImage", "x:"), "from.name", "invalid reference format"),
        (from("ImageStreamTag", "a:b:c"), "from.name", form),
        (from("ImageStreamTag", "a/b"), "from.name", form),
        (from("ImageStreamImage", "a@b@c"), "from.name", form),
        (
            with(from("ImageStreamTag", "x"), "importPolicy", json!({"scheduled": true})),
            "importPolicy.scheduled",
            scheduled,
        ),
        (json!({"importPolicy": {"scheduled": true}}), "importPolicy.scheduled", scheduled),
        (with(external.clone(), "importPolicy", json!({"importMode": "Whole"})), "importPolicy.importMode", modes),
        (
            with(external.clone(), "referencePolicy", json!({"type": "Far"})),
            "referencePolicy.type",
            r#"valid values are "Source", "Local""#,
        ),
        (with(external, "annotations", json!({"weir.dev/import-interval": "1s"})), "annotations", "at least 10s"),
    ] {
        let body = json!({"metadata": {"name": "app"}, "spec": {"tags": [with(tag, "name", json!("t"))]}});
        let refused = rest.post(StatusCode::UNPROCESSABLE_ENTITY, &images("imagestreams"), &body).await;
        let (found, message) = cause(&refused);
        assert_eq!(found, format!("spec.tags[t].{field}"), "{refused:#}");
        assert!(message.contains(words), "{refused:#}");
    }
    rest.expect(StatusCode::NOT_FOUND, Method::GET, &images("imagestreams/app"), &json!({})).await;
}

#[tokio::test]
async fn section_3_3_generation_rules() {
    let rest = Rest::start().await;
    rest.push("base", "1", 1).await;
    type Change = fn(&mut Value);
    // What changes, whether the tag's generation does, and whether the stream's does.
    let rows: [(&str, Change, bool, bool); 19] = [
        ("nothing", |_| (), false, false),
        ("a label", |s| s["metadata"]["labels"] = json!({"a": "b"}), false, false),
        ("an annotation", |s| s["metadata"]["annotations"] = json!({"a": "b"}), false, false),
        ("the status", |s| s["status"]["tags"] = json!([]), false, false),
        ("generation 77", |s| s["spec"]["tags"][0]["generation"] = json!(77), false, false),
        ("generation null", |s| s["spec"]["tags"][0]["generation"] = Value::Null, false, false),
        ("generation 0", |s| s["spec"]["tags"][0]["generation"] = json!(0), true, true),
        ("the source", |s| s["spec"]["tags"][0]["from"]["name"] = json!("registry.invalid/x:2"), true, true),
        ("a mere reference", |s| s["spec"]["tags"][0]["reference"] = json!(true), true, true),
        ("the mode", |s| s["spec"]["tags"][0]["importPolicy"]["importMode"] = json!("Legacy"), true, true),
        (
            "the kind",
            |s| s["spec"]["tags"][0]["from"] = json!({"kind": "ImageStreamTag", "name": "base:1"}),
            true,
            true,
        ),
        ("no source", |s| s["spec"]["tags"][0]["from"] = Value::Null, true, true),
        ("scheduled", |s| s["spec"]["tags"][0]["importPolicy"]["scheduled"] = json!(true), false, true),
        ("insecure", |s| s["spec"]["tags"][0]["importPolicy"]["insecure"] = json!(true), false, true),
        ("the policy", |s| s["spec"]["tags"][0]["referencePolicy"]["type"] = json!("Local"), false, true),
        ("the tag's annotation", |s| s["spec"]["tags"][0]["annotations"] = json!({"a": "b"}), false, true),
        ("local lookup", |s| s["spec"]["lookupPolicy"]["local"] = json!(true), false, true),
        ("another tag", |s| s["spec"]["tags"][1]["from"]["name"] = json!("registry.invalid/y:2"), false, true),
        ("one tag less", |s| _ = s["spec"]["tags"].as_array_mut().unwrap().pop(), false, true),
    ];
    for (number, (what, change, renews, specifies)) in rows.into_iter().enumerate() {
        let name = format!("app{number}");
        let external = |name: &str, from: &str| json!({"name": name, "from": {"kind": "DockerImage", "name": from}});
        let tags = json!([external("a", "registry.invalid/x:1"), external("b", "registry.invalid/y:1")]);
        let before = rest.make(&name, tags).await;
        let after = rest.edit(&name, change).await;
        let generation = 1 + i64::from(specifies);
        assert_eq!(after["metadata"]["generation"], generation, "the stream's, after a change of {what}");
        let expected = if renews { generation } else { 1 };
        assert_eq!(spec_of(&after, "a")["generation"], expected, "the tag's, after a change of {what}");
        if !renews {
            assert_eq!(after["status"], before["status"], "no move, after a change of {what}");
        }
    }
}

#[tokio::test]
async fn section_3_3_another_namespace_is_another_source_and_the_streams_own_is_the_same() {
    let rest = Rest::start().await;
    rest.weir.store().grant_role("demo", "ada", Role::Admin, &tester()).await.expect("a role");
    rest.push("base", "1", 1).await;
    let there = rest.weir.user("ada", "other", Role::Editor).await;
    let path = "/apis/image.openshift.io/v1/namespaces/other/imagestreams";
    there.post_json(path, &json!({"metadata": {"name": "base"}}), StatusCode::CREATED).await;
    let before = rest.make("app", json!([following("t", "base:1")])).await;
    for (namespace, generation, shown) in
        [("demo", 1, Value::Null), ("other", 2, json!("other")), ("other", 2, json!("other")), ("demo", 3, Value::Null)]
    {
        let after = rest.edit("app", |stream| stream["spec"]["tags"][0]["from"]["namespace"] = json!(namespace)).await;
        assert_eq!(after["metadata"]["generation"], generation, "{namespace}");
        let spec = spec_of(&after, "t");
        assert_eq!((&spec["generation"], &spec["from"]["namespace"]), (&json!(generation), &shown));
        if generation == 1 {
            assert_eq!(after["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"], "no change at all");
        }
    }
}

#[tokio::test]
async fn section_3_3_what_is_written_together_is_one_generation_and_new_tags_are_of_it() {
    let rest = Rest::start().await;
    let external = |name: &str, from: &str| json!({"name": name, "from": {"kind": "DockerImage", "name": from}});
    rest.make("app", json!([external("a", "x:1"), external("b", "x:1"), external("gone", "x:1")])).await;
    let after = rest
        .edit("app", |stream| {
            stream["spec"]["lookupPolicy"]["local"] = json!(true);
            stream["spec"]["tags"] = json!([external("a", "x:2"), external("b", "x:1"), external("c", "x:1")]);
        })
        .await;
    assert_eq!(after["metadata"]["generation"], 2);
    let generations = ["a", "b", "c"].map(|tag| spec_of(&after, tag)["generation"].clone());
    assert_eq!(generations, [json!(2), json!(1), json!(2)]);
}

#[tokio::test]
async fn section_3_4_a_source_has_its_effect_at_once() {
    let rest = Rest::start().await;
    let (one, two) = (rest.push("base", "1", 1).await, rest.push("base", "1", 2).await);
    let tag = |kind: &str, name: &str| json!({"name": "t", "from": {"kind": kind, "name": name}});
    for (number, (tag, items)) in [
        (tag("DockerImage", "registry.invalid/x:1"), vec![]),
        (
            json!({"name": "t", "reference": true, "from": {"kind": "DockerImage", "name": "registry.invalid/x:1"}}),
            // What was said, which is no image.
            vec![String::new()],
        ),
        (tag("ImageStreamTag", "base:1"), vec![two.clone()]),
        (
            json!({"name": "t", "reference": true, "from": {"kind": "ImageStreamTag", "name": "base:1"}}),
            vec![two.clone()],
        ),
        (tag("ImageStreamImage", &format!("base@{one}")), vec![one.clone()]),
        (tag("ImageStreamImage", "base@1111"), vec![one.clone()]),
        // It fills when its source appears.
        (tag("ImageStreamTag", "base:later"), vec![]),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("app{number}");
        rest.make(&name, json!([tag])).await;
        assert_eq!(rest.items(&name, "t").await, items, "{tag}");
        let is_image = items.iter().any(|digest| !digest.is_empty());
        let found = if is_image { StatusCode::OK } else { StatusCode::NOT_FOUND };
        let path = images(&format!("imagestreamtags/{name}:t"));
        rest.expect(found, Method::GET, &path, &json!({})).await;
    }
    let three = rest.push("base", "later", 3).await;
    assert_eq!(rest.items("app6", "t").await, [three]);
}

#[tokio::test]
async fn section_3_4_a_source_that_is_not_there_is_refused() {
    let rest = Rest::start().await;
    rest.push("base", "1", 1).await;
    let tag = |kind: &str, name: &str| json!([{"name": "t", "from": {"kind": kind, "name": name}}]);
    for (tags, status, words) in [
        (tag("ImageStreamTag", "none:1"), StatusCode::NOT_FOUND, "imagestreams.image.openshift.io \"none\" not found"),
        (
            tag("ImageStreamImage", "none@1111"),
            StatusCode::NOT_FOUND,
            "imagestreams.image.openshift.io \"none\" not found",
        ),
        (tag("ImageStreamImage", "base@2222"), StatusCode::UNPROCESSABLE_ENTITY, "error generating tag event: "),
    ] {
        let body = json!({"metadata": {"name": "app"}, "spec": {"tags": tags}});
        let refused = rest.post(status, &images("imagestreams"), &body).await;
        assert!(refused["message"].as_str().unwrap().contains(words), "{refused:#}");
        if status == StatusCode::UNPROCESSABLE_ENTITY {
            assert_eq!(cause(&refused).0, "spec.tags[t].from.name");
        }
    }
}

#[tokio::test]
async fn section_3_5_a_source_elsewhere_is_for_those_who_may_pull_there() {
    let rest = Rest::start().await;
    rest.push("base", "1", 1).await;
    let eve = rest.weir.user("eve", "other", Role::Editor).await;
    let path = "/apis/image.openshift.io/v1/namespaces/other/imagestreams";
    let tag =
        |name: &str| json!({"name": name, "from": {"kind": "ImageStreamTag", "name": "base:1", "namespace": "demo"}});
    let body = json!({"metadata": {"name": "app"}, "spec": {"tags": [tag("t")]}});
    let refused = eve.post_json(path, &body, StatusCode::FORBIDDEN).await;
    assert_eq!((&refused["kind"], &refused["reason"]), (&json!("Status"), &json!("Forbidden")));
    assert_eq!(cause(&refused), ("spec.tags[t].from", "Forbidden: demo/base"));
    let words = r#"imagestreams.image.openshift.io "app" is forbidden: spec.tags[t].from: Forbidden: demo/base"#;
    assert_eq!((&refused["message"], &refused["details"]["name"]), (&json!(words), &json!("app")));
    rest.weir.store().grant_role("demo", "eve", Role::Viewer, &tester()).await.expect("a role");
    let made = eve.post_json(path, &body, StatusCode::CREATED).await;
    let reference = &made["status"]["tags"][0]["items"][0]["dockerImageReference"];
    assert_eq!(*reference, format!("{}/other/app@{}", rest.weir.registry(), digest(1)), "pulled from where it is now");

    // What was allowed once stays; what is new is asked for again.
    rest.weir.store().revoke_role("demo", "eve", &tester()).await.expect("no role");
    let path = format!("{path}/app");
    let put = async |change: fn(&mut Value)| {
        let mut stream = eve.get_json(&path).await;
        change(&mut stream);
        eve.request(Method::PUT, &path).json(&stream).send().await.expect("an answer").status()
    };
    assert_eq!(put(|stream| stream["metadata"]["labels"] = json!({"a": "b"})).await, StatusCode::OK);
    assert_eq!(put(|stream| stream["spec"]["tags"][0]["annotations"] = json!({"a": "b"})).await, StatusCode::FORBIDDEN);
    let another = |stream: &mut Value| {
        let mut tag = stream["spec"]["tags"][0].clone();
        tag["name"] = json!("u");
        stream["spec"]["tags"].as_array_mut().unwrap().push(tag);
    };
    assert_eq!(put(another).await, StatusCode::FORBIDDEN);
    // Nor is a tag asked about that is written as it is, whichever kind writes it.
    for (kind, field) in [("imagestreamtags", "tag"), ("imagetags", "spec")] {
        let path = format!("/apis/image.openshift.io/v1/namespaces/other/{kind}/app:t");
        let put = async |body: &Value| eve.request(Method::PUT, &path).json(body).send().await.expect("an answer");
        let mut tag = eve.get_json(&path).await;
        assert_eq!(put(&tag).await.status(), StatusCode::OK, "{kind}");
        tag["metadata"]["resourceVersion"] = json!("");
        tag[field]["referencePolicy"] = json!({"type": "Local"});
        let refused = put(&tag).await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{kind}");
        let refused: Value = refused.json().await.expect("a status");
        assert_eq!(cause(&refused), ("spec.tags[t].from", "Forbidden: demo/base"));
        assert_eq!((&refused["details"]["kind"], &refused["details"]["name"]), (&json!(kind), &json!("app:t")));
    }
}

#[tokio::test]
async fn section_3_8_a_spec_that_goes_leaves_the_history_and_a_deleted_tag_goes_whole() {
    let rest = Rest::start().await;
    let one = rest.push("base", "1", 1).await;
    rest.make("app", json!([following("t", "base:1"), following("u", "base:1")])).await;
    let after = rest.edit("app", |stream| stream["spec"]["tags"] = json!([])).await;
    assert_eq!(after["spec"]["tags"], json!([]));
    assert_eq!(rest.items("app", "t").await, std::slice::from_ref(&one));
    rest.ada.get_json(&images("imagestreamtags/app:t")).await;
    let two = rest.push("base", "1", 2).await;
    assert_eq!(rest.items("app", "t").await, std::slice::from_ref(&one), "it follows no more");
    rest.delete(&images("imagestreamtags/app:t")).await;
    assert_eq!(rest.items("app", "t").await, Vec::<String>::new());
    // Made again, it begins anew.
    rest.edit("app", |stream| stream["spec"]["tags"] = json!([following("t", "base:1"), following("u", "base:1")]))
        .await;
    assert_eq!(rest.items("app", "u").await, [two.clone(), one], "with its history, as only its spec had gone");
    assert_eq!(rest.items("app", "t").await.first(), Some(&two));
}

#[tokio::test]
async fn section_3_8_streams_are_chosen_by_their_fields() {
    let rest = Rest::start().await;
    for stream in ["a", "b"] {
        rest.push(stream, "t", 1).await;
    }
    let of_a = format!("{}/demo/a", rest.weir.registry());
    for (selector, expected) in [
        ("metadata.name=b".to_owned(), vec!["b"]),
        (format!("status.dockerImageRepository={of_a}"), vec!["a"]),
        (format!("status.dockerImageRepository!={of_a}"), vec!["b"]),
        ("spec.dockerImageRepository=".to_owned(), vec!["a", "b"]),
        ("spec.dockerImageRepository=elsewhere/x,metadata.name=a".to_owned(), vec![]),
        ("metadata.name!=b".to_owned(), vec!["a"]),
        ("metadata.name=a,metadata.name=b".to_owned(), vec![]),
        ("metadata.namespace=demo".to_owned(), vec!["a", "b"]),
        ("metadata.namespace=other".to_owned(), vec![]),
        ("metadata.namespace!=other,metadata.name=a".to_owned(), vec!["a"]),
    ] {
        let list = rest.ada.get_json(&images(&format!("imagestreams?fieldSelector={selector}"))).await;
        let names: Vec<_> = list["items"].as_array().unwrap().iter().map(|item| &item["metadata"]["name"]).collect();
        assert_eq!(names, expected, "{selector}");
    }
    let path = images("imagestreams?fieldSelector=spec.tags=x");
    rest.expect(StatusCode::BAD_REQUEST, Method::GET, &path, &json!({})).await;
}
