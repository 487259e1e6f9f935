//! `search`, and an image with all that is known of it, in Weir's own dialect and on the console's page.

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};
use weir::model::{Actor, EventKind, ImageLayer, NewImage, Role};
use weir::server::store::TagMove;

use super::{Rest, digest, own};
use crate::support::Client;

fn names(page: &Value) -> Vec<String> {
    let name = |item: &Value| format!("{}/{}", item["project"].as_str().unwrap(), item["name"].as_str().unwrap());
    page["items"].as_array().unwrap().iter().map(name).collect()
}

#[tokio::test]
async fn a_project_is_searched_page_by_page() {
    let rest = Rest::start().await;
    for (tag, n) in [("v1", 1), ("v2", 2), ("v3", 3)] {
        rest.push("app", tag, n).await;
    }
    let whole = rest.ada.get_json(&own("search?q=app")).await;
    insta::assert_json_snapshot!("search", rest.redacted(whole));
    let mut found = Vec::new();
    let mut path = "search?q=env:path&kind=image&limit=1".to_owned();
    for _ in 0..3 {
        let page = rest.ada.get_json(&own(&path)).await;
        assert_eq!(page["items"][0]["foundBy"], "env");
        found.push(page["items"][0]["about"].as_str().unwrap().to_owned());
        let next = page["next"].as_str().unwrap_or("end");
        path = format!("search?q=env:path&kind=image&limit=1&after={}", urlencoding::encode(next));
    }
    found.sort();
    assert_eq!(found, [digest(1), digest(2), digest(3)]);
    assert!(path.ends_with("after=end"), "three pages, then no more");
    let by_digest = rest.ada.get_json(&own("search?q=22222222&kind=image")).await;
    assert_eq!(
        (&by_digest["items"][0]["about"], &by_digest["items"][0]["foundBy"]),
        (&json!(digest(2)), &json!("digest"))
    );
    for (query, status) in [
        ("", StatusCode::UNPROCESSABLE_ENTITY),
        ("q=%20", StatusCode::UNPROCESSABLE_ENTITY),
        ("q=app&kind=cat", StatusCode::UNPROCESSABLE_ENTITY),
        ("q=app&kind=tag&after=x", StatusCode::BAD_REQUEST),
        ("q=app&after=demo:1:name:app", StatusCode::BAD_REQUEST),
        ("q=app&limit=0", StatusCode::BAD_REQUEST),
    ] {
        rest.expect(status, Method::GET, &own(&format!("search?{query}")), &json!({})).await;
    }
}

