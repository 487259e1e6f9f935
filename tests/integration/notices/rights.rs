//! Who may see and set where notices go, and where they may not go.

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::json;
use weir::model::Role;

use super::{Told, own};
use crate::support::TestWeir;
use crate::ui::form::{error_at, text};

#[tokio::test]
async fn notices_are_the_admins_alone() {
    let told = Told::start().await;
    told.target(&["tag.pushed"]).await;
    for (name, role) in [("ed", Role::Editor), ("vic", Role::Viewer)] {
        let client = told.weir.user(name, "demo", role).await;
        for page in ["notices", "notices/new", "notices/chat", "notices/chat/edit"] {
            assert_eq!(client.get(&format!("/p/demo/{page}")).await.status(), StatusCode::FORBIDDEN, "{name} {page}");
        }
        for path in ["notices", "notices/chat", "notices/chat/deliveries"] {
            assert_eq!(client.get(&own(path)).await.status(), StatusCode::FORBIDDEN, "{name} {path}");
        }
        let body = json!({"name": "x", "url": told.url(), "kinds": ["tag.pushed"]});
        for (method, path) in [
            (Method::POST, "notices"),
            (Method::PUT, "notices/chat"),
            (Method::DELETE, "notices/chat"),
            (Method::POST, "notices/chat/test"),
            (Method::POST, "notices/chat/secret"),
            (Method::POST, "notices/chat/deliveries/1/resend"),
        ] {
            let answer = client.request(method.clone(), &own(path)).json(&body).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{name} {method} {path}");
        }
        let refused = client.send("/p/demo/notices/chat/test", &[]).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        assert!(!text(&client.page("/p/demo/settings").await).contains("where notices go"));
    }
    let stranger = told.weir.user("eve", "other", Role::Admin).await;
    assert_eq!(stranger.get("/p/demo/notices").await.status(), StatusCode::NOT_FOUND);
    assert!(text(&told.boss.page("/p/demo/settings").await).contains("where notices go"));
}

#[tokio::test]
async fn a_secret_is_shown_once_and_never_stored_in_clear_or_logged() {
    let told = Told::start().await;
    let fields = [("name", "chat"), ("url", &told.url()), ("on", "on"), ("tag.pushed", "on")];
    let made = told.boss.send("/p/demo/notices/new", &fields).await;
    assert_eq!(made.status, StatusCode::OK);
    let words = text(&made.page);
    let secret = words.split_whitespace().find(|word| word.starts_with("whsec_")).unwrap().to_owned();
    for path in ["/p/demo/notices", "/p/demo/notices/chat", "/p/demo/notices/chat/edit", "/p/demo/activity"] {
        assert!(!told.boss.page(path).await.contains(&secret), "{path}");
    }
    assert!(!told.boss.get_json(&own("notices/chat")).await.to_string().contains("secret"));
    let activity = told.boss.get_json(&own("activity")).await.to_string();
    assert!(activity.contains("notice.create") && !activity.contains("room=1"), "the ledger names the host alone");

    let again = told.boss.send("/p/demo/notices/chat/secret", &[]).await;
    assert!(again.status == StatusCode::OK && !again.page.contains(&secret) && again.page.contains("whsec_"));
    let own_secret = json!({"secret": "too short"});
    let refused = told.boss.post_json(&own("notices/chat/secret"), &own_secret, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert!(!refused.to_string().contains("too short"), "a secret is not quoted");
}

#[tokio::test]
async fn forms_keep_what_was_typed_and_say_what_is_wrong() {
    let told = Told::start().await;
    let url = told.url();
    let none = [("name", "chat"), ("url", url.as_str()), ("on", "on")];
    let page = told.boss.refused("/p/demo/notices/new", &none, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert!(text(&page).contains("Choose at least one kind") && page.contains(&url.replace('&', "&amp;")));
    let bad = [("name", "chat"), ("url", "chat"), ("tag.pushed", "on")];
    let page = told.boss.refused("/p/demo/notices/new", &bad, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert!(error_at(&page, "url").contains("https://host/path"), "{}", text(&page));
    let new = [("name", "new"), ("url", url.as_str()), ("tag.pushed", "on")];
    let page = told.boss.refused("/p/demo/notices/new", &new, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert!(error_at(&page, "name").contains("choose another name"), "{}", text(&page));

    told.target(&["tag.pushed"]).await;
    let edit = [("url", url.as_str()), ("on", "on"), ("hold.set", "on")];
    assert_eq!(told.boss.done("/p/demo/notices/chat/edit", &edit).await, "/p/demo/notices/chat");
    assert_eq!(told.boss.get_json(&own("notices/chat")).await["kinds"], json!(["hold.set"]));
    let stale = json!({"url": url, "kinds": ["tag.pushed"], "version": 1});
    let answer = told.boss.request(Method::PUT, &own("notices/chat")).json(&stale).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CONFLICT);
    assert_eq!(told.boss.done("/p/demo/notices/chat/delete", &[]).await, "/p/demo/notices");
    assert!(text(&told.boss.page("/p/demo/notices").await).contains("Nobody is told of changes"));
    assert_eq!(told.boss.get("/p/demo/notices/chat").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_servers_own_network_is_refused_unless_the_operator_allows_it() {
    let weir = TestWeir::start().await;
    let boss = weir.user("boss", "demo", Role::Admin).await;
    for url in ["http://127.0.0.1:9/", "http://10.0.0.1/", "http://169.254.169.254/latest/meta-data", "http://[::1]/"] {
        let body = json!({"name": "chat", "url": url, "kinds": ["tag.pushed"]});
        let refused = boss.post_json(&own("notices"), &body, StatusCode::UNPROCESSABLE_ENTITY).await;
        assert!(refused["message"].as_str().unwrap().contains("--notices-to-private"), "{refused}");
    }
    // A name is looked up when it is used, for it may mean something else by then.
    let body = json!({"name": "chat", "url": "http://localhost:9/", "kinds": ["tag.pushed"]});
    boss.post_json(&own("notices"), &body, StatusCode::CREATED).await;
    boss.post(&own("notices/chat/test"), &json!({})).await;
    weir.settle().await;
    let deliveries = boss.get_json(&own("notices/chat/deliveries")).await;
    let answer = deliveries["items"][0]["lastAnswer"].as_str().unwrap();
    assert!(answer.contains("--notices-to-private"), "{deliveries}");
}
