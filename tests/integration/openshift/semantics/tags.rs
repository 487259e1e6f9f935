//! Sections 1.2, 1.3 and 4: tags and images of streams as objects of their own.

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::super::{Rest, digest, images};
use super::{following, spec_of};

fn tag_path(name: &str) -> String {
    images(&format!("imagestreamtags/{name}"))
}

fn pinned(name: &str, image: &str) -> Value {
    json!({"metadata": {"name": name}, "tag": {"from": {"kind": "ImageStreamImage", "name": image}}})
}

#[tokio::test]
async fn section_1_2_a_tags_name_has_one_colon_and_both_halves_but_where_it_is_made() {
    let rest = Rest::start().await;
    let words = "ImageStreamTags must be retrieved with <name>:<tag>";
    for name in ["app", "app:", ":t", "a:b:c"] {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let body = json!({"metadata": {"name": name}, "tag": {}});
            let refused = rest.expect(StatusCode::BAD_REQUEST, method, &tag_path(name), &body).await;
            assert_eq!(refused["message"], words, "{name}");
        }
    }
    for (name, made) in
        [("app", "app:latest"), ("app:v1.0", "app:v1.0"), ("app:123", "app:123"), ("app:A_b", "app:A_b")]
    {
        let body = json!({"metadata": {"name": name}, "tag": {"name": "ignored"}});
        let tag = rest.post(StatusCode::CREATED, &images("imagestreamtags"), &body).await;
        assert_eq!(tag["metadata"]["name"], made);
    }
}

#[tokio::test]
async fn section_1_2_bad_names_are_refused_where_tags_are_made_and_nowhere_else() {
    let rest = Rest::start().await;
    rest.push("app", "t", 1).await;
    for tag in ["-t", ".t", "a+b", "a b", "ü", &"x".repeat(129)] {
        let (name, path) = (format!("app:{tag}"), tag_path(&format!("app:{}", urlencoding::encode(tag))));
        let body = pinned(&name, &format!("app@{}", digest(1)));
        rest.post(StatusCode::UNPROCESSABLE_ENTITY, &images("imagestreamtags"), &body).await;
        rest.expect(StatusCode::UNPROCESSABLE_ENTITY, Method::PUT, &path, &body).await;
        rest.expect(StatusCode::NOT_FOUND, Method::GET, &path, &json!({})).await;
        rest.expect(StatusCode::NOT_FOUND, Method::DELETE, &path, &json!({})).await;
    }
}

#[tokio::test]
async fn section_1_3_an_image_is_found_by_what_tells_it_from_others() {
    let rest = Rest::start().await;
    rest.push("app", "t", 1).await;
    rest.push("app", "t", 2).await;
    rest.push("app", "u", 1).await;
    rest.push("else", "t", 3).await;
    let found = |n: u8| (StatusCode::OK, format!("app@{}", digest(n)));
    for (id, (status, name)) in [
        (digest(1), found(1)),
        ("1111".to_owned(), found(1)),
        ("sha256:22".to_owned(), found(2)),
        ("sha256".to_owned(), (StatusCode::CONFLICT, String::new())),
        ("sha".to_owned(), (StatusCode::CONFLICT, String::new())),
        ("sha256:".to_owned(), (StatusCode::CONFLICT, String::new())),
        ("sha512".to_owned(), (StatusCode::NOT_FOUND, String::new())),
        ("2".to_owned(), found(2)),
        (digest(3), (StatusCode::NOT_FOUND, String::new())),
        ("4".to_owned(), (StatusCode::NOT_FOUND, String::new())),
    ] {
        let image = rest.expect(status, Method::GET, &images(&format!("imagestreamimages/app@{id}")), &json!({})).await;
        if status == StatusCode::OK {
            assert_eq!(image["metadata"]["name"], name, "{id}");
        }
    }
    let path = images("imagestreamimages/app@sha256");
    let refused = rest.expect(StatusCode::CONFLICT, Method::GET, &path, &json!({})).await;
    let words = format!("multiple images match the prefix \"sha256\": {}, {}", digest(1), digest(2));
    assert_eq!((&refused["reason"], &refused["message"]), (&json!("Conflict"), &json!(words)));
    let one = rest.ada.get_json(&images("imagestreamimages/else@sha256")).await;
    assert_eq!(one["metadata"]["name"], format!("else@{}", digest(3)), "of one image any beginning is enough");
    for name in ["app", "app@", "@1111", "app:t"] {
        let path = images(&format!("imagestreamimages/{name}"));
        let refused = rest.expect(StatusCode::BAD_REQUEST, Method::GET, &path, &json!({})).await;
        assert_eq!(refused["message"], "ImageStreamImages must be retrieved with <name>@<id>", "{name}");
    }
}

