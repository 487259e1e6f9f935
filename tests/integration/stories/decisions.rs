//! What a person decided outlasts every automation: each of the seven that move tags meets a rejected digest, and a hold; and the ways in
//! which these end.

mod site;

use reqwest::Method;
use serde_json::json;
use weir::model::{EventKind, HoldUntil, Outcome};

use self::site::{MOVERS, Mover, Site};
use crate::support::tester;
use crate::upstreams::images::TestImage;

#[tokio::test]
async fn a5_no_mover_puts_a_rejected_image_back() {
    let (good, bad) = (TestImage::new("good"), TestImage::new("bad"));
    let site = Site::with_history(&[&good, &bad]).await;
    for mover in MOVERS {
        site.roll_back(mover, &good).await;
        assert_eq!(site.resume(mover).await, None, "{mover:?}: nothing waited");
        if mover != Mover::Restore {
            // The schedule has seen the bad one: it comes to it anew.
            site.offer(mover, &good).await;
        }
        let rows = site.history(mover).await.len();
        site.offer(mover, &bad).await;
        site.assert_points_to(mover, &good).await;
        site.assert_skipped(mover, &bad, Outcome::Rejected).await;
        assert_eq!(site.history(mover).await.len(), rows + 1, "{mover:?}: one row says so");
        // Again: what was said is not said again.
        site.offer(mover, &good).await;
        site.offer(mover, &bad).await;
        assert_eq!(site.history(mover).await.len(), rows + 1, "{mover:?}: it is said once");
        site.assert_points_to(mover, &good).await;
    }
    let skipped = async |mover| site.history(mover).await.iter().filter(|row| row.outcome == Outcome::Rejected).count();
    let mut all = 0;
    for mover in MOVERS {
        all += skipped(mover).await;
    }
    assert_eq!(all, 7);

    // Another image is no concern of the rejection, and a person may put the rejected one back.
    for mover in MOVERS.into_iter().filter(|mover| *mover != Mover::Restore) {
        let new = TestImage::new("new");
        site.offer(mover, &new).await;
        site.assert_points_to(mover, &new).await;
    }
    for mover in MOVERS {
        site.roll_back(mover, &bad).await;
        site.assert_points_to(mover, &bad).await;
        site.resume(mover).await;
        let tag = site.weir.store().tag("demo", &mover.stream(), "latest").await.expect("the tag");
        let rejected = site.weir.store().list_rejected(&tag.id).await.expect("asked");
        assert!(rejected.iter().all(|one| one.digest != bad.digest().as_str()), "{mover:?}: {rejected:?}");
    }
    site.weir.stop().await;
}

#[tokio::test]
async fn no_mover_moves_a_held_tag_and_what_waits_comes_when_somebody_resumes() {
    let (old, now, new) = (TestImage::new("old"), TestImage::new("now"), TestImage::new("new"));
    let site = Site::with_history(&[&new, &old, &now]).await;
    for mover in MOVERS {
        let stream = mover.stream();
        site.weir.store().hold_tag("demo", &stream, "latest", Some("wait"), &tester()).await.expect("held");
        let waits = site.weir.store().tag("demo", &stream, "latest").await.expect("the tag");
        assert_eq!(site.weir.store().tag_waiting(&waits.id).await.expect("asked"), None, "{mover:?}");
        for image in [&old, &new] {
            site.offer(mover, image).await;
            site.assert_points_to(mover, &now).await;
            site.assert_skipped(mover, image, Outcome::Held).await;
        }
        let waiting = site.weir.store().tag_waiting(&waits.id).await.expect("asked").expect("it is shown");
        assert_eq!(waiting.digest, Some(new.digest().to_string()), "{mover:?}: the newest waits");
        assert_eq!(site.resume(mover).await, Some(Outcome::Moved), "{mover:?}");
        site.assert_points_to(mover, &new).await;
        let newest = site.history(mover).await.remove(0);
        assert_eq!((newest.kind, newest.cause), (EventKind::Api, Some(waiting.sequence)), "{mover:?}: it says why");
        site.offer(mover, &old).await;
        site.assert_points_to(mover, &old).await;
    }
    site.weir.stop().await;
}

