//! `search`, and an image with all that is known of it, in Weir's own dialect and on the console's page.

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};
use weir::model::Role;

use super::{Rest, digest, own};

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
