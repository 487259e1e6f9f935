//! Tags that are rolled back: what waits, what the dialogs tell first, and that one press is enough.

use reqwest::StatusCode;
use serde_json::json;
use weir::model::Role;

use super::Site;
use crate::openshift::{digest, own};
use crate::support::{Client, TestWeir};
use crate::ui::form::text;
use crate::ui::sample::sequences;
use crate::ui::work::{settle, story};
use crate::upstreams::images::TestImage;

#[tokio::test]
async fn a8_what_is_newer_is_offered_while_a_tag_is_held_and_not_applied() {
    let site = Site::start().await;
    let (page, tag) = ("/p/demo/streams/app/tags/latest", own("streams/app/tags/latest"));
    site.rest.ada.done(&format!("{page}/hold"), &[]).await;
    site.came([2, 3]).await;
    let told = site.rest.ada.get_json(&tag).await;
    assert_eq!((&told["digest"], &told["waiting"]["digest"]), (&json!(digest(1)), &json!(digest(3))), "{told:#}");
    let words = text(&site.rest.ada.page(page).await);
    assert!(words.contains("1 newer waiting") && words.contains("Resume"), "{words}");
    site.rest.ada.done(&format!("{page}/resume"), &[]).await;
    assert_eq!(site.rest.ada.get_json(&tag).await["digest"], digest(3));
    site.rest.weir.stop().await;
}

/// The times that a part of a page tells.
fn times(html: &str) -> usize {
    html.matches("<time datetime=").count()
}

/// The half of a dialog under a heading.
fn side<'a>(dialog: &'a str, heading: &str) -> &'a str {
    let rest = dialog.split_once(&format!("<h2>{heading}<")).unwrap_or_else(|| panic!("no {heading}: {dialog}")).1;
    rest.split("<h2>").next().unwrap()
}

/// `base` → `httpd-base` → `app-a`, which an app runs; built twice.
async fn built_twice() -> (TestWeir, Client) {
    let weir = TestWeir::start().await;
    let client = story(&weir).await;
    client.done("/p/demo/builds/base/start", &[]).await;
    settle(&weir).await;
    (weir, client)
}

#[tokio::test]
async fn a12_the_dialog_of_a_tag_has_both_digests_and_ages_and_what_is_hit() {
    let (weir, client) = built_twice().await;
    let rows = sequences(&weir, "base", "latest").await;
    let event = async |sequence: i64| weir.store().find_event(sequence).await.unwrap().unwrap().digest.unwrap();
    let (now, then) = (event(rows[0]).await, event(rows[1]).await);
    assert_ne!(now, then);
    let dialog = client.page(&format!("/p/demo/streams/base/tags/latest/rollback?to={}", rows[1])).await;
    for (heading, digest) in [("From", now), ("To", then)] {
        let side = side(&dialog, heading);
        assert!(side.contains(&digest) && times(side) == 1, "{heading}: {side}");
    }
    let words = text(&dialog);
    assert!(words.contains("2 builds run in 2 steps, then 1 app (2 replicas) rolls"), "{words}");
    weir.stop().await;
}

#[tokio::test]
async fn a12_the_dialog_of_an_app_has_both_digests_and_ages_and_what_is_hit() {
    let (weir, client) = built_twice().await;
    let app = weir.store().app("demo", "app-a").await.unwrap();
    let digest = async |number| weir.store().find_rollout(&app.id, number).await.unwrap().unwrap().digest;
    let (now, then) = (digest(2).await, digest(1).await);
    assert_ne!(now, then);
    let dialog = client.page("/p/demo/apps/app-a/rollback?to=1").await;
    for (heading, digest) in [("From", now), ("To", then)] {
        let side = side(&dialog, heading);
        assert!(side.contains(&digest) && times(side) == 1, "{heading}: {side}");
    }
    let words = text(&dialog);
    assert!(words.contains("0 builds run and 1 app rolls: 2 replicas to the older image"), "{words}");
    weir.stop().await;
}

/// Rows are digests, so that going back within one tag is the usual case.
#[tokio::test]
async fn a13_latest_goes_back_to_the_latest_before_with_one_press() {
    let weir = TestWeir::start().await;
    let ada = weir.user("ada", "demo", Role::Editor).await;
    let (old, new) = (TestImage::new("old"), TestImage::new("new"));
    for image in [&old, &new] {
        image.push_as(Some(("ada", ada.token())), weir.registry(), "demo/app", "latest").await;
    }
    let pulled = async || ada.get("/v2/demo/app/manifests/latest").await.bytes().await.unwrap();
    assert_eq!(pulled().await, new.manifest);
    let page = "/p/demo/streams/app/tags/latest";
    let rows = sequences(&weir, "app", "latest").await;
    let html = ada.page(page).await;
    let row = html.split("<tr").find(|row| row.contains(&format!("data-row=\"{}\"", rows[1]))).expect("the row before");
    // What a browser sends on a press: the form's hidden fields.
    assert!(row.contains(&format!("action=\"{page}/rollback\"")) && row.contains(">Roll back"), "{row}");
    let hidden = |name: &str| {
        let rest = row.split_once(&format!("name=\"{name}\" value=\"")).unwrap_or_else(|| panic!("no {name}: {row}")).1;
        rest.split('"').next().unwrap().to_owned()
    };
    let (to, seen) = (hidden("to"), hidden("seen"));
    let pressed = ada.send(&format!("{page}/rollback"), &[("to", &to), ("seen", &seen)]).await;
    assert_eq!((pressed.status, pressed.to.as_str()), (StatusCode::SEE_OTHER, page));
    assert_eq!(pulled().await, old.manifest, "the same tag is the image before");
    weir.stop().await;
}
