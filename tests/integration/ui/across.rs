//! Causes and cascades that go on into other projects, and runs that were deleted since.

use reqwest::StatusCode;
use weir::model::{Role, SourceKind};
use weir::server::store::TagSpec;

use super::form::text;
use super::work::{hours_pass, settle, story};
use crate::support::{Client, TestWeir, tester};

/// Beside the story in `demo`: `vault/stone:latest` follows `demo/base:latest`, and the build `cellar` takes it in. Gives clients of who
/// sees only demo, only vault, and both.
async fn two_projects(weir: &TestWeir) -> (Client, Client, Client) {
    let demo = story(weir).await;
    let vault = weir.user("keeper", "vault", Role::Editor).await;
    let both = weir.user("both", "vault", Role::Viewer).await;
    weir.store().grant_role("demo", "both", Role::Viewer, &tester()).await.unwrap();
    let source = Some((SourceKind::ImageStreamTag, "base:latest".to_owned()));
    let follows = TagSpec { source, source_project: Some("demo".to_owned()), ..TagSpec::default() };
    let (stream, tag) = ("stone".parse().unwrap(), "latest".parse().unwrap());
    weir.store().set_tag("vault", &stream, &tag, &follows, None, &tester()).await.unwrap();
    let fields = [("name", "cellar"), ("output", "cellar:latest"), ("dockerfile", "FROM stone\nRUN echo dig\n")];
    let triggers = [("image_trigger", "on"), ("config_trigger", "on")];
    vault.done("/p/vault/builds/new", &[&fields[..], &triggers].concat()).await;
    settle(weir).await;
    demo.done("/p/demo/builds/base/start", &[]).await;
    settle(weir).await;
    (demo, vault, both)
}

#[tokio::test]
async fn a_runs_page_is_there_when_a_run_that_led_to_it_was_deleted() {
    let weir = TestWeir::start().await;
    let client = story(&weir).await;
    client.done("/p/demo/builds/httpd-base/start", &[]).await;
    settle(&weir).await;
    let moment = hours_pass(&weir).await;
    let kept = urlencoding::encode(&moment);
    weir.store().delete_build("demo", "httpd-base", 2, &tester()).await.unwrap();
    let page = client.page("/p/demo/builds/app-a/runs/2").await;
    let words = text(&page);
    assert!(words.contains("build of httpd-base:latest") && words.contains("this run"), "{words}");
    assert!(!page.contains("builds/httpd-base/runs/2"), "{words}");
    let then = client.page(&format!("/p/demo/builds/app-a/runs/2?as-of={moment}")).await;
    assert!(then.contains(&format!("builds/httpd-base/runs/2?as-of={kept}")), "{}", text(&then));
    for path in ["history", "tags/latest"] {
        let history = client.page(&format!("/p/demo/streams/httpd-base/{path}?as-of={moment}")).await;
        assert!(history.contains(&format!("builds/httpd-base/runs/2?as-of={kept}")), "{path}: {}", text(&history));
    }
    weir.stop().await;
}

#[tokio::test]
async fn a_run_tells_of_other_projects_what_its_reader_may_see() {
    let weir = TestWeir::start().await;
    let (_, vault, both) = two_projects(&weir).await;
    let newest = weir.store().list_project_builds("vault", None, 1).await.unwrap().remove(0);
    assert_eq!(newest.cascade_number, None, "the cascade is one of demo");
    let path = format!("/p/vault/builds/cellar/runs/{}", newest.number);
    for client in [&vault, &both] {
        let page = client.page(&path).await;
        let words = text(&page);
        assert!(page.contains("href=\"/p/vault/streams/stone/tags/latest\""), "{words}");
        assert!(!page.contains("/p/vault/streams/base") && !page.contains("/p/vault/cascades/"), "{words}");
    }
    let hidden = vault.page(&path).await;
    assert!(text(&hidden).contains("one more in a project you have no role in"), "{}", text(&hidden));
    for secret in ["base:latest", "base #", "developer"] {
        assert!(!text(&hidden).contains(secret), "{secret}: {}", text(&hidden));
    }
    let seen = both.page(&path).await;
    assert!(text(&seen).contains("demo/base:latest") && text(&seen).contains("base #2"), "{}", text(&seen));
    assert!(
        seen.contains("/p/demo/streams/base/tags/latest") && seen.contains("/p/demo/builds/base/runs/2"),
        "{}",
        text(&seen)
    );
    assert!(!text(&seen).contains("you have no role in"), "{}", text(&seen));
    let history = vault.page("/p/vault/streams/stone/history").await;
    // That it was set to follow began a cascade of vault; that it followed belongs to one of demo.
    assert_eq!(history.matches("/p/vault/cascades/").count(), 1, "{}", text(&history));
    weir.stop().await;
}

