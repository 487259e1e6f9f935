//! Import rules in Weir's own dialect, against a registry that tells its tags in pages.

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};
use weir::model::Role;

use super::{Rest, own};
use crate::upstreams::programmable::answer;
use crate::upstreams::{Upstream, lister};

fn rules(path: &str) -> String {
    own(&format!("streams/app/import-rules{path}"))
}

async fn start() -> (Rest, Upstream) {
    let rest = Rest::start().await;
    rest.push("app", "3.4", 1).await;
    (rest, lister().await)
}

/// The tags of a trial with how they stand.
fn standings(trial: &Value) -> Vec<(&str, &str)> {
    let tags = trial["selected"].as_array().expect("a list").iter();
    tags.map(|tag| (tag["tag"].as_str().unwrap(), tag["standing"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn a_rule_is_tried_made_carried_out_changed_and_forgotten() {
    let (rest, upstream) = start().await;
    let repository = format!("{}/org/app", upstream.address());
    let body = json!({"repository": repository, "patternKind": "semver", "pattern": ">=3.4, <4", "limit": 8, "insecure": true});
    let trial = rest.post(StatusCode::OK, &rules("/dry-run"), &body).await;
    assert_eq!((&trial["seen"], &trial["whole"], &trial["fitting"]), (&json!(13), &json!(true), &json!(8)));
    let mut expected: Vec<_> = ["3.11", "3.10", "3.9", "3.8", "3.7", "3.6", "3.5"].map(|tag| (tag, "new")).to_vec();
    expected.push(("3.4", "left-alone"));
    assert_eq!(standings(&trial), expected);
    assert_eq!(trial["selected"][7]["why"], "was there before");
    assert_eq!(rest.ada.get_json(&rules("")).await["items"], json!([]), "nothing is kept");
    rest.expect(StatusCode::NOT_FOUND, Method::GET, &own("streams/app/tags/3.11"), &json!({})).await;

    let made = rest.post(StatusCode::CREATED, &rules(""), &body).await;
    assert_eq!(
        (&made["name"], &made["order"], &made["listing"]["outcome"]),
        (&json!("3-4-4"), &json!("semver"), &json!("new"))
    );
    rest.weir.settle().await;
    let rule = rest.ada.get_json(&rules("/3-4-4")).await;
    let listing = &rule["listing"];
    let figures = ["seen", "fitting", "selected", "new", "leftAlone", "outcome"].map(|key| listing[key].clone());
    assert_eq!(figures, [json!(13), json!(8), json!(8), json!(7), json!(1), json!("ok")], "{rule:#}");
    assert!(listing["lastAt"].is_string() && listing["nextAt"].as_str() > listing["lastAt"].as_str(), "{listing}");
    assert_eq!(
        upstream.seen().iter().filter(|seen| seen.uri.contains("/tags/list")).count(),
        6,
        "three pages each time"
    );
    let tag = rest.weir.store().tag("demo", "app", "3.11").await.unwrap();
    assert_eq!((tag.source, tag.scheduled), (Some(format!("{repository}:3.11")), 1));
    let activity = rest.ada.get_json(&own("activity")).await;
    let set = activity["items"].as_array().unwrap().iter().find(|row| row["action"] == "tag.set").expect("a row");
    assert_eq!(set["actor"], "import rule 3-4-4");

    // The same as a change of itself: what it made is its own.
    let mut changed = body.clone();
    (changed["name"], changed["limit"]) = (json!("3-4-4"), json!(2));
    let trial = rest.post(StatusCode::OK, &rules("/dry-run"), &changed).await;
    assert_eq!(standings(&trial), [("3.11", "own"), ("3.10", "own")]);
    let path = rules("/3-4-4");
    changed["version"] = rule["version"].clone();
    let put = rest.expect(StatusCode::OK, Method::PUT, &path, &changed).await;
    assert_eq!(put["limit"], 2);
    rest.expect(StatusCode::CONFLICT, Method::PUT, &path, &changed).await;
    rest.weir.settle().await;
    assert_eq!(rest.ada.get_json(&path).await["listing"]["selected"], 2);
    // It never had an image: the upstream has lists only.
    rest.weir.store().tag("demo", "app", "3.9").await.expect_err("what was let go and is empty is gone");

    let asked = rest.post(StatusCode::ACCEPTED, &rules("/3-4-4/check"), &json!({})).await;
    assert!(asked["listing"]["nextAt"].is_string(), "{asked}");
    // What is shown is what may be sent.
    let shown = rest.ada.get_json(&path).await;
    rest.expect(StatusCode::OK, Method::PUT, &path, &shown).await;
    rest.expect(StatusCode::NO_CONTENT, Method::DELETE, &path, &json!({})).await;
    rest.expect(StatusCode::NOT_FOUND, Method::GET, &path, &json!({})).await;
    assert_eq!(rest.weir.store().tag("demo", "app", "3.11").await.unwrap().scheduled, 1, "its tags stay");
}

#[tokio::test]
async fn what_cannot_be_says_why_and_where() {
    let (rest, upstream) = start().await;
    let repository = format!("{}/org/app", upstream.address());
    for (field, words, body) in [
        ("repository", "Required value", json!({})),
        ("repository", "not a tag or ID", json!({"repository": "quay.io/org/app:1"})),
        ("pattern", "unclosed group", json!({"repository": "quay.io/a/b", "patternKind": "regex", "pattern": "3("})),
        (
            "pattern",
            "not a range of versions",
            json!({"repository": "quay.io/a/b", "patternKind": "semver", "pattern": ">="}),
        ),
        (
            "patternKind",
            "is not one of all, glob, regex, semver",
            json!({"repository": "quay.io/a/b", "patternKind": "like"}),
        ),
        ("order", "semver, natural", json!({"repository": "quay.io/a/b", "order": "date"})),
        ("limit", "from 1 to 1000", json!({"repository": "quay.io/a/b", "limit": 0})),
        ("listingIntervalSeconds", "once an hour", json!({"repository": "quay.io/a/b", "listingIntervalSeconds": 60})),
        ("limt", "did you mean", json!({"repository": "quay.io/a/b", "limt": 3})),
        ("name", "lowercase RFC 1123", json!({"repository": "quay.io/a/b", "name": "A b"})),
    ] {
        for path in ["", "/dry-run"] {
            let refused = rest.post(StatusCode::UNPROCESSABLE_ENTITY, &rules(path), &body).await;
            let cause = &refused["details"]["causes"][0];
            assert_eq!(cause["field"], field, "{refused:#}");
            assert!(cause["message"].as_str().is_some_and(|message| message.contains(words)), "{refused:#}");
        }
    }
    let missing = json!({"repository": format!("{}/org/none", upstream.address()), "insecure": true});
    let refused = rest.post(StatusCode::UNPROCESSABLE_ENTITY, &rules("/dry-run"), &missing).await;
    assert_eq!(refused["details"]["causes"][0]["field"], "repository", "{refused:#}");
    let body = json!({"repository": repository, "insecure": true, "name": "app"});
    rest.post(StatusCode::NOT_FOUND, &own("streams/none/import-rules"), &body).await;
    rest.post(StatusCode::CREATED, &rules(""), &body).await;
    rest.post(StatusCode::CONFLICT, &rules(""), &body).await;
    rest.post(StatusCode::BAD_REQUEST, &rules("?dry_run=1"), &body).await;

    let viewer = rest.weir.user("vera", "demo", Role::Viewer).await;
    assert_eq!(viewer.get_json(&rules("/app")).await["repository"], repository);
    assert_eq!(viewer.get_json(&rules("")).await["items"].as_array().map(Vec::len), Some(1));
    for path in ["", "/dry-run", "/app/check"] {
        viewer.post_json(&rules(path), &body, StatusCode::FORBIDDEN).await;
    }
    for method in [Method::PUT, Method::DELETE] {
        let answer = viewer.request(method, &rules("/app")).json(&body).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn a_trial_ends_though_the_list_does_not() {
    let rest = Rest::start().await;
    rest.push("app", "latest", 1).await;
    let upstream = Upstream::answering(|seen| {
        let number: u32 = seen.uri.split("last=").nth(1).and_then(|last| last.parse().ok()).unwrap_or(0) + 1;
        let link = format!("</v2/org/app/tags/list?n=1&last={number}>; rel=\"next\"");
        answer(200, &[("link", &link)], json!({"name": "org/app", "tags": [number.to_string()]}).to_string())
    })
    .await;
    let body = json!({"repository": format!("{}/org/app", upstream.address()), "insecure": true, "limit": 1});
    let trial = rest.post(StatusCode::OK, &rules("/dry-run"), &body).await;
    assert_eq!((&trial["seen"], &trial["whole"]), (&json!(100), &json!(false)), "{trial}");
    assert_eq!(standings(&trial), [("100", "new")]);
}
