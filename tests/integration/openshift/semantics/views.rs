//! Sections 4.6, 4.8, 4.9 and 5: tags as wishes and facts, the blobs of a stream, the secrets beside it, and images that take a tag.

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};
use weir::model::Role;
use weir::server::store::SecretData;

use super::super::{Rest, digest, images};
use super::imports::import;
use crate::support::tester;
use crate::upstreams::DockerRegistry;
use crate::upstreams::images::{OCI_INDEX, TestImage, index_of, push_manifest};

fn path(name: &str) -> String {
    images(&format!("imagetags/{name}"))
}

fn external(name: &str) -> Value {
    json!({"name": name, "from": {"kind": "DockerImage", "name": "registry.invalid/x:1"}, "reference": true})
}

#[tokio::test]
async fn section_4_6_a_tag_is_there_when_it_is_wished_for_or_is() {
    let rest = Rest::start().await;
    rest.push("app", "pushed", 1).await;
    rest.edit("app", |stream| stream["spec"]["tags"] = json!([{"name": "wished"}, external("mere")])).await;
    let status = |tag: &Value| tag["status"]["items"].as_array().map_or(0, Vec::len);
    for (name, is_wished, moves, image) in
        [("pushed", false, 1, json!(digest(1))), ("wished", true, 0, Value::Null), ("mere", true, 1, Value::Null)]
    {
        let tag = rest.ada.get_json(&path(&format!("app:{name}"))).await;
        assert_eq!((&tag["kind"], &tag["metadata"]["name"]), (&json!("ImageTag"), &json!(format!("app:{name}"))));
        assert_eq!(tag["spec"]["name"] == name, is_wished, "{tag:#}");
        assert_eq!((status(&tag), &tag["image"]["metadata"]["name"]), (moves, &image), "{tag:#}");
    }
    rest.push("a", "z", 2).await;
    let list = rest.ada.get_json(&images("imagetags")).await;
    let names: Vec<_> = list["items"].as_array().unwrap().iter().map(|tag| tag["metadata"]["name"].clone()).collect();
    assert_eq!(names, ["a:z", "app:mere", "app:pushed", "app:wished"], "in order");
    assert_eq!(list["items"][2]["status"]["items"][0]["image"], digest(1));
    // What something only names is no tag yet.
    rest.make("tracker", json!([{"name": "t", "from": {"kind": "ImageStreamTag", "name": "app:later"}}])).await;
    let later = images("imagetags/app:later");
    for method in [Method::GET, Method::DELETE] {
        rest.expect(StatusCode::NOT_FOUND, method, &later, &json!({})).await;
    }
    let listed = rest.ada.get_json(&images("imagetags")).await;
    assert!(
        !listed["items"].as_array().unwrap().iter().any(|tag| tag["metadata"]["name"] == "app:later"),
        "{listed:#}"
    );
    for (name, kind) in [("app:none", "imagetags"), ("none:t", "imagestreams")] {
        let refused = rest.expect(StatusCode::NOT_FOUND, Method::GET, &path(name), &json!({})).await;
        assert_eq!(refused["details"]["kind"], kind);
    }
    let refused = rest.expect(StatusCode::BAD_REQUEST, Method::GET, &path("app"), &json!({})).await;
    assert_eq!(refused["message"], "ImageTags must be retrieved with <name>:<tag>");
    rest.expect(StatusCode::METHOD_NOT_ALLOWED, Method::GET, &images("imagetags?watch=true"), &json!({})).await;
}

