//! `projects`, `projectrequests` and secrets.

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::json;
use weir::model::Role;

use super::{Rest, own, set_up_project};

const PROJECTS: &str = "/apis/project.openshift.io/v1/projects";
const REQUESTS: &str = "/apis/project.openshift.io/v1/projectrequests";

#[tokio::test]
async fn one_sees_ones_own_projects_and_makes_more() {
    let rest = Rest::start().await;
    set_up_project(&rest.weir, "secret-plans").await;
    let body = json!({
        "kind": "ProjectRequest", "apiVersion": "project.openshift.io/v1", "metadata": {"name": "mine"},
        "displayName": "Mine", "description": "All mine",
    });
    assert_eq!(rest.ada.get_json(REQUESTS).await["status"], "Success");
    let made = rest.post(StatusCode::CREATED, REQUESTS, &body).await;
    insta::assert_json_snapshot!("project", rest.redacted(made));
    let again = rest.post(StatusCode::CONFLICT, REQUESTS, &body).await;
    assert_eq!(again["message"], "project.project.openshift.io \"mine\" already exists");
    let list = rest.ada.get_json(PROJECTS).await;
    let names: Vec<&str> =
        list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["demo", "mine"], "others' projects do not show");
    let hidden = rest.expect(StatusCode::FORBIDDEN, Method::GET, &format!("{PROJECTS}/secret-plans"), &json!({})).await;
    insta::assert_json_snapshot!("project_hidden", hidden);
    let missing = rest.expect(StatusCode::FORBIDDEN, Method::GET, &format!("{PROJECTS}/no-such"), &json!({})).await;
    assert_eq!(missing["reason"], hidden["reason"], "what is hidden and what is not there look alike");
    let admin = rest.weir.admin().await;
    let answer = admin.get(&format!("{PROJECTS}/no-such")).await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);

    // Editors change what is in a project, not whether there is one.
    rest.expect(StatusCode::FORBIDDEN, Method::DELETE, &format!("{PROJECTS}/demo"), &json!({})).await;
    rest.delete(&format!("{PROJECTS}/mine")).await;
    for name in ["Bad", "", "a.b"] {
        let body = json!({"metadata": {"name": name}});
        rest.post(StatusCode::UNPROCESSABLE_ENTITY, REQUESTS, &body).await;
    }
}

#[tokio::test]
async fn secrets_go_in_and_never_come_out() {
    let rest = Rest::start().await;
    let body =
        json!({"name": "hub", "kind": "registry", "host": "docker.io", "username": "u", "password": "hunter2hunter2"});
    let refused = rest.post(StatusCode::FORBIDDEN, &own("secrets"), &body).await;
    assert!(!refused.to_string().contains("hunter2"));
    let owner = rest.weir.user("olga", "demo", Role::Admin).await;
    owner.post_json(&own("secrets"), &body, StatusCode::CREATED).await;
    let list = owner.get_json(&own("secrets")).await;
    insta::assert_json_snapshot!("secrets", rest.redacted(list));
    let bad = json!({"name": "hub2", "kind": "registry", "host": "docker.io", "username": "u", "password": 5_550_123});
    let refused = owner.post_json(&own("secrets"), &bad, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert!(!refused.to_string().contains("5550123"), "a secret is never quoted: {refused}");
    let deleted = owner.request(Method::DELETE, &own("secrets/hub")).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
}