#[tokio::test]
async fn a_hold_and_a_rejection_end_with_the_rollback_that_made_them() {
    let (good, bad) = (TestImage::new("good"), TestImage::new("bad"));
    let site = Site::with_history(&[&good, &bad]).await;
    let store = site.weir.store();
    for mover in MOVERS {
        site.roll_back(mover, &good).await;
        let cascade = site.history(mover).await[0].cascade_number.expect("a cascade");
        store.undo_cascade("demo", cascade, &tester()).await.expect("undone");
        site.assert_points_to(mover, &bad).await;
        let tag = store.tag("demo", &mover.stream(), "latest").await.expect("the tag");
        assert_eq!(store.tag_hold(&tag.id).await.expect("asked"), None, "{mover:?}");
        assert!(store.list_rejected(&tag.id).await.expect("asked").is_empty(), "{mover:?}");
    }
    // A tag that was deleted begins anew.
    site.roll_back(Mover::Push, &good).await;
    store.delete_tag("demo", "push", "latest", &tester()).await.expect("deleted");
    site.offer(Mover::Push, &bad).await;
    site.assert_points_to(Mover::Push, &bad).await;
    site.weir.stop().await;
}

#[tokio::test]
async fn a_hold_may_end_with_the_first_image_that_is_new() {
    let (old, now, new) = (TestImage::new("old"), TestImage::new("now"), TestImage::new("new"));
    let site = Site::with_history(&[&old, &now]).await;
    let store = site.weir.store();
    // Nothing new comes with a restore: it leads back.
    for mover in MOVERS.into_iter().filter(|mover| *mover != Mover::Restore) {
        let stream = mover.stream();
        store.hold_tag("demo", &stream, "latest", None, &tester()).await.expect("held");
        store.set_hold_end("demo", &stream, "latest", HoldUntil::Newer, &tester()).await.expect("set");
        site.offer(mover, &old).await;
        site.assert_points_to(mover, &now).await;
        site.assert_skipped(mover, &old, Outcome::Held).await;
        site.offer(mover, &new).await;
        site.assert_points_to(mover, &new).await;
        let tag = store.tag("demo", &stream, "latest").await.expect("the tag");
        assert_eq!(store.tag_hold(&tag.id).await.expect("asked"), None, "{mover:?}");
    }
    // What was rejected is not what the hold waits for.
    site.roll_back(Mover::Push, &now).await;
    store.set_hold_end("demo", "push", "latest", HoldUntil::Newer, &tester()).await.expect("set");
    site.offer(Mover::Push, &new).await;
    site.assert_skipped(Mover::Push, &new, Outcome::Rejected).await;
    site.offer(Mover::Push, &TestImage::new("newer")).await;
    site.assert_points_to(Mover::Push, &TestImage::new("newer")).await;
    site.weir.stop().await;
}

#[tokio::test]
async fn a_hold_may_end_on_a_date() {
    let (old, now, new) = (TestImage::new("old"), TestImage::new("now"), TestImage::new("new"));
    let site = Site::with_history(&[&old, &now]).await;
    let (store, later) = (site.weir.store(), weir::model::now() + 3_600_000);
    let held = async |stream: &str| {
        let tag = store.tag("demo", stream, "latest").await.expect("the tag");
        store.tag_hold(&tag.id).await.expect("asked").is_some()
    };
    for mover in MOVERS {
        let stream = mover.stream();
        store.hold_tag("demo", &stream, "latest", None, &tester()).await.expect("held");
        let over = store.set_hold_end("demo", &stream, "latest", HoldUntil::Date(1), &tester()).await;
        assert!(over.is_err(), "that time is over");
        store.set_hold_end("demo", &stream, "latest", HoldUntil::Date(later), &tester()).await.expect("set");
        site.offer(mover, &old).await;
        site.assert_skipped(mover, &old, Outcome::Held).await;
        assert!(held(&stream).await, "{mover:?}");
    }
    // Its time has come: what waits comes by itself.
    site.weir.run_sql("update holds set until_at = 1 where until_at is not null").await;
    site.weir.settle().await;
    for mover in MOVERS {
        assert!(!held(&mover.stream()).await, "{mover:?}");
        site.assert_points_to(mover, &old).await;
    }
    // Whatever comes first after that, with nobody having looked, comes as if nothing held the tag.
    store.hold_tag("demo", "push", "latest", None, &tester()).await.expect("held");
    store.set_hold_end("demo", "push", "latest", HoldUntil::Date(later), &tester()).await.expect("set");
    site.weir.run_sql("update holds set until_at = 1 where until_at is not null").await;
    site.push("push", &new).await;
    site.assert_points_to(Mover::Push, &new).await;
    assert!(!held("push").await);
    site.weir.stop().await;
}