#[tokio::test]
async fn section_4_1_what_is_missing_is_told_by_its_kind() {
    let rest = Rest::start().await;
    rest.push("app", "t", 1).await;
    rest.edit("app", |stream| stream["spec"]["tags"] = json!([{"name": "empty"}])).await;
    for (name, kind, missing) in [
        ("none:t", "imagestreams", "none"),
        ("app:none", "imagestreamtags", "app:none"),
        ("app:empty", "imagestreamtags", "app:empty"),
    ] {
        let refused = rest.expect(StatusCode::NOT_FOUND, Method::GET, &tag_path(name), &json!({})).await;
        assert_eq!((&refused["details"]["kind"], &refused["details"]["name"]), (&json!(kind), &json!(missing)));
        assert_eq!(refused["message"], format!("{kind}.image.openshift.io \"{missing}\" not found"));
    }
}

#[tokio::test]
async fn section_4_1_a_tag_shows_its_streams_labels_its_own_annotations_and_the_image() {
    let rest = Rest::start().await;
    rest.push("app", "t", 1).await;
    let stream = rest
        .edit("app", |stream| {
            stream["metadata"]["labels"] = json!({"tier": "web"});
            stream["spec"]["lookupPolicy"]["local"] = json!(true);
        })
        .await;
    let body = json!({"metadata": {"name": "app:u", "annotations": {"a": "b"}}, "tag": following("u", "t")});
    rest.expect(StatusCode::CREATED, Method::PUT, &tag_path("app:u"), &body).await;
    let tag = rest.ada.get_json(&tag_path("app:u")).await;
    assert_eq!(tag["metadata"]["labels"], json!({"tier": "web"}));
    assert_eq!(tag["metadata"]["annotations"], json!({"a": "b"}));
    assert_eq!(tag["metadata"]["uid"], stream["metadata"]["uid"]);
    assert_eq!((&tag["lookupPolicy"]["local"], &tag["tag"]["name"]), (&json!(true), &json!("u")));
    assert_eq!(tag["image"]["metadata"]["name"], digest(1));
    assert_eq!(tag["image"]["metadata"]["annotations"]["a"], "b", "they stand on the image, too");
    let reference = format!("{}/demo/app@{}", rest.weir.registry(), digest(1));
    assert_eq!(tag["image"]["dockerImageReference"], reference);
    assert!(tag["image"]["dockerImageManifest"].is_null() && tag["image"]["dockerImageConfig"].is_null());
    assert_eq!(rest.ada.get_json(&tag_path("app:t")).await["tag"], Value::Null, "pushed, and specified by nobody");
}

#[tokio::test]
async fn section_4_2_tags_with_an_image_are_listed_in_order() {
    let rest = Rest::start().await;
    for (stream, tag) in [("b", "2"), ("b", "10"), ("a", "z"), ("b", "1")] {
        rest.push(stream, tag, 1).await;
    }
    let reference = json!({"name": "mere", "reference": true, "from": {"kind": "DockerImage", "name": "x:1"}});
    rest.edit("b", |stream| stream["spec"]["tags"] = json!([{"name": "0"}, reference])).await;
    let list = rest.ada.get_json(&images("imagestreamtags")).await;
    let names: Vec<_> = list["items"].as_array().unwrap().iter().map(|tag| tag["metadata"]["name"].clone()).collect();
    assert_eq!(names, ["a:z", "b:1", "b:10", "b:2"]);
    assert_eq!(list["items"][0]["image"]["metadata"]["name"], digest(1), "named, and not loaded");
    assert!(list["items"][0]["image"]["dockerImageMetadata"].is_null());

    rest.edit("b", |stream| stream["metadata"]["labels"] = json!({"tier": "db"})).await;
    for (query, expected) in [
        ("labelSelector=tier%3Ddb", vec!["b:1", "b:10", "b:2"]),
        ("labelSelector=!tier", vec!["a:z"]),
        ("labelSelector=tier%3Ddb&fieldSelector=metadata.name!%3Db:10", vec!["b:1", "b:2"]),
        ("fieldSelector=metadata.name%3Da:z", vec!["a:z"]),
        ("fieldSelector=metadata.name%3Da:z,metadata.name%3Db:1", vec![]),
        ("fieldSelector=metadata.namespace%3Dother", vec![]),
        ("fieldSelector=metadata.namespace%3Ddemo&labelSelector=tier%3Dweb", vec![]),
    ] {
        let list = rest.ada.get_json(&images(&format!("imagestreamtags?{query}"))).await;
        let names: Vec<_> = list["items"].as_array().unwrap().iter().map(|tag| &tag["metadata"]["name"]).collect();
        assert_eq!(names, expected, "{query}");
    }
    let bad = images("imagestreamtags?fieldSelector=tag.name%3Dz");
    rest.expect(StatusCode::BAD_REQUEST, Method::GET, &bad, &json!({})).await;
}

