//! How a notice is delivered: signed, under one id, tried again, sent again, and written down.

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::json;
use weir::model::Actor;

use super::{Told, document, is_signed, own};
use crate::ui::form::text;
use crate::ui::sample::{digest, push};

const MOVED: &[&str] = &["tag.pushed", "tag.rolled-back"];

#[tokio::test]
async fn b10_a_move_is_told_from_digest_to_digest_signed_and_logged() {
    let told = Told::start().await;
    let actor = Actor::person("ada");
    push(&told.weir, "base", "latest", 1, &actor).await;
    let secret = told.target(MOVED).await;
    push(&told.weir, "base", "latest", 2, &actor).await;
    push(&told.weir, "base", "latest", 2, &actor).await;
    told.weir.settle().await;

    let seen = told.receiver.seen();
    assert_eq!(seen.len(), 1, "neither what was before, nor a push that changes nothing, is news: {seen:?}");
    assert_eq!((seen[0].uri.as_str(), seen[0].method.clone()), ("/hook?room=1", Method::POST));
    assert!(is_signed(&seen[0], &secret) && !is_signed(&seen[0], "whsec_c2hvcnQ="));
    let body = document(&seen[0]);
    assert_eq!((body["type"].as_str(), body["data"]["object"].as_str()), (Some("tag.pushed"), Some("base:latest")));
    let data = &body["data"];
    assert_eq!((&data["from"]["digest"], &data["to"]["digest"]), (&json!(digest(1)), &json!(digest(2))));
    assert_eq!((&data["from"]["version"], &data["to"]["version"]), (&json!("1"), &json!("2")));
    assert_eq!(data["by"], json!({"kind": "person", "name": "ada"}));
    let link = data["link"].as_str().unwrap().strip_prefix(&told.weir.url).unwrap();
    assert_eq!(told.boss.get(link).await.status(), StatusCode::OK);

    let deliveries = told.deliveries().await;
    assert_eq!((deliveries.len(), &deliveries[0]["state"]), (1, &json!("delivered")));
    let id = deliveries[0]["id"].as_str().unwrap();
    assert_eq!(seen[0].header("webhook-id"), Some(id));
    let shown = told.boss.get_json(&own(&format!("notices/chat/deliveries/{id}"))).await;
    let attempt = &shown["log"][0];
    assert_eq!((&shown["log"].as_array().unwrap().len(), &attempt["status"]), (&1, &json!(200)));
    assert!(attempt["request"].as_str().unwrap().contains(&format!("webhook-id: {id}")), "{attempt}");
    assert!(attempt["response"].as_str().unwrap().contains("x-receiver: chat"), "{attempt}");
    assert!(attempt["response"].as_str().unwrap().ends_with("answer 200"), "{attempt}");
    let page = text(&told.boss.page(&format!("/p/demo/notices/chat/deliveries/{id}")).await);
    assert!(page.contains(id) && page.contains("x-receiver: chat") && page.contains("Resend"), "{page}");
}

#[tokio::test]
async fn what_fails_is_tried_again_under_the_same_id_with_an_entry_for_every_try() {
    let told = Told::start().await;
    let secret = told.target(MOVED).await;
    told.will_answer(&[500, 503]);
    push(&told.weir, "base", "latest", 1, &Actor::person("ada")).await;
    told.weir.settle().await;
    assert_eq!(told.receiver.seen().len(), 1, "it waits before it tries again");
    let waiting = &told.deliveries().await[0];
    assert_eq!((&waiting["state"], &waiting["lastAnswer"]), (&json!("waiting"), &json!("500")));
    assert!(waiting["nextAt"].is_string());
    for _ in 0..2 {
        told.weir.hurry_notices().await;
        told.weir.settle().await;
    }
    let seen = told.receiver.seen();
    assert_eq!(seen.len(), 3);
    for again in &seen {
        assert_eq!((again.header("webhook-id"), &again.body), (seen[0].header("webhook-id"), &seen[0].body));
        assert!(is_signed(again, &secret));
    }
    let delivered = &told.deliveries().await[0];
    assert_eq!((&delivered["state"], &delivered["attempts"]), (&json!("delivered"), &json!(3)));
    let id = delivered["id"].as_str().unwrap();
    let log = told.boss.get_json(&own(&format!("notices/chat/deliveries/{id}"))).await["log"].clone();
    let statuses: Vec<_> = log.as_array().unwrap().iter().map(|attempt| attempt["status"].clone()).collect();
    assert_eq!(statuses, [200, 503, 500]);
}

