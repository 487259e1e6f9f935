//! Apps that were rolled back: they stay, say so, and come forward when somebody wants them to.

use axum::http::Method;
use serde_json::json;

use super::{Site, digest};
use crate::openshift::{apps, builds};
use crate::ui::form::text;

const PAGE: &str = "/p/demo/apps/web";

/// Five images in ten minutes change nothing of what a person decided.
#[tokio::test]
async fn a1_an_app_that_was_rolled_back_stays_while_five_images_come_and_minutes_pass() {
    let site = Site::start().await;
    site.came([2]).await;
    site.roll_back(1).await;
    for n in 3..=7 {
        // Two minutes pass: to the server it is two minutes longer ago that somebody decided.
        for statement in [
            "update holds set since = since - 120000",
            "update rollouts set created_at = created_at - 120000, finished_at = finished_at - 120000",
            "update tags set moved_at = moved_at - 120000",
        ] {
            site.rest.weir.run_sql(statement).await;
        }
        site.came([n]).await;
        assert_eq!(site.running().await, [digest(1), digest(1)], "image {n} came");
        assert_eq!(site.rollouts().await.len(), 3, "image {n} came");
    }
    let held = text(&site.rest.ada.page(PAGE).await);
    assert!(held.contains("Held by ada 10 minutes ago"), "{held}");
    site.rest.weir.stop().await;
}

#[tokio::test]
async fn a2_a_rollback_is_one_rollout_to_the_very_image_of_the_row() {
    let site = Site::start().await;
    site.came([2, 3]).await;
    // Its tag moves while nobody looks: the row says what it says.
    site.push(4).await;
    let before = site.rollouts().await;
    let row = before.iter().find(|rollout| rollout["number"] == 2).expect("the row").clone();
    site.roll_back(2).await;
    let after = site.rollouts().await;
    assert_eq!(after.len(), before.len() + 1, "{after:#?}");
    assert_eq!((&after[0]["kind"], &after[0]["toNumber"]), (&json!("rollback"), &json!(2)));
    assert_eq!(after[0]["digest"], row["digest"]);
    assert_eq!(site.running().await, [digest(2), digest(2)]);
    site.rest.weir.stop().await;
}

#[tokio::test]
async fn a3_what_was_rolled_back_says_held_with_a_way_to_resume_wherever_it_is_listed() {
    let site = Site::start().await;
    site.came([2]).await;
    site.roll_back(1).await;
    site.rest.ada.done(&format!("{PAGE}/explain"), &[("reason", "it was slow")]).await;
    let banner = text(&site.rest.ada.page(PAGE).await);
    for words in ["Held by ada", "Reason: it was slow", "Resume"] {
        assert!(banner.contains(words), "{words}: {banner}");
    }
    let row = site.row("/p/demo/apps", PAGE).await;
    assert!(row.contains(&format!("action=\"{PAGE}/resume\"")), "{row}");
    let words = text(&row);
    assert!(words.contains("Held by ada: it was slow") && words.contains("Resume"), "{words}");

    let tag = "/p/demo/streams/app/tags/latest";
    let rows = crate::ui::sample::sequences(&site.rest.weir, "app", "latest").await;
    site.rest.ada.done(&format!("{tag}/rollback"), &[("to", &rows[1].to_string())]).await;
    let row = site.row("/p/demo/streams/app", tag).await;
    assert!(row.contains(&format!("action=\"{tag}/resume\"")), "{row}");
    assert!(text(&row).contains("Held by ada"), "{}", text(&row));

    site.rest.ada.done(&format!("{PAGE}/resume"), &[]).await;
    let row = text(&site.row("/p/demo/apps", PAGE).await);
    assert!(!row.contains("Held") && !row.contains("Resume"), "{row}");
    site.rest.weir.stop().await;
}