#[tokio::test]
async fn what_ends_a_hold_is_said_by_rest_and_in_the_console() {
    let (old, now) = (TestImage::new("old"), TestImage::new("now"));
    let site = Site::with_history(&[&old, &now]).await;
    let path = "/weir/v1/projects/demo/streams/push/tags/latest";
    let hold = async |until: &str| site.ada.post(&format!("{path}/hold"), &json!({"until": until})).await;
    for (until, shown) in [
        ("newer", json!("newer")),
        ("2100-01-02T03:04Z", json!("2100-01-02T03:04:00Z")),
        ("resumed", serde_json::Value::Null),
    ] {
        let held: serde_json::Value = hold(until).await.json().await.expect("JSON");
        assert_eq!(held["hold"]["until"], shown, "{held:#}");
    }
    for bad in ["2001-01-01", "soon"] {
        assert_eq!(hold(bad).await.status(), 422, "{bad}");
    }
    let page = "/p/demo/streams/push/tags/latest";
    let form = [("until", "date"), ("until_at", "2100-01-02T03:04")];
    let set = site.ada.request(Method::POST, &format!("{page}/until")).form(&form).send().await.expect("an answer");
    assert_eq!(set.status(), 303);
    let told = site.ada.get(page).await.text().await.expect("a page");
    assert!(told.contains("until 2100-01-02T03:04:00Z") && told.contains("value=\"2100-01-02T03:04\""), "{told}");

    let to = site.history(Mover::Push).await.last().expect("a row").sequence;
    let back = json!({"to": to, "until": "newer"});
    assert_eq!(site.ada.post(&format!("{path}/rollback"), &back).await.status(), 200);
    let tag = site.ada.get_json(path).await;
    assert_eq!(tag["hold"]["until"], "newer");
    site.weir.stop().await;
}

#[tokio::test]
async fn what_ends_the_hold_of_an_app_is_said_there_too() {
    let (old, now) = (TestImage::new("old"), TestImage::new("now"));
    let site = Site::with_history(&[&old]).await;
    let (weir, ada) = (&site.weir, &site.ada);
    let app = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "annotations":
        {"image.openshift.io/triggers": r#"[{"from":{"kind":"ImageStreamTag","name":"push:latest"},"fieldPath":"spec.template.spec.containers[0].image"}]"#}},
        "spec": {"selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": " "}]}}}});
    let made = ada.post("/apis/apps/v1/namespaces/demo/deployments", &app).await;
    assert_eq!(made.status(), 201, "{}", made.text().await.unwrap_or_default());
    weir.settle().await;
    site.push("push", &now).await;
    weir.settle().await;

    let path = "/weir/v1/projects/demo/apps/web";
    let back = json!({"to": 1, "until": "newer"});
    assert_eq!(ada.post(&format!("{path}/rollback"), &back).await.status(), 200);
    assert_eq!(ada.get_json(path).await["hold"]["until"], "newer");
    assert_eq!(ada.post(&format!("{path}/hold"), &json!({"until": "2001-01-01"})).await.status(), 422);
    let held: serde_json::Value =
        ada.post(&format!("{path}/hold"), &json!({"until": "2100-01-02"})).await.json().await.expect("JSON");
    assert_eq!(held["hold"]["until"], "2100-01-02T00:00:00Z", "{held}");

    let page = "/p/demo/apps/web";
    let form = [("until", "date"), ("until_at", "2100-01-02T03:04")];
    let set = ada.request(Method::POST, &format!("{page}/until")).form(&form).send().await.expect("an answer");
    assert_eq!(set.status(), 303);
    let told = ada.get(page).await.text().await.expect("a page");
    assert!(told.contains("value=\"2100-01-02T03:04\""), "{told}");
    let dialog = ada.get(&format!("{page}/rollback")).await.text().await.expect("a page");
    assert!(dialog.contains("name=\"until\"") && dialog.contains("name=\"until_at\""), "{dialog}");
    site.weir.stop().await;
}
