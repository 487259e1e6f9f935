//! What streams keep of their histories, and what becomes of the rest.

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use weir::model::Role;
use weir::server::collector::Collector;

use super::apps::with_trigger;
use super::{Rest, apps, digest, own};
use crate::support::Client;

async fn put(client: &Client, stream: &str, query: &str, rule: &Value) -> (StatusCode, Value) {
    let path = own(&format!("streams/{stream}/retention{query}"));
    let answer = client.request(Method::PUT, &path).json(rule).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

/// A pass so many days from now.
async fn collect(rest: &Rest, days: i64) {
    let collector = Collector::new(rest.weir.store().clone(), rest.weir.state.blobs.clone());
    let day = 24 * 60 * 60 * 1000;
    let moment = rest.weir.store().moment(weir::model::now() + days * day, day);
    let report = collector.pass(&moment, &CancellationToken::new()).await.unwrap();
    assert!(report.complete && report.failed.is_empty(), "{report:?}");
}

#[tokio::test]
async fn a_rule_shows_what_goes_and_what_went_stays_in_the_history() {
    let rest = Rest::start().await;
    let admin = rest.weir.user("root", "demo", Role::Admin).await;
    for n in 1..=3 {
        rest.push("base", "latest", n).await;
    }
    let none = rest.ada.get_json(&own("streams/base/retention")).await;
    assert_eq!(none["rule"], json!({"keepVersions": null, "keepDays": null, "untaggedDays": null}));
    collect(&rest, 3).await;
    collect(&rest, 6).await;
    assert_eq!(rest.weir.store().list_image_digests("", 10).await.unwrap().len(), 3, "without a rule all stays");

    let rule = json!({"keepVersions": 1});
    let (status, dry) = put(&admin, "base", "?dry_run=1", &rule).await;
    assert_eq!(status, StatusCode::OK, "{dry:#}");
    let goes = |kind: &str| -> Vec<Value> {
        let rows = dry["goes"].as_array().unwrap().iter();
        rows.filter(|row| row["kind"] == kind).map(|row| row["digest"].clone()).collect()
    };
    assert_eq!(goes("manifest"), [json!(digest(1)), json!(digest(2))]);
    assert_eq!(goes("image"), goes("manifest"));
    assert_eq!((goes("blob").len(), &dry["bytes"]), (0, &json!(0)), "the third image has the same layer");
    let still = rest.ada.get_json(&own("streams/base/retention")).await;
    assert_eq!(still["rule"]["keepVersions"], Value::Null, "a dry run sets nothing");

    assert_eq!(put(&admin, "base", "", &rule).await.0, StatusCode::OK);
    collect(&rest, 3).await;
    let history = rest.ada.get_json(&own("streams/base/tags/latest/history")).await;
    assert_eq!(history["items"].as_array().unwrap().len(), 3);
    collect(&rest, 4).await;
    assert_eq!(rest.weir.store().list_image_digests("", 10).await.unwrap(), [digest(3)]);
    let history = rest.ada.get_json(&own("streams/base/tags/latest/history")).await;
    assert_eq!(history["items"].as_array().unwrap().len(), 3, "the rows stay");
    let oldest = &history["items"][2];
    assert_eq!((&oldest["digest"], &oldest["gone"]), (&json!(digest(1)), &json!(true)));
    assert_eq!(history["items"][0]["gone"], Value::Null);
    let back = own("streams/base/tags/latest/rollback");
    let refused = rest.post(StatusCode::CONFLICT, &back, &json!({"to": oldest["sequence"]})).await;
    assert!(refused["message"].as_str().unwrap().contains("is gone"), "{refused:#}");
}

#[tokio::test]
async fn a_rule_that_breaks_an_apps_way_back_is_refused_with_its_name() {
    let rest = Rest::start().await;
    let admin = rest.weir.user("root", "demo", Role::Admin).await;
    rest.push("app", "latest", 1).await;
    let from = json!({"kind": "ImageStreamTag", "name": "app:latest"});
    let field = "spec.template.spec.containers[?(@.name==\"web\")].image";
    let web = with_trigger("web", &json!({"from": from, "fieldPath": field}));
    rest.post(StatusCode::CREATED, &apps("deployments"), &web).await;
    rest.weir.settle().await;
    for n in 2..=3 {
        rest.push("app", "latest", n).await;
        rest.weir.settle().await;
    }
    for query in ["", "?dry_run=1"] {
        let (status, refused) = put(&admin, "app", query, &json!({"keepVersions": 0, "keepDays": 0})).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused:#}");
        assert!(refused["message"].as_str().unwrap().contains("web could not go back"), "{refused:#}");
    }
    let (status, rule) = put(&admin, "app", "", &json!({"keepVersions": 3, "keepDays": 0})).await;
    assert_eq!(status, StatusCode::OK, "{rule:#}");
    let (status, _) = put(&rest.ada, "app", "", &json!({})).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "editors do not decide what is forgotten");
    let (status, wrong) = put(&admin, "app", "", &json!({"keepVersions": -1})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong:#}");
    for n in 4..=5 {
        rest.push("app", "latest", n).await;
        rest.weir.settle().await;
    }
    collect(&rest, 3).await;
    collect(&rest, 6).await;
    let left = rest.weir.store().list_image_digests("", 10).await.unwrap();
    assert_eq!(left.len(), 5, "the app's last five versions stay, whatever the stream's rule says");
}
