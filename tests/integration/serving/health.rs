//! Health, readiness, and what every answer carries.

use reqwest::{Method, StatusCode};

use crate::support::TestWeir;

#[tokio::test]
async fn health_is_open_to_everyone_and_says_what_it_stands_on() {
    let weir = TestWeir::start().await;
    assert_eq!(weir.anon().get("/healthz").await.status(), StatusCode::OK);
    let ready = weir.anon().get_json("/readyz").await;
    assert_eq!(ready["ready"], true);
    for part in ["database", "blobs", "builder", "rollout", "search"] {
        assert_eq!(ready[part]["state"], "ok", "{ready}");
    }
    weir.stop().await;
}

#[tokio::test]
async fn an_engine_that_is_away_is_said_but_harms_nothing() {
    let weir = TestWeir::start().await;
    weir.engine.set_away(Some("Docker is not in swarm mode. Run: docker swarm init"));
    let ready = weir.anon().get_json("/readyz").await;
    assert_eq!(ready["ready"], true);
    assert_eq!(ready["rollout"]["state"], "failed");
    assert!(ready["rollout"]["message"].as_str().unwrap().contains("docker swarm init"), "{ready}");
}

#[tokio::test]
async fn a_search_that_is_being_filled_says_so_while_doors_are_open() {
    let weir = TestWeir::start().await;
    weir.run_sql("insert into search_pending (kind, id) values ('stream', 'of before')").await;
    let ready = weir.anon().get_json("/readyz").await;
    assert_eq!((&ready["ready"], &ready["search"]["state"]), (&true.into(), &"filling".into()));
    let admin = weir.admin().await;
    let page = admin.get("/search?q=base").await.text().await.unwrap();
    assert!(page.contains("The search is being filled after an upgrade"), "{page}");
    weir.settle().await;
    assert!(!weir.store().is_search_filling().await.unwrap());
    let page = admin.get("/search?q=base").await.text().await.unwrap();
    assert!(!page.contains("being filled"), "{page}");
    let short = admin.get("/search?q=sha256:3c8").await.text().await.unwrap();
    assert!(short.contains("at least 7 digits"), "{short}");
    let long = admin.get("/search?q=one+two+three+four").await.text().await.unwrap();
    assert!(long.contains("Only the first 3 words were looked for"), "{long}");
    weir.stop().await;
}

#[tokio::test]
async fn every_answer_names_its_request_and_guards_the_browser() {
    let weir = TestWeir::start().await;
    let answer = weir.anon().get("/healthz").await;
    let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    assert!(!header("x-request-id").is_empty());
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("referrer-policy"), "same-origin");
    assert!(header("content-security-policy").contains("frame-ancestors 'none'"));

    let given = weir.anon().request(Method::GET, "/healthz").header("x-request-id", "from-the-proxy_1");
    assert_eq!(given.send().await.unwrap().headers()["x-request-id"], "from-the-proxy_1");
    let forged = weir.anon().request(Method::GET, "/healthz").header("x-request-id", "<script>");
    assert_ne!(forged.send().await.unwrap().headers()["x-request-id"], "<script>");
}

#[tokio::test]
async fn head_of_the_root_is_html_for_browsers_only() {
    let weir = TestWeir::start().await;
    let head = weir.anon().request(Method::HEAD, "/").send().await.unwrap();
    let content_type = head.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
    assert!(content_type.is_none_or(|text| !text.starts_with("text/html")));
}

#[tokio::test]
async fn settling_ends_when_there_is_nothing_to_do() {
    let weir = TestWeir::start().await;
    weir.settle().await;
    weir.stop().await;
}

#[tokio::test]
async fn stopping_ends_controllers_and_open_connections() {
    let weir = TestWeir::live().await;
    let client = weir.anon();
    assert_eq!(client.get("/healthz").await.status(), StatusCode::OK);
    let began = std::time::Instant::now();
    weir.stop().await;
    assert!(began.elapsed().as_secs() < 8, "an idle connection does not hold the server up");
    assert!(client.request(Method::GET, "/healthz").send().await.is_err());
}
