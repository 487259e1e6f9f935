//! `usage` and `quota`.

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::json;
use weir::model::Role;
use weir::server::store::{PullCount, Pulled};

use super::{Rest, own};

#[tokio::test]
async fn a_project_tells_what_it_holds_and_who_pulls() {
    let rest = Rest::start().await;
    for (stream, n) in [("app", 1), ("base", 1), ("base", 2)] {
        rest.push(stream, "latest", n).await;
    }
    let stream = rest.weir.store().stream("demo", "base").await.unwrap();
    for _ in 0..3 {
        rest.weir.state.pulls.note(&stream.id, Pulled::Tag("latest".to_owned()));
    }
    rest.weir.settle().await;
    let usage = rest.ada.get_json(&own("usage")).await;
    insta::assert_json_snapshot!("usage", usage);
    let first = rest.ada.get_json(&own("usage?limit=1")).await;
    assert_eq!((&first["streams"][0], &first["next"]), (&usage["streams"][0], &json!("app")));
    let second = rest.ada.get_json(&own("usage?limit=1&after=app")).await;
    assert_eq!((&second["streams"][0], &second["next"]), (&usage["streams"][1], &json!(null)));
    for bad in ["limit=0", "limit=x", "limit=501"] {
        rest.expect(StatusCode::BAD_REQUEST, Method::GET, &own(&format!("usage?{bad}")), &json!({})).await;
    }
    let stranger = rest.weir.user("eve", "other", Role::Admin).await;
    assert_eq!(stranger.get(&own("usage")).await.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_tag_tells_its_days() {
    let rest = Rest::start().await;
    rest.push("app", "latest", 1).await;
    let stream = rest.weir.store().stream("demo", "app").await.unwrap();
    let today = weir::model::now() / 86_400_000;
    let pulled = Pulled::Tag("latest".to_owned());
    let pulls = [(0, 3), (1, 2), (40, 5)].map(|(ago, count)| PullCount {
        stream_id: stream.id.clone(),
        pulled: pulled.clone(),
        day: today - ago,
        count,
    });
    rest.weir.store().add_pulls(&pulls).await.unwrap();
    let path = own("streams/app/tags/latest/traffic");
    let days = rest.ada.get_json(&path).await;
    let figures: Vec<_> =
        days["items"].as_array().unwrap().iter().map(|day| (day["pulls"].as_i64(), day["pushes"].as_i64())).collect();
    assert_eq!(figures, [(Some(3), Some(1)), (Some(2), Some(0)), (Some(5), Some(0))], "{days:#}");
    assert_eq!(days["items"][0]["day"].as_str(), Some(&weir::model::rfc3339(weir::model::now())[..10]));
    let first = rest.ada.get_json(&format!("{path}?limit=1")).await;
    assert_eq!((&first["items"][0], &first["next"]), (&days["items"][0], &days["items"][0]["day"]));
    let next = first["next"].as_str().unwrap();
    let second = rest.ada.get_json(&format!("{path}?limit=1&before={next}")).await;
    assert_eq!(second["items"][0], days["items"][1]);
    for bad in ["before=yesterday", "limit=0"] {
        rest.expect(StatusCode::BAD_REQUEST, Method::GET, &format!("{path}?{bad}"), &json!({})).await;
    }
}

#[tokio::test]
async fn site_admins_alone_set_quotas() {
    let rest = Rest::start().await;
    let owner = rest.weir.user("olga", "demo", Role::Admin).await;
    let put = async |client: &crate::support::Client, body: serde_json::Value| {
        client.request(Method::PUT, &own("quota")).json(&body).send().await.unwrap()
    };
    let refused = put(&owner, json!({"bytes": 1})).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let body: serde_json::Value = refused.json().await.unwrap();
    assert_eq!(
        body["message"],
        "quotas is forbidden: User \"olga\" cannot update resource \"quotas\" in API group \"\" in the namespace \"demo\""
    );
    let admin = rest.weir.admin().await;
    assert_eq!(put(&admin, json!({"bytes": 50_000_000})).await.status(), StatusCode::OK);
    assert_eq!(rest.ada.get_json(&own("usage")).await["quota"], 50_000_000);
    for bad in [json!({}), json!({"bytes": -1}), json!({"bytes": "1 GB"}), json!({"byte": 1})] {
        assert_eq!(put(&admin, bad.clone()).await.status(), StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
    }
    let gone = admin.request(Method::DELETE, &own("quota")).send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    assert_eq!(rest.ada.get_json(&own("usage")).await["quota"], json!(null));
    let rows = rest.ada.get_json(&own("activity")).await;
    let quotas = rows["items"].as_array().unwrap().iter().filter(|row| row["action"] == "project.quota");
    let quotas: Vec<_> = quotas.map(|row| (&row["actor"], &row["from"], &row["to"])).collect();
    let (bytes, none, admin) = (json!("50000000 bytes"), json!(null), json!("admin"));
    assert_eq!(quotas, [(&admin, &bytes, &none), (&admin, &none, &bytes)]);
}

#[tokio::test]
async fn site_admins_alone_set_limits() {
    let rest = Rest::start().await;
    let owner = rest.weir.user("olga", "demo", Role::Admin).await;
    let admin = rest.weir.admin().await;
    let put = async |client: &crate::support::Client, body: serde_json::Value| {
        client.request(Method::PUT, &own("limits")).json(&body).send().await.unwrap()
    };
    let none = json!({"imageBytes": null, "streamImages": null, "streamTags": null});
    assert_eq!(rest.ada.get_json(&own("limits")).await, none);
    assert_eq!(put(&owner, json!({"streamTags": 1})).await.status(), StatusCode::FORBIDDEN);
    for bad in [json!({"streamTags": -1}), json!({"streamTags": "many"}), json!({"streamTag": 1})] {
        assert_eq!(put(&admin, bad.clone()).await.status(), StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
    }
    assert_eq!(put(&admin, json!({"streamTags": 1, "imageBytes": 5_000_000_000_i64})).await.status(), StatusCode::OK);
    let some = json!({"imageBytes": 5_000_000_000_i64, "streamImages": null, "streamTags": 1});
    assert_eq!(rest.ada.get_json(&own("limits")).await, some);

    let tag = |name: &str| json!({"name": name, "from": {"kind": "DockerImage", "name": "registry.example/x:1"}});
    let stream = json!({"metadata": {"name": "app"}, "spec": {"tags": [tag("a"), tag("b")]}});
    let path = "/apis/image.openshift.io/v1/namespaces/demo/imagestreams";
    let refused = rest.expect(StatusCode::FORBIDDEN, Method::POST, path, &stream).await;
    assert_eq!(
        refused["message"],
        "the stream demo/app may have 1 following tag: delete some or ask for a larger limit"
    );

    let gone = admin.request(Method::DELETE, &own("limits")).send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    assert_eq!(rest.ada.get_json(&own("limits")).await, none);
    rest.expect(StatusCode::CREATED, Method::POST, path, &stream).await;
}