#[tokio::test]
async fn section_4_3_a_tag_is_made_once_and_its_stream_with_it() {
    let rest = Rest::start().await;
    rest.push("app", "pushed", 1).await;
    let body = |name: &str| pinned(name, "1111");
    for (name, status) in
        [("app:pushed", StatusCode::CREATED), ("app:pushed", StatusCode::CONFLICT), ("app:new", StatusCode::CREATED)]
    {
        rest.post(status, &images("imagestreamtags"), &body(name)).await;
    }
    let (path, racing) = (images("imagestreamtags"), body("app:racing"));
    let racing = futures_util::future::join_all((0..8).map(|_| rest.call(Method::POST, &path, &racing))).await;
    let made = racing.iter().filter(|(status, _)| *status == StatusCode::CREATED).count();
    assert_eq!(made, 1, "{racing:#?}");
    for (_, refused) in racing.iter().filter(|(status, _)| *status != StatusCode::CREATED) {
        let words = "imagestreamtag.image.openshift.io \"app:racing\" already exists";
        assert_eq!((&refused["reason"], &refused["message"]), (&json!("AlreadyExists"), &json!(words)));
    }
    let body = json!({"metadata": {"name": "fresh:t"}, "tag": null});
    rest.post(StatusCode::CREATED, &images("imagestreamtags"), &body).await;
    let stream = rest.ada.get_json(&images("imagestreams/fresh")).await;
    assert_eq!(spec_of(&stream, "t")["name"], "t");
}

#[tokio::test]
async fn section_4_4_a_tag_is_set_whether_or_not_it_was_there() {
    let rest = Rest::start().await;
    rest.push("app", "t", 1).await;
    let version = rest.ada.get_json(&images("imagestreams/app")).await["metadata"]["resourceVersion"].clone();
    let versioned = |name: &str, version: Value| {
        let mut body = pinned(name, "app@1111");
        body["metadata"]["resourceVersion"] = version;
        body
    };
    let (conflict, missing) = (StatusCode::CONFLICT, StatusCode::NOT_FOUND);
    for (name, version, status) in [
        ("app:a", json!(""), StatusCode::CREATED),
        ("app:a", json!(""), StatusCode::OK),
        ("app:b", version.clone(), conflict),
        ("fresh:t", json!(""), StatusCode::CREATED),
        ("none:t", version, missing),
    ] {
        rest.expect(status, Method::PUT, &tag_path(name), &versioned(name, version)).await;
    }
    let mut of_another = versioned("none:t", json!(""));
    of_another["metadata"]["uid"] = json!("another");
    let refused = rest.expect(missing, Method::PUT, &tag_path("none:t"), &of_another).await;
    assert_eq!((&refused["details"]["kind"], &refused["details"]["name"]), (&json!("imagestreams"), &json!("none")));
    rest.expect(missing, Method::GET, &images("imagestreams/none"), &json!({})).await;
    let version = rest.ada.get_json(&tag_path("app:a")).await["metadata"]["resourceVersion"].clone();
    // The same again is no change.
    let mut other = versioned("app:a", version.clone());
    rest.expect(StatusCode::OK, Method::PUT, &tag_path("app:a"), &other).await;
    other["metadata"]["annotations"] = json!({"said": "otherwise"});
    rest.expect(StatusCode::OK, Method::PUT, &tag_path("app:a"), &other).await;
    rest.expect(conflict, Method::PUT, &tag_path("app:a"), &versioned("app:a", version)).await;

    let body = json!({"metadata": {"name": "app:t"}});
    let refused = rest.expect(StatusCode::BAD_REQUEST, Method::PUT, &tag_path("app:t"), &body).await;
    assert_eq!(refused["message"], "imagestreamtag t is not a spec tag in imagestream demo/app, cannot be updated");
}