#[tokio::test]
async fn after_the_last_attempt_it_is_given_up_and_a_person_may_send_it_again() {
    let told = Told::start().await;
    told.target(MOVED).await;
    told.will_answer(&[410; 12]);
    push(&told.weir, "base", "latest", 1, &Actor::person("ada")).await;
    for _ in 0..14 {
        told.weir.settle().await;
        told.weir.hurry_notices().await;
    }
    assert_eq!(told.receiver.seen().len(), 12);
    let given_up = &told.deliveries().await[0];
    assert_eq!((&given_up["state"], &given_up["nextAt"]), (&json!("failed"), &json!(null)));
    let page = text(&told.boss.page("/p/demo/notices/chat").await);
    assert!(page.contains("Given up") && page.contains("Fails"), "{page}");

    let id = given_up["id"].as_str().unwrap();
    let to = told.boss.done(&format!("/p/demo/notices/chat/deliveries/{id}/resend"), &[]).await;
    assert_eq!(to, format!("/p/demo/notices/chat/deliveries/{id}"));
    told.weir.settle().await;
    let seen = told.receiver.seen();
    assert_eq!((seen.len(), seen[12].header("webhook-id")), (13, Some(id)));
    assert_eq!(told.deliveries().await[0]["state"], "delivered");
    let resent = told.boss.post(&own(&format!("notices/chat/deliveries/{id}/resend")), &json!({})).await;
    assert_eq!(resent.status(), StatusCode::ACCEPTED, "also what arrived may be sent again");
    told.weir.settle().await;
    assert_eq!(told.receiver.seen().len(), 14);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed() {
    let told = Told::start().await;
    told.target(MOVED).await;
    told.will_answer(&[307]);
    push(&told.weir, "base", "latest", 1, &Actor::person("ada")).await;
    told.weir.settle().await;
    let paths: Vec<_> = told.receiver.seen().iter().map(|seen| seen.path().to_owned()).collect();
    assert_eq!(paths, ["/hook"]);
    let id = told.deliveries().await[0]["id"].as_str().unwrap().to_owned();
    let shown = told.boss.get_json(&own(&format!("notices/chat/deliveries/{id}"))).await;
    assert!(shown["log"][0]["problem"].as_str().unwrap().contains("redirects are not followed"), "{shown}");
}

#[tokio::test]
async fn a_target_turned_off_is_told_nothing_and_on_again_what_happens_then() {
    let told = Told::start().await;
    told.target(MOVED).await;
    let actor = Actor::person("ada");
    told.will_answer(&[500]);
    push(&told.weir, "base", "latest", 1, &actor).await;
    told.weir.settle().await;
    let path = own("notices/chat");
    let change = async |off: bool| {
        let body = json!({"url": told.url(), "kinds": MOVED, "off": off});
        told.boss.request(Method::PUT, &path).json(&body).send().await.unwrap().status()
    };
    assert_eq!(change(true).await, StatusCode::OK);
    push(&told.weir, "base", "latest", 2, &actor).await;
    told.weir.hurry_notices().await;
    told.weir.settle().await;
    assert_eq!(told.receiver.seen().len(), 1, "what waited is dropped");
    assert_eq!(told.deliveries().await[0]["state"], "dropped");
    let test = told.boss.post(&own("notices/chat/test"), &json!({})).await;
    assert_eq!(test.status(), StatusCode::CONFLICT);
    assert_eq!(change(false).await, StatusCode::OK);
    push(&told.weir, "base", "latest", 3, &actor).await;
    told.weir.settle().await;
    let seen = told.receiver.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(document(&seen[1])["data"]["to"]["digest"], json!(digest(3)));
}

#[tokio::test]
async fn a_test_goes_to_the_target_alone_that_was_asked_about() {
    let told = Told::start().await;
    told.target(MOVED).await;
    let other = json!({"name": "other", "url": told.url(), "kinds": ["tag.pushed"]});
    told.boss.post_json(&own("notices"), &other, StatusCode::CREATED).await;
    assert_eq!(told.boss.done("/p/demo/notices/chat/test", &[]).await, "/p/demo/notices/chat");
    told.weir.settle().await;
    assert_eq!(told.kinds(), ["test"]);
    assert_eq!(told.deliveries().await.len(), 1);
}