#[tokio::test]
async fn section_4_6_a_tag_is_made_set_and_taken_back_by_its_spec() {
    let rest = Rest::start().await;
    rest.push("app", "t", 1).await;
    let of = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
    let (created, invalid) = (StatusCode::CREATED, StatusCode::UNPROCESSABLE_ENTITY);
    for (name, spec, status) in [
        ("app:new", Value::Null, invalid),
        ("app:new", external("other"), invalid),
        ("app:new", external("new"), created),
        ("app:new", external("new"), StatusCode::CONFLICT),
        ("fresh:t", json!({"name": "t"}), created),
    ] {
        let answer = rest.post(status, &images("imagetags"), &of(name, spec.clone())).await;
        if status == created {
            assert_eq!((&answer["kind"], &answer["spec"]["name"]), (&json!("ImageTag"), &spec["name"]));
        }
    }
    let pin = json!({"from": {"kind": "ImageStreamImage", "name": "1111"}, "annotations": {"a": "b"}});
    let set = rest.expect(created, Method::PUT, &path("app:t"), &of("app:t", pin.clone())).await;
    assert_eq!(
        (&set["spec"]["annotations"], &set["metadata"]["annotations"]),
        (&json!({"a": "b"}), &json!({"a": "b"}))
    );
    rest.expect(StatusCode::OK, Method::PUT, &path("app:t"), &of("app:t", pin)).await;
    let taken = rest.expect(StatusCode::OK, Method::PUT, &path("app:t"), &of("app:t", Value::Null)).await;
    assert_eq!(
        (&taken["spec"], &taken["image"]["metadata"]["name"]),
        (&Value::Null, &json!(digest(1))),
        "it keeps its image"
    );
    let words = "imagetag t is not a spec tag in imagestream demo/app, cannot be updated";
    let refused = rest.expect(StatusCode::BAD_REQUEST, Method::PUT, &path("app:t"), &of("app:t", Value::Null)).await;
    assert_eq!(refused["message"], words);
    rest.expect(StatusCode::OK, Method::PUT, &path("app:new"), &of("app:new", Value::Null)).await;
    rest.expect(StatusCode::OK, Method::DELETE, &path("app:t"), &json!({})).await;
    for gone in ["app:t", "app:new"] {
        let refused = rest.expect(StatusCode::NOT_FOUND, Method::DELETE, &path(gone), &json!({})).await;
        assert_eq!(refused["details"]["kind"], "imagetags");
    }
}

#[tokio::test]
async fn section_4_7_an_image_of_a_stream_is_told_with_what_the_stream_says() {
    let rest = Rest::start().await;
    rest.push("app", "t", 1).await;
    rest.push("app", "t", 2).await;
    let (labels, annotations) = (json!({"team": "a"}), json!({"example.com/owner": "ada"}));
    let change = |stream: &mut Value| {
        (stream["metadata"]["labels"], stream["metadata"]["annotations"]) = (labels.clone(), annotations.clone());
    };
    let stream = rest.edit("app", change).await;
    for n in [1, 2] {
        let name = format!("app@{}", digest(n));
        let told = rest.ada.get_json(&images(&format!("imagestreamimages/{name}"))).await;
        assert_eq!((&told["metadata"]["name"], &told["metadata"]["labels"]), (&json!(name), &labels));
        assert_eq!(told["metadata"]["uid"], stream["metadata"]["uid"]);
        assert_eq!(told["metadata"]["annotations"], annotations);
        let reference = format!("{}/demo/app@{}", rest.weir.registry(), digest(n));
        assert_eq!(told["image"]["dockerImageReference"], reference);
        assert_eq!(told["image"]["dockerImageMetadata"]["Size"], 1234);
    }
    rest.expect(
        StatusCode::NOT_FOUND,
        Method::GET,
        &images(&format!("imagestreamimages/app@{}", digest(3))),
        &json!({}),
    )
    .await;
}