#[tokio::test]
async fn a_search_tells_nothing_of_what_one_may_not_see() {
    let rest = Rest::start().await;
    rest.push("app", "latest", 1).await;
    let eve = rest.weir.user("eve", "other", Role::Admin).await;
    assert_eq!(eve.get(&own("search?q=app")).await.status(), StatusCode::FORBIDDEN);
    let admin = rest.weir.admin().await;
    for query in ["app", "app:latest", "env:path", "11111111", "port:80"] {
        let path = |kind: &str| format!("/weir/v1/search?q={query}&kind={kind}");
        for kind in ["stream", "tag", "image", "build", "app"] {
            let seen = names(&rest.ada.get_json(&path(kind)).await);
            assert_eq!(names(&admin.get_json(&path(kind)).await), seen);
            assert!(names(&eve.get_json(&path(kind)).await).is_empty(), "{query} {kind}");
        }
        let page = eve.get(&format!("/search?q={query}")).await.text().await.unwrap();
        assert!(page.contains("Nothing found for"), "{query}");
    }
    assert_eq!(rest.weir.anon().get("/weir/v1/search?q=app").await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_console_finds_images_by_what_they_are_made_of() {
    let rest = Rest::start().await;
    for n in 1..=3 {
        rest.push("app", &format!("v{n}"), n).await;
    }
    let page = rest.ada.get("/search?q=env:path").await.text().await.unwrap();
    assert!(page.contains("env: path") && page.contains(&digest(2)), "{page}");
    let page = rest.ada.get("/search?q=v&kind=tag&n=25").await.text().await.unwrap();
    assert!(page.contains("app:v1") && page.contains("app:v3") && page.contains("All kinds"), "{page}");
}

/// Pushes an image of these layers; gives its digest.
async fn push_layers(rest: &Rest, project: &str, stream: &str, n: u8, layers: &[&str]) -> String {
    let (store, ada) = (rest.weir.store(), Actor::person("ada"));
    let stream = store.ensure_stream(project, &stream.parse().unwrap(), &ada).await.unwrap();
    let history: Vec<Value> = layers[1..].iter().map(|layer| json!({"created_by": format!("RUN {layer}")})).collect();
    let config = json!({"rootfs": {"diff_ids": layers}, "history": history}).to_string();
    let image = NewImage {
        digest: digest(n),
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        manifest: "{}".to_owned(),
        config: Some(config),
        layers: (0..layers.len()).map(|at| layer(u8::try_from(at).unwrap())).collect(),
        ..NewImage::default()
    };
    for layer in &image.layers {
        store.link_blob(&stream.id, &layer.layer_digest, layer.size, None).await.unwrap();
    }
    let tag = "v1".parse().unwrap();
    let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
    store.put_manifest(&stream, &image, Some(to), &ada).await.unwrap();
    image.digest
}

fn layer(n: u8) -> ImageLayer {
    let media_type = "application/vnd.oci.image.layer.v1.tar".to_owned();
    ImageLayer { layer_digest: digest(200 + n), size: 10, media_type }
}

#[tokio::test]
async fn images_are_found_by_a_base_that_their_layers_show_and_page_and_search_agree() {
    let rest = Rest::start().await;
    let (secret, eve) =
        (rest.weir.user("sam", "vault", Role::Editor).await, rest.weir.user("eve", "demo", Role::Viewer).await);
    let app = push_layers(&rest, "demo", "app", 1, &["sha256:a", "sha256:b", "sha256:c"]).await;
    let base =
        async |client: &Client| client.get_json(&own(&format!("streams/app/images/{app}"))).await["base"].clone();
    let found = async |client: &Client, path: &str| {
        rest.weir.settle().await;
        let page = client.get_json(path).await;
        (names(&page), page["items"][0]["foundBy"].clone())
    };
    let (one, all) = (own("search?q=base:hidden&kind=image"), "/weir/v1/search?q=base:hidden&kind=image");
    assert_eq!((found(&eve, &one).await.0.len(), base(&eve).await), (0, Value::Null));
    // It comes later, and to a project that not everybody sees.
    push_layers(&rest, "vault", "hidden", 2, &["sha256:a", "sha256:b"]).await;
    for client in [&eve, &rest.ada] {
        for path in [one.as_str(), all] {
            assert_eq!(found(client, path).await.0, Vec::<String>::new(), "{path}");
        }
        assert_eq!(base(client).await, Value::Null);
        let page = client.get("/search?q=base:hidden").await.text().await.unwrap();
        assert!(page.contains("Nothing found for"), "{page}");
    }
    assert_eq!(found(&secret, all).await.0, Vec::<String>::new(), "who sees the base alone finds nothing built on it");
    rest.weir.store().grant_role("vault", "eve", Role::Viewer, &Actor::person("ada")).await.unwrap();
    for path in [one.as_str(), all, &own("search?q=base:hidden:v1&kind=image")] {
        assert_eq!(found(&eve, path).await, (vec!["demo/app".to_owned()], json!("base")), "{path}");
    }
    let shown = base(&eve).await;
    assert_eq!((&shown["known"], &shown["name"]), (&json!("layers"), &json!("vault/hidden:v1")));
    let by_digest = format!("/weir/v1/search?q=base:{}&kind=image", digest(2));
    assert_eq!(found(&eve, &by_digest).await.0, ["demo/app"]);
    let site_admin = rest.weir.admin().await;
    assert_eq!(found(&site_admin, &one).await.0, ["demo/app"]);
    rest.weir.stop().await;
}

#[tokio::test]
async fn an_incomplete_history_is_told_as_that_of_the_upper_layers() {
    let rest = Rest::start().await;
    let image = push_layers(&rest, "demo", "app", 1, &["sha256:a", "sha256:b", "sha256:c"]).await;
    let shown = rest.ada.get_json(&own(&format!("streams/app/images/{image}"))).await;
    let layers = shown["layers"].as_array().unwrap().iter();
    let made: Vec<_> = layers.map(|layer| (layer["createdBy"].as_str(), layer["createdByGuessed"] == true)).collect();
    assert_eq!(made, [(None, false), (Some("RUN sha256:b"), true), (Some("RUN sha256:c"), true)]);
    let page = rest.ada.page(&format!("/p/demo/streams/app/images/{image}")).await;
    assert!(page.contains("not recorded") && page.contains("tells of fewer layers than there are"), "{page}");
    rest.weir.stop().await;
}

#[tokio::test]
async fn an_image_is_shown_whole_without_asking_the_registry() {
    let rest = Rest::start().await;
    rest.push("app", "latest", 1).await;
    let image = rest.ada.get_json(&own(&format!("streams/app/images/{}", digest(1)))).await;
    insta::assert_json_snapshot!("image", rest.redacted(image.clone()));
    assert_eq!(rest.ada.get_json(&own("streams/app/images/1111111")).await, image);
    for id in ["2222222", "latest", "sha256:zz"] {
        rest.expect(StatusCode::NOT_FOUND, Method::GET, &own(&format!("streams/app/images/{id}")), &json!({})).await;
    }
    rest.push("app", "other", 2).await;
    let page = rest.ada.get(&format!("/p/demo/streams/app/images/{}", digest(1))).await.text().await.unwrap();
    for words in ["Built on", "How it runs", "PATH=/bin", "80/tcp"] {
        assert!(page.contains(words), "{words}");
    }
}
