//! What hurts users of other tools, each finding told as a test where no other test tells it.

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::json;
use weir::model::{Actor, EventKind};
use weir::server::store::TagMove;

use super::super::{Rest, digest, image, images, own};
use crate::upstreams::DockerRegistry;
use crate::upstreams::images::TestImage;

const STABLE: &str = "streams/app/tags/stable";

#[tokio::test]
async fn a6_what_moved_the_tag_last_is_current_whatever_its_build_date_says() {
    let rest = Rest::start().await;
    rest.push("app", "t", 1).await;
    let stream = rest.weir.store().stream("demo", "app").await.unwrap();
    let old = weir::model::NewImage { created: Some("1970-01-01T00:00:00Z".to_owned()), ..image(2) };
    let tag = "t".parse().unwrap();
    let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
    rest.weir.store().put_manifest(&stream, &old, Some(to), &Actor::person("ada")).await.unwrap();
    assert_eq!(rest.items("app", "t").await, [digest(2), digest(1)]);
    let rows = rest.ada.get_json(&own("streams/app/tags/t/history")).await;
    assert_eq!(rows["items"][0]["digest"], digest(2));
}

#[tokio::test]
async fn a7_a_range_of_versions_leaves_a_tag_where_a_person_put_it() {
    let (rest, upstream) = (Rest::start().await, DockerRegistry::start());
    let versions = ["1.2.2", "1.2.3"].map(|version| (version, TestImage::new(version)));
    for (tag, image) in &versions {
        image.push(upstream.address(), "org/app", tag).await;
    }
    rest.make("app", json!([])).await;
    let rule = json!({"name": "up", "repository": format!("{}/org/app", upstream.address()), "patternKind": "semver", "pattern": ">=1", "insecure": true});
    rest.post(StatusCode::CREATED, &own("streams/app/import-rules"), &rule).await;
    rest.weir.settle().await;
    // The way up: stable follows one version, then the next.
    for (version, _) in &versions {
        let follow = json!({"metadata": {"name": "app:stable"}, "tag": {"from": {"kind": "ImageStreamTag", "name": format!("app:{version}")}}});
        let (status, told) = rest.call(Method::PUT, &images("imagestreamtags/app:stable"), &follow).await;
        assert!(status.is_success(), "{told:#}");
    }
    let [older, newer] = versions.each_ref().map(|(_, image)| image.digest().to_string());
    assert_eq!(rest.items("app", "stable").await, [newer, older.clone()]);
    let rows = rest.ada.get_json(&own(&format!("{STABLE}/history"))).await;
    let back = json!({"to": rows["items"][1]["sequence"], "mode": "tag"});
    rest.post(StatusCode::OK, &own(&format!("{STABLE}/rollback")), &back).await;

    for scan in 0..3 {
        // Each finds the version built anew, which what follows it would take.
        TestImage::new(&format!("1.2.3 again, {scan}")).push(upstream.address(), "org/app", "1.2.3").await;
        rest.post(StatusCode::ACCEPTED, &own("streams/app/import-rules/up/check"), &json!({})).await;
        rest.post(StatusCode::OK, &own("streams/app/tags/1.2.3/check"), &json!({})).await;
        rest.weir.settle().await;
        let tag = rest.ada.get_json(&own(STABLE)).await;
        assert_eq!(tag["digest"], older, "scan {scan}: {tag:#}");
    }
    assert_eq!(rest.items("app", "1.2.3").await.len(), 4, "the version itself moved each time");
}

#[tokio::test]
async fn b2_every_row_says_who_and_what_for() {
    let (rest, upstream) = (Rest::live().await, DockerRegistry::start());
    for name in ["one", "two"] {
        let pushed = TestImage::new(name);
        pushed.push_as(Some(("ada", rest.ada.token())), rest.weir.registry(), "demo/app", "t").await;
        TestImage::new(&format!("upstream {name}")).push(upstream.address(), "org/app", "1").await;
        let from = json!({"kind": "DockerImage", "name": format!("{}/org/app:1", upstream.address())});
        let policy = json!({"insecure": true});
        let wanted = json!({"from": from, "to": {"name": "imported"}, "importPolicy": policy});
        let import = json!({"metadata": {"name": "app"}, "spec": {"import": true, "images": [wanted]}});
        let told = rest.post(StatusCode::CREATED, &images("imagestreamimports"), &import).await;
        assert_eq!(told["status"]["images"][0]["status"]["status"], "Success", "{told:#}");
        if name == "one" {
            rest.edit("app", |stream| {
                let follow = json!({"name": "follower", "from": {"kind": "ImageStreamTag", "name": "t"}});
                stream["spec"]["tags"].as_array_mut().unwrap().push(follow);
            })
            .await;
        }
    }
    let rows = rest.ada.get_json(&own("streams/app/tags/t/history")).await;
    let back = json!({"to": rows["items"][1]["sequence"], "mode": "tag"});
    rest.post(StatusCode::OK, &own("streams/app/tags/t/rollback"), &back).await;
    rest.delete(&images("imagestreamtags/app:t")).await;
    rest.push("app", "t", 1).await;

    let mut kinds = Vec::new();
    for (tag, own_cause) in [("t", "request"), ("imported", "reason"), ("follower", "cause")] {
        let rows = rest.ada.get_json(&own(&format!("streams/app/tags/{tag}/history"))).await;
        let rows = rows["items"].as_array().unwrap();
        // The last push of all went past the doors.
        for row in rows.iter().filter(|row| row["digest"] != digest(1)) {
            assert!(row["actor"].as_str().is_some_and(|actor| !actor.is_empty()), "{row:#}");
            assert!(!row[own_cause].is_null(), "{own_cause} of {row:#}");
            assert!(row["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{row:#}");
            // An import's cause is what it looked at, at the word of its actor: that is its reason.
            let caused = !row["cause"].is_null() || !row["request"].is_null();
            let imported = row["reason"].as_str().is_some_and(|reason| reason.starts_with("imported from "));
            assert!(caused || row["kind"] == "import" && imported, "{row:#}");
            kinds.push(row["kind"].as_str().unwrap().to_owned());
        }
        assert!(rows.len() >= 2, "{tag}: {rows:#?}");
    }
    kinds.sort();
    kinds.dedup();
    assert_eq!(kinds, ["api", "follow", "import", "push", "rollback"]);
}