#[tokio::test]
async fn section_4_8_the_blobs_of_all_images_in_the_history_are_told_to_who_may_pull() {
    let rest = Rest::start().await;
    for n in [1, 2] {
        rest.push("app", "t", n).await;
    }
    let layers = rest.ada.get_json(&images("imagestreams/app/layers")).await;
    assert_eq!((&layers["kind"], &layers["metadata"]["name"]), (&json!("ImageStreamLayers"), &json!("app")));
    let (config, layer) = (format!("sha256:{}", "c".repeat(64)), format!("sha256:{}", "b".repeat(64)));
    for n in [1, 2] {
        assert_eq!(layers["images"][digest(n)], json!({"config": config, "layers": [layer]}));
        assert_eq!(layers["blobs"][digest(n)]["size"], 2, "the manifest is a blob, too");
    }
    assert_eq!(
        layers["blobs"][&layer],
        json!({"size": 1000, "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip"})
    );
    assert_eq!(layers["blobs"].as_object().unwrap().len(), 4);
    let vic = rest.weir.user("vic", "demo", Role::Viewer).await;
    assert!(vic.get(&images("imagestreams/app")).await.status().is_success());
    let refused = vic.get(&images("imagestreams/app/secrets")).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN, "who only views and pulls does not import");
    let eve = rest.weir.user("eve", "other", Role::Admin).await;
    for below in ["layers", "secrets"] {
        let refused = eve.get(&images(&format!("imagestreams/app/{below}"))).await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{below}");
    }
    rest.expect(StatusCode::NOT_FOUND, Method::GET, &images("imagestreams/none/layers"), &json!({})).await;
}

#[tokio::test]
async fn section_5_1_an_image_tells_whether_it_was_pushed_here_or_where_it_came_from() {
    let (rest, upstream) = (Rest::live().await, DockerRegistry::start());
    let (pushed, imported) = (TestImage::new("pushed"), TestImage::new("imported"));
    pushed.push_as(Some(("ada", rest.ada.token())), rest.weir.registry(), "demo/app", "pushed").await;
    imported.push(upstream.address(), "org/app", imported.digest().as_str()).await;
    push_manifest(upstream.address(), "org/app", "1", OCI_INDEX, index_of(&[("amd64", &imported)])).await;
    let from = format!("{}/org/app:1", upstream.address());
    let (status, looked) = rest.import(&import(&from, "imported", "Legacy", false)).await;
    assert_eq!(status["status"], "Success", "{status:#}");
    let place = format!("{}/org/app@{}", upstream.address(), imported.digest());
    let (order, from_there) = ("image.openshift.io/dockerLayersOrder", "openshift.io/imported-from");
    assert_eq!(looked["metadata"]["annotations"], json!({order: "ascending", from_there: place}));

    let (status, kept) = rest.import(&import(&from, "imported", "PreserveOriginal", true)).await;
    assert_eq!(status["status"], "Success", "{status:#}");
    let stored = "image.openshift.io/manifestBlobStored";
    let of = |repository: &str, digest: &Value| {
        let place = format!("{repository}@{}", digest.as_str().unwrap());
        json!({order: "ascending", stored: "true", from_there: place})
    };
    let repository = format!("{}/org/app", upstream.address());
    assert_eq!(kept["metadata"]["annotations"], of(&repository, &kept["metadata"]["name"]));
    let below = rest.ada.get_json(&images(&format!("imagestreamimages/app@{}", imported.digest()))).await;
    assert_eq!(
        below["image"]["metadata"]["annotations"],
        of(&repository, &json!(imported.digest())),
        "below an index, too"
    );

    let managed = json!({order: "ascending", stored: "true", "openshift.io/image.managed": "true"});
    rest.make("other", json!([{"name": "t", "from": {"kind": "ImageStreamTag", "name": "app:pushed"}}])).await;
    for path in [
        "imagestreamtags/app:pushed".to_owned(),
        "imagetags/app:pushed".to_owned(),
        "imagestreamtags/other:t".to_owned(),
        format!("imagestreamimages/app@{}", pushed.digest()),
    ] {
        let shown = rest.ada.get_json(&images(&path)).await;
        assert_eq!(shown["image"]["metadata"]["annotations"], managed, "{path}");
    }

    // What another project imported from somewhere is nobody else's business.
    let eve = rest.weir.user("eve", "other", Role::Editor).await;
    imported.push_as(Some(("eve", eve.token())), rest.weir.registry(), "other/app", "t").await;
    let theirs = eve.get_json("/apis/image.openshift.io/v1/namespaces/other/imagestreamtags/app:t").await;
    assert_eq!(theirs["image"]["metadata"]["annotations"], managed);
}