#[tokio::test]
async fn a_cascade_shows_or_counts_its_steps_in_other_projects() {
    let weir = TestWeir::start().await;
    let (demo, _, both) = two_projects(&weir).await;
    let number = weir.store().list_cascades("demo", None, 1).await.unwrap()[0].number;
    for path in [format!("/p/demo/cascades/{number}"), format!("/p/demo/cascades/{number}/cancel")] {
        let words = text(&demo.page(&path).await);
        assert!(words.contains("one more in a project you have no role in") && !words.contains("cellar"), "{words}");
    }
    let seen = both.page(&format!("/p/demo/cascades/{number}")).await;
    assert!(seen.contains("/p/vault/builds/cellar/runs/") && !seen.contains("you have no role in"), "{}", text(&seen));
    weir.stop().await;
}

#[tokio::test]
async fn a_cascade_of_then_shows_or_counts_all_that_it_had_done() {
    let weir = TestWeir::start().await;
    let (demo, _, both) = two_projects(&weir).await;
    let moment = hours_pass(&weir).await;
    weir.store().delete_config("vault", "cellar", &tester()).await.unwrap();
    weir.store().delete_stream("vault", "cellar", &tester()).await.unwrap();
    let number = weir.store().list_cascades("demo", None, 1).await.unwrap()[0].number;
    let path = format!("/p/demo/cascades/{number}?as-of={moment}");
    let page = demo.page(&path).await;
    let words = text(&page);
    assert!(words.contains("one more in a project you have no role in"), "a step: {words}");
    assert!(words.contains("2 more in projects you have no role in"), "two moves: {words}");
    assert!(!words.contains("cellar") && !words.contains("stone"), "{words}");
    assert!(!page.contains("data-label=\"Step\"") && page.contains("data-label=\"Took\""), "there is no plan of then");
    let step = |name: &str| page.find(&format!("/p/demo/builds/{name}/runs/2")).expect("a step");
    assert!(step("base") < step("httpd-base") && step("httpd-base") < step("app-a"), "{words}");
    let seen = both.page(&path).await;
    let words = text(&seen);
    assert!(words.contains("vault/stone:latest") && words.contains("vault/cellar:latest"), "{words}");
    assert!(seen.contains("/p/vault/builds/cellar/runs/") && !words.contains("you have no role in"), "{words}");
    let rest = demo.get_json(&format!("/weir/v1/projects/demo/cascades/{number}?as_of={moment}")).await;
    assert!(!rest.to_string().contains("stone") && !rest.to_string().contains("cellar"), "{rest:#}");
    weir.stop().await;
}

#[tokio::test]
async fn a_run_that_was_queued_had_taken_in_nothing() {
    let weir = TestWeir::start().await;
    let client = story(&weir).await;
    client.done("/p/demo/builds/httpd-base/start", &[]).await;
    let moment = hours_pass(&weir).await;
    let now = client.page("/p/demo/streams/base/used-by").await;
    assert!(now.contains("httpd-base"), "{}", text(&now));
    settle(&weir).await;
    let run = client.page(&format!("/p/demo/builds/httpd-base/runs/2?as-of={moment}")).await;
    let words = text(&run);
    assert!(words.contains("It had taken in nothing yet.") && !run.contains("streams/base/tags/latest"), "{words}");
    let users = text(&client.page(&format!("/p/demo/streams/base/used-by?as-of={moment}")).await);
    assert!(users.contains("No build had taken it in") && !users.contains("httpd-base"), "{users}");
    assert_eq!(client.get("/p/demo/builds/httpd-base/runs/2").await.status(), StatusCode::OK);
    weir.stop().await;
}