#[tokio::test]
async fn a4_a_held_app_is_deployed_by_hand_once_and_stays_held() {
    let site = Site::start().await;
    site.came([2]).await;
    site.roll_back(1).await;
    site.came([3]).await;
    assert!(text(&site.rest.ada.page(PAGE).await).contains("Deploy newest now"));
    let before = site.rollouts().await.len();
    site.rest.ada.done(&format!("{PAGE}/deploy"), &[]).await;
    site.settle().await;
    let after = site.rollouts().await;
    assert_eq!((after.len(), &after[0]["digest"]), (before + 1, &json!(digest(3))), "{after:#?}");
    assert_eq!(after[0]["kind"], "manual");
    assert_eq!(site.running().await, [digest(3), digest(3)]);
    assert_eq!(site.app().await["hold"]["actor"], "ada", "the hold remains");
    site.came([4]).await;
    assert_eq!(site.running().await, [digest(3), digest(3)], "and holds");
    site.rest.weir.stop().await;
}

#[tokio::test]
async fn a8_what_is_newer_is_offered_while_an_app_is_held_and_not_applied() {
    let site = Site::start().await;
    site.rest.ada.done(&format!("{PAGE}/hold"), &[]).await;
    let words = text(&site.rest.ada.page(PAGE).await);
    assert!(words.contains("Nothing newer waits") && !words.contains("1 newer waiting"), "{words}");
    site.came([2, 3]).await;
    assert_eq!(site.running().await, [digest(1), digest(1)]);
    for words in [text(&site.rest.ada.page(PAGE).await), text(&site.row("/p/demo/apps", PAGE).await)] {
        assert!(words.contains("1 newer waiting") && words.contains("Resume"), "{words}");
    }
    site.rest.ada.done(&format!("{PAGE}/resume"), &[]).await;
    site.settle().await;
    assert_eq!(site.running().await, [digest(3), digest(3)], "the newest is what waited");
    site.rest.weir.stop().await;
}

/// `pause` is not `paused`: who writes it learns so, instead of wondering why automation goes on; and a flag in quotes is a flag.
#[tokio::test]
async fn a11_a_slip_in_a_setting_is_refused_at_its_place_with_what_was_meant() {
    let site = Site::start().await;
    let app = |setting: serde_json::Value| {
        let mut trigger = json!({"from": {"kind": "ImageStreamTag", "name": "app:latest"},
            "fieldPath": "spec.template.spec.containers[0].image"});
        trigger.as_object_mut().unwrap().extend(setting.as_object().unwrap().clone());
        json!({
            "metadata": {"name": "other", "annotations": {"image.openshift.io/triggers": json!([trigger]).to_string()}},
            "spec": {"selector": {"matchLabels": {"app": "other"}}, "template": {
                "metadata": {"labels": {"app": "other"}}, "spec": {"containers": [{"name": "web", "image": " "}]}}},
        })
    };
    let config = |setting: serde_json::Value| {
        json!({
            "metadata": {"name": "other"},
            "spec": {"source": {"dockerfile": "FROM app:latest\n"}, "strategy": {"dockerStrategy": {}},
                "output": {"to": {"kind": "ImageStreamTag", "name": "other:latest"}},
                "triggers": [{"type": "ImageChange", "imageChange": setting}]},
        })
    };
    let (apps, configs) = (apps("deployments"), builds("buildconfigs"));
    for (path, body, field) in [
        (&apps, app(json!({"pause": true})), "metadata.annotations[image.openshift.io/triggers][0].pause"),
        (&configs, config(json!({"pause": true})), "spec.triggers[0].imageChange.pause"),
    ] {
        let refused = site.refused(Method::POST, path, &body).await;
        let cause = &refused["details"]["causes"][0];
        assert_eq!(cause["field"], field, "{refused:#}");
        assert_eq!(cause["message"], "unknown field, did you mean \"paused\"?", "{refused:#}");
    }
    site.refused(Method::POST, &apps, &app(json!({"paused": "no"}))).await;
    for (path, body) in [(&apps, app(json!({"paused": "true"}))), (&configs, config(json!({"paused": "true"})))] {
        site.rest.post(reqwest::StatusCode::CREATED, path, &body).await;
    }
    let (app, config) = (
        site.rest.weir.store().app("demo", "other").await.unwrap(),
        site.rest.weir.store().config("demo", "other").await.unwrap(),
    );
    assert_eq!((app.automatic, config.paused_at.is_some()), (0, true), "a flag in quotes is a flag");
    site.rest.weir.stop().await;
}