#[tokio::test]
async fn section_4_9_the_secrets_for_registries_are_named_and_never_shown() {
    let rest = Rest::start().await;
    let registry =
        SecretData::Registry { host: "quay.io".to_owned(), username: "ada".to_owned(), password: "hush".into() };
    let git = SecretData::BasicAuth { username: "ada".to_owned(), password: "hush".into() };
    for (name, data) in [("upstream", registry), ("git", git)] {
        rest.weir.store().create_secret("demo", &name.parse().unwrap(), &data, &tester()).await.unwrap();
    }
    let list = rest.ada.get_json(&images("imagestreams/none/secrets")).await;
    assert_eq!(
        (&list["kind"], list["items"].as_array().unwrap().len()),
        (&json!("SecretList"), 1),
        "no stream is asked"
    );
    assert_eq!(list["items"][0]["metadata"]["name"], "upstream");
    assert_eq!(list["items"][0]["type"], "kubernetes.io/dockerconfigjson");
    assert!(!list.to_string().contains("hush"));
}

#[tokio::test]
async fn section_5_a_mapping_moves_a_tag_to_an_image_of_the_repository() {
    let rest = Rest::start().await;
    for n in [1, 2] {
        rest.push("app", "t", n).await;
    }
    let made = rest.ada.get_json(&images("imagestreams/app")).await["metadata"]["generation"].clone();
    let map = |name: &str, repository: &str, tag: &str, image: &str| {
        let mut body = json!({"metadata": {"name": name}, "tag": tag, "image": {"metadata": {"name": image}}});
        if !repository.is_empty() {
            body["dockerImageRepository"] = repository.into();
        }
        body
    };
    let mapped = |body: &Value, status: StatusCode| {
        let body = body.clone();
        let rest = &rest;
        async move { rest.post(status, &images("imagestreammappings"), &body).await }
    };
    let done = mapped(&map("app", "", "u", &digest(1)), StatusCode::CREATED).await;
    assert_eq!((&done["kind"], &done["status"]), (&json!("Status"), &json!("Success")));
    mapped(&map("", "registry.example.com/demo/app", "t", &digest(1)), StatusCode::CREATED).await;
    let elsewhere = map("", "registry.example.com/vault/app", "t", &digest(1));
    let refused = mapped(&elsewhere, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert_eq!(refused["details"]["causes"][0]["field"], "dockerImageRepository", "another project's");
    assert_eq!(
        (rest.items("app", "u").await, rest.items("app", "t").await),
        (vec![digest(1)], vec![digest(1), digest(2), digest(1)])
    );
    let stream = rest.ada.get_json(&images("imagestreams/app")).await;
    assert_eq!(
        (&stream["metadata"]["generation"], &stream["spec"]["tags"]),
        (&made, &json!([])),
        "it specifies nothing"
    );
    for (body, field) in [
        (map("", "", "t", &digest(1)), "metadata.name"),
        (map("", "x/y:t", "t", &digest(1)), "dockerImageRepository"),
        (map("app", "", "", &digest(1)), "tag"),
        (map("app", "", "t", ""), "image.metadata.name"),
        (map("app", "", "t", "1111"), "image.metadata.name"),
        (map("app", "", "t", &digest(3)), "image.metadata.name"),
    ] {
        let refused = mapped(&body, StatusCode::UNPROCESSABLE_ENTITY).await;
        assert_eq!(refused["details"]["causes"][0]["field"], field, "{refused:#}");
    }
    mapped(&map("none", "", "t", &digest(1)), StatusCode::NOT_FOUND).await;
}
