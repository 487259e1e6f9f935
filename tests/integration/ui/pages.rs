//! Every page of a project: complete, with a title, without slips of source text, under the strict policy.

use reqwest::StatusCode;
use weir::model::{Actor, Role, SourceKind};
use weir::server::store::TagSpec;

use super::sample::{demo, digest, html, location, text};

const PAGES: [&str; 32] = [
    "/",
    "/projects/new",
    "/tokens",
    "/search?q=base",
    "/p/demo",
    "/p/demo/streams",
    "/p/demo/streams?q=nothing-like-it&health=failing",
    "/p/demo/streams/new",
    "/p/demo/streams/base",
    "/p/demo/streams/base/tags?sort=name",
    "/p/demo/streams/base/tags?sort=semver",
    "/p/demo/streams/base/tags?sort=size&q=l",
    "/p/demo/streams/base/deleted-tags",
    "/p/demo/streams/base/history",
    "/p/demo/streams/python/imports",
    "/p/demo/streams/python/import-rules/new",
    "/p/demo/streams/base/used-by",
    "/p/demo/streams/base/settings",
    "/p/demo/streams/base/add-tag",
    "/p/demo/streams/base/compare",
    "/p/demo/streams/base/tags/latest",
    "/p/demo/streams/base/tags/latest/used-by",
    "/p/demo/streams/base/tags/latest/rollback",
    "/p/demo/streams/base/tags/latest/edit",
    "/p/demo/streams/base/tags/latest/delete",
    "/p/demo/streams/python/tags/3.12",
    "/p/demo/streams?as-of=2026-01-01T10:00Z",
    "/p/demo/apps?as-of=2026-01-01T10:00Z",
    "/p/demo/imports",
    "/p/demo/activity",
    "/p/demo/settings",
    "/p/demo/freezes",
];

#[tokio::test]
async fn every_page_is_whole() {
    let (weir, ada) = demo().await;
    let image = format!("/p/demo/streams/base/images/{}", digest(3));
    let packages = format!("{image}/packages");
    let compared = format!("/p/demo/streams/base/compare?from={}&to={}&tag=latest", digest(1), digest(3));
    let session_only = ["/tokens"];
    for path in
        PAGES.into_iter().chain([image.as_str(), &packages, &compared]).filter(|path| !session_only.contains(path))
    {
        let response = ada.get(path).await;
        if path.starts_with("/search") {
            // A single find is gone to at once.
            assert_eq!((response.status(), location(&response)), (StatusCode::SEE_OTHER, "/p/demo/streams/base"));
            continue;
        }
        let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
        let html = html(response, StatusCode::OK).await;
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe-inline"), "{path}: {policy}");
        assert!(html.to_lowercase().starts_with("<!doctype html>"), "{path}");
        assert!(html.contains(" — Weir</title>") && html.matches("<h1").count() == 1, "{path}: {html}");
        assert!(!html.contains(" style="), "{path} has an inline style");
        let text = text(&html);
        for slip in ["undefined", "&amp;&amp;  ", "{{", "}}", "Some(", "None", "Ok(", "Err("] {
            let fine = slip == "None" && path == "/p/demo";
            assert!(fine || !text.contains(slip), "{path} shows {slip}: {text}");
        }
    }
    weir.stop().await;
}

#[tokio::test]
async fn what_one_may_not_see_is_not_there_and_what_one_may_not_do_names_who_may() {
    let (weir, _) = demo().await;
    let anon = weir.anon().get("/p/demo/streams?q=a").await;
    assert_eq!((anon.status(), location(&anon)), (StatusCode::SEE_OTHER, "/login?next=%2Fp%2Fdemo%2Fstreams%3Fq%3Da"));
    let stranger = weir.user("eve", "other", Role::Admin).await;
    let page = html(stranger.get("/p/demo/streams").await, StatusCode::NOT_FOUND).await;
    assert!(text(&page).contains("Project demo does not exist here."), "{page}");
    assert!(!page.contains("base"));
    let viewer = weir.user("vic", "demo", Role::Viewer).await;
    weir.user("boss", "demo", Role::Admin).await;
    let page = html(viewer.get("/p/demo/streams/new").await, StatusCode::FORBIDDEN).await;
    assert!(text(&page).contains("needs the role editor") && text(&page).contains("Ask boss."), "{}", text(&page));
    let page = html(viewer.get("/p/demo/streams/base/tags/latest").await, StatusCode::OK).await;
    assert!(!page.contains("Roll back"), "a viewer gets no buttons that would be refused");
    let answer = viewer.get("/nothing/here").await;
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let page = html(answer, StatusCode::NOT_FOUND).await;
    assert!(page.contains(&id), "by its id the log is searched: {page}");
    assert!(text(&page).contains("The page /nothing/here does not exist here."));
    weir.stop().await;
}

#[tokio::test]
async fn a_hundred_streams_are_walked_by_pages() {
    let (weir, ada) = demo().await;
    let actor = Actor::person("ada");
    for n in 0..60 {
        let name = format!("s{n:03}").parse().unwrap();
        weir.store().ensure_stream("demo", &name, &actor).await.unwrap();
    }
    let first = html(ada.get("/p/demo/streams?n=25").await, StatusCode::OK).await;
    assert!(first.contains(">s022<") && !first.contains(">s023<"), "{}", text(&first));
    let next = first
        .split("href=\"")
        .find(|link| link.contains("after=s022"))
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .replace("&amp;", "&");
    let second = html(ada.get(&next).await, StatusCode::OK).await;
    assert!(second.contains(">s023<") && second.contains(">s047<") && !second.contains(">s022<"), "{}", text(&second));
    weir.stop().await;
}

#[tokio::test]
async fn users_in_projects_one_has_no_role_in_are_counted_and_not_named() {
    let (weir, ada) = demo().await;
    let actor = Actor::person("ada");
    weir.make_project("hidden").await;
    let source = Some((SourceKind::ImageStreamTag, "base:latest".to_owned()));
    let follows = TagSpec { source, source_project: Some("demo".to_owned()), ..TagSpec::default() };
    let (stream, tag) = ("spy".parse().unwrap(), "latest".parse().unwrap());
    weir.store().set_tag("hidden", &stream, &tag, &follows, None, &actor).await.unwrap();
    for path in ["/p/demo/streams/base/used-by", "/p/demo/streams/base/tags/latest/used-by"] {
        let page = html(ada.get(path).await, StatusCode::OK).await;
        assert!(page.contains("one more in a project you have no role in"), "{path}: {}", text(&page));
        assert!(!page.contains("spy"), "{path}");
    }
    weir.store().grant_role("hidden", "ada", Role::Viewer, &actor).await.unwrap();
    let page = html(ada.get("/p/demo/streams/base/tags/latest/used-by").await, StatusCode::OK).await;
    assert!(page.contains("spy") && !page.contains("one more"));
}