#[tokio::test]
async fn section_4_4_a_held_tag_stays_while_what_it_follows_is_the_same() {
    let rest = Rest::start().await;
    rest.push("base", "t", 1).await;
    rest.make("app", json!([{"name": "t", "from": {"kind": "ImageStreamTag", "name": "base:t"}}])).await;
    rest.push("base", "t", 2).await;
    let history = "/weir/v1/projects/demo/streams/app/tags/t";
    let rows = rest.ada.get_json(&format!("{history}/history")).await;
    let back = json!({"to": rows["items"][1]["sequence"], "mode": "tag"});
    rest.expect(StatusCode::OK, Method::POST, &format!("{history}/rollback"), &back).await;
    let (old, new) = (digest(1), digest(2));
    assert_eq!(rest.items("app", "t").await, [old.clone(), new.clone(), old.clone()]);

    let read = rest.ada.get_json(&tag_path("app:t")).await;
    let with = |change: fn(&mut Value)| {
        let mut body = json!({"metadata": {"name": "app:t"}, "tag": read["tag"]});
        change(&mut body);
        body
    };
    for body in [
        json!({"metadata": {"name": "app:t", "annotations": {"a": "1"}}}),
        with(|_| ()),
        with(|body| body["tag"]["referencePolicy"] = json!({"type": "Local"})),
        with(|body| body["tag"]["generation"] = json!(77)),
    ] {
        rest.expect(StatusCode::OK, Method::PUT, &tag_path("app:t"), &body).await;
        assert_eq!(rest.items("app", "t").await.first(), Some(&old), "{body}");
        let tag = rest.ada.get_json(history).await;
        assert!(tag["hold"].is_object() && tag["rejected"][0]["digest"] == json!(new), "{tag:#}");
    }
    // Whoever asks for the source's image again gets it.
    rest.expect(StatusCode::OK, Method::PUT, &tag_path("app:t"), &with(|body| body["tag"]["generation"] = json!(0)))
        .await;
    assert_eq!(rest.items("app", "t").await.first(), Some(&new));
}

#[tokio::test]
async fn section_4_4_a_tag_that_is_set_leaves_the_lookup_policy_of_its_stream() {
    let rest = Rest::start().await;
    rest.push("app", "t", 1).await;
    rest.edit("app", |stream| stream["spec"]["lookupPolicy"]["local"] = json!(true)).await;
    // `oc tag` always says false here, whatever the stream says.
    let mut body = pinned("app:a", "app@1111");
    body["lookupPolicy"] = json!({"local": false});
    let (_, answer) = rest.call(Method::PUT, &tag_path("app:a"), &body).await;
    assert_eq!(answer["lookupPolicy"]["local"], true, "{answer:#}");
    let stream = rest.ada.get_json(&images("imagestreams/app")).await;
    assert_eq!(stream["spec"]["lookupPolicy"]["local"], true);
}

#[tokio::test]
async fn section_4_4_a_tags_annotations_are_the_objects() {
    let rest = Rest::start().await;
    rest.push("app", "t", 1).await;
    let set = |own: Value, object: Value| {
        let mut body = pinned("app:a", "1111");
        (body["tag"]["annotations"], body["metadata"]["annotations"]) = (own, object);
        body
    };
    let (a, b) = (json!({"a": "1"}), json!({"b": "2"}));
    for (own, object, expected) in [
        (Value::Null, a.clone(), Some(&a)),
        (a.clone(), a.clone(), Some(&a)),
        (b.clone(), Value::Null, Some(&b)),
        (b.clone(), a.clone(), None),
    ] {
        let (code, answer) = rest.call(Method::PUT, &tag_path("app:a"), &set(own, object)).await;
        match expected {
            Some(expected) => assert_eq!(answer["tag"]["annotations"], *expected, "{answer:#}"),
            None => {
                assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
                let words = "tag annotations must not be provided or must be equal to the object meta annotations";
                assert!(answer["message"].as_str().unwrap().contains(words), "{answer:#}");
            }
        }
    }
    // Without a tag the body changes them alone.
    let body = json!({"metadata": {"name": "app:a", "annotations": {"c": "3"}}});
    let changed = rest.expect(StatusCode::OK, Method::PUT, &tag_path("app:a"), &body).await;
    assert_eq!(changed["tag"]["annotations"], json!({"c": "3"}));
    assert_eq!(changed["tag"]["from"]["name"], "1111");
}

