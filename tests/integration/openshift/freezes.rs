//! Freezes by REST.

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::json;
use weir::model::Role;

use super::{Rest, own};

#[tokio::test]
async fn a_freeze_is_made_read_and_ended() {
    let rest = Rest::start().await;
    let now = json!({"until": "open", "reason": "an audit"});
    let made = rest.post(StatusCode::CREATED, &own("freezes"), &now).await;
    insta::assert_json_snapshot!("freeze", rest.redacted(made));
    let planned = json!({"from": "2100-01-01", "until": "2100-01-02T00:00:00+01:00", "reason": "the sale"});
    let made = rest.post(StatusCode::CREATED, &own("freezes"), &planned).await;
    assert_eq!((&made["state"], &made["until"]), (&json!("planned"), &json!("2100-01-01T23:00:00Z")));

    let page = rest.ada.get_json(&own("freezes?limit=1")).await;
    assert_eq!((&page["items"][0]["number"], &page["next"]), (&json!(2), &json!(2)));
    let older = rest.ada.get_json(&own("freezes?limit=1&before=2")).await;
    assert_eq!((&older["items"][0]["state"], &older["next"]), (&json!("in-force"), &json!(null)));
    let ended = rest.post(StatusCode::OK, &own("freezes/1/end"), &json!({})).await;
    assert_eq!((&ended["state"], &ended["endedBy"]), (&json!("over"), &json!("ada")));
    assert_eq!(rest.ada.get_json(&own("freezes/1")).await, ended);
    rest.post(StatusCode::CONFLICT, &own("freezes/1/end"), &json!({})).await;
    rest.weir.stop().await;
}

#[tokio::test]
async fn what_makes_no_freeze_is_refused_with_the_field() {
    let rest = Rest::start().await;
    for (name, body) in [
        ("no_end", json!({"reason": "the sale"})),
        ("no_reason", json!({"until": "open"})),
        ("over", json!({"until": "2001-01-01", "reason": "the sale"})),
        ("no_time", json!({"until": "soon", "reason": "the sale"})),
        ("unknown_field", json!({"until": "open", "reason": "the sale", "untill": "open"})),
    ] {
        let refused = rest.post(StatusCode::UNPROCESSABLE_ENTITY, &own("freezes"), &body).await;
        insta::assert_json_snapshot!(format!("freeze_bad_{name}"), rest.redacted(refused));
    }
    let freeze = json!({"until": "open", "reason": "the sale"});
    rest.post(StatusCode::BAD_REQUEST, &own("freezes?dry_run=1"), &freeze).await;
    rest.expect(StatusCode::NOT_FOUND, Method::GET, &own("freezes/7"), &json!({})).await;
    rest.expect(StatusCode::NOT_FOUND, Method::GET, &own("freezes/x"), &json!({})).await;
    let vic = rest.weir.user("vic", "demo", Role::Viewer).await;
    assert_eq!(vic.post(&own("freezes"), &freeze).await.status(), StatusCode::FORBIDDEN);
    rest.post(StatusCode::CREATED, &own("freezes"), &freeze).await;
    assert_eq!(vic.post(&own("freezes/1/end"), &json!({})).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(vic.get_json(&own("freezes")).await["items"][0]["reason"], "the sale");
    rest.weir.stop().await;
}
