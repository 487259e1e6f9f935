//! `metadata.generateName`: objects that only say how their name begins.

use std::collections::BTreeSet;

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::apps::deployment;
use super::{Rest, apps, builds, images};

const REQUESTS: &str = "/apis/project.openshift.io/v1/projectrequests";
const ALPHABET: &str = "bcdfghjklmnpqrstvwxz2456789";

/// Each kind that takes it: where it is made, and one of it.
fn kinds(registry: &str) -> [(String, Value); 4] {
    let mut app = deployment("x", &format!("{registry}/demo/app:latest"));
    app["metadata"] = json!({});
    let config = json!({
        "metadata": {},
        "spec": {"source": {"dockerfile": "FROM scratch\n"}, "strategy": {"dockerStrategy": {}},
            "output": {"to": {"kind": "ImageStreamTag", "name": "out:latest"}}},
    });
    [
        (images("imagestreams"), json!({"metadata": {}})),
        (builds("buildconfigs"), config),
        (apps("deployments"), app),
        (REQUESTS.to_owned(), json!({"metadata": {}})),
    ]
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().expect("a name").to_owned()
}

#[tokio::test]
async fn a_name_is_made_where_only_its_beginning_is_given() {
    let rest = Rest::start().await;
    rest.push("app", "latest", 1).await;
    for (path, mut body) in kinds(rest.weir.registry()) {
        let mut made = BTreeSet::new();
        for _ in 0..3 {
            body["metadata"] = json!({"generateName": "nightly-"});
            let name = name(&rest.post(StatusCode::CREATED, &path, &body).await);
            let random = name.strip_prefix("nightly-").unwrap_or_else(|| panic!("{path}: {name}"));
            assert!(random.len() == 5 && random.chars().all(|c| ALPHABET.contains(c)), "{path}: {name}");
            made.insert(name);
        }
        assert_eq!(made.len(), 3, "{path}: {made:?}");

        body["metadata"] = json!({"generateName": "n".repeat(80)});
        let long = name(&rest.post(StatusCode::CREATED, &path, &body).await);
        assert!(long.len() == 63 && long.starts_with(&"n".repeat(58)), "{path}: {long}");

        body["metadata"] = json!({"name": "chosen", "generateName": "nightly-"});
        assert_eq!(name(&rest.post(StatusCode::CREATED, &path, &body).await), "chosen", "{path}: the name wins");
        let taken = rest.post(StatusCode::CONFLICT, &path, &body).await;
        assert_eq!(taken["reason"], "AlreadyExists", "{path}: {taken:#}");
        assert!(taken["details"].get("retryAfterSeconds").is_none(), "{path}: the same name again is no use");
    }
    rest.weir.stop().await;
}

#[tokio::test]
async fn what_names_nothing_or_begins_badly_is_refused_at_its_field() {
    let rest = Rest::start().await;
    rest.push("app", "latest", 1).await;
    for (path, mut body) in kinds(rest.weir.registry()) {
        for (meta, field, words) in [
            (json!({}), "metadata.name", "Required value: name or generateName is required"),
            (json!({"generateName": ""}), "metadata.name", "Required value: name or generateName is required"),
            (json!({"generateName": "Bad_"}), "metadata.generateName", "Invalid value: \"Bad_"),
        ] {
            body["metadata"] = meta;
            let refused = rest.post(StatusCode::UNPROCESSABLE_ENTITY, &path, &body).await;
            let cause = &refused["details"]["causes"][0];
            assert_eq!(cause["field"], field, "{path}: {refused:#}");
            assert!(cause["message"].as_str().unwrap().starts_with(words), "{path}: {refused:#}");
        }
    }
    rest.weir.stop().await;
}