#[tokio::test]
async fn section_4_5_a_deleted_tag_goes_with_its_history_and_leaves_the_image() {
    let rest = Rest::start().await;
    rest.push("app", "t", 1).await;
    rest.push("app", "u", 1).await;
    rest.edit("app", |stream| stream["spec"]["tags"] = json!([{"name": "wish"}])).await;
    for (name, status) in [
        ("app:t", StatusCode::OK),
        ("app:t", StatusCode::NOT_FOUND),
        ("app:wish", StatusCode::OK),
        ("app:none", StatusCode::NOT_FOUND),
        ("none:t", StatusCode::NOT_FOUND),
    ] {
        rest.expect(status, Method::DELETE, &tag_path(name), &json!({})).await;
    }
    assert_eq!(rest.items("app", "t").await, Vec::<String>::new());
    assert_eq!(rest.items("app", "u").await, [digest(1)]);
    rest.ada.get_json(&images(&format!("imagestreamimages/app@{}", digest(1)))).await;
}

#[tokio::test]
async fn section_4_5_a_deletion_may_be_meant_for_one_object_alone() {
    let rest = Rest::start().await;
    rest.push("app", "t", 1).await;
    rest.push("app", "u", 1).await;
    let stream = rest.ada.get_json(&images("imagestreams/app")).await;
    let (uid, version) = (&stream["metadata"]["uid"], &stream["metadata"]["resourceVersion"]);
    let wanting = |uid: &Value, version: &Value| json!({"kind": "DeleteOptions", "preconditions": {"uid": uid, "resourceVersion": version}});
    for path in ["imagestreamtags/app:t", "imagetags/app:t", "imagestreams/app"].map(images) {
        for (uid, version, words) in [
            (
                &json!("another"),
                version,
                format!("UID in precondition: another, UID in object meta: {}", uid.as_str().unwrap()),
            ),
            (uid, &json!("1"), "ResourceVersion in precondition: 1, ".to_owned()),
        ] {
            let refused = rest.expect(StatusCode::CONFLICT, Method::DELETE, &path, &wanting(uid, version)).await;
            let message = refused["message"].as_str().unwrap();
            assert!(message.contains("Precondition failed: ") && message.contains(&words), "{path}: {message}");
        }
    }
    rest.expect(StatusCode::OK, Method::DELETE, &tag_path("app:t"), &wanting(uid, version)).await;
    let dry = json!({"dryRun": ["All"]});
    rest.expect(StatusCode::BAD_REQUEST, Method::DELETE, &tag_path("app:u"), &dry).await;
    let foreign = json!({"metadata": {"name": "app", "uid": "another", "resourceVersion": version}});
    rest.expect(StatusCode::CONFLICT, Method::PUT, &images("imagestreams/app"), &foreign).await;
    assert_eq!(rest.items("app", "u").await, [digest(1)]);
}

#[tokio::test]
async fn section_4_4_a_tag_has_its_streams_labels_and_takes_no_others() {
    let rest = Rest::start().await;
    rest.push("app", "t", 1).await;
    rest.edit("app", |stream| stream["metadata"]["labels"] = json!({"team": "a"})).await;
    for (labels, status) in [
        (json!({}), StatusCode::CREATED),
        (json!({"team": "a"}), StatusCode::OK),
        (json!({"team": "b"}), StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let mut body = pinned("app:a", "app@1111");
        body["metadata"]["labels"] = labels;
        let answer = rest.expect(status, Method::PUT, &tag_path("app:a"), &body).await;
        let refused = answer["message"].as_str().unwrap_or_default().contains("may not update fields other than");
        assert_eq!(refused, !status.is_success(), "{answer:#}");
    }
}
