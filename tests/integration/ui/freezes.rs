//! Freezes through forms, and the strip that tells of them on every page of the project.

use reqwest::StatusCode;
use weir::model::Role;

use super::form::{error_at, text};
use super::sample::demo;

const FREEZES: &str = "/p/demo/freezes";

#[tokio::test]
async fn somebody_freezes_the_project_everybody_sees_it_and_it_is_ended() {
    let (weir, ada) = demo().await;
    let vic = weir.user("vic", "demo", Role::Viewer).await;
    assert!(text(&ada.page(FREEZES).await).contains("There was none yet."));
    assert!(!text(&vic.page(FREEZES).await).contains("Freeze the project"));
    let fields = [("reason", "the sale"), ("until", "date"), ("until_at", "2100-01-02T03:04")];
    vic.refused(FREEZES, &fields, StatusCode::FORBIDDEN).await;
    assert_eq!(ada.done(FREEZES, &fields).await, FREEZES);
    for path in ["/p/demo", "/p/demo/builds", "/p/demo/apps", "/p/demo/streams/base/tags/latest", FREEZES] {
        let page = text(&vic.page(path).await);
        assert!(page.contains("Frozen until 2100-01-02 03:04:00 UTC by ada — the sale"), "{path}: {page}");
    }
    let past = text(&vic.page("/p/demo/streams?as-of=2026-01-01T10:00Z").await);
    assert!(!past.contains("Frozen until"), "the past knows nothing of it: {past}");
    let activity = text(&vic.page("/p/demo/activity?what=freeze").await);
    assert!(activity.contains("freeze create") && activity.contains("freeze 1"), "{activity}");

    let planned = [("reason", "maintenance"), ("from", "2100-01-05T00:00"), ("until", "open")];
    ada.done(FREEZES, &planned).await;
    let list = text(&ada.page(FREEZES).await);
    for words in ["in force", "planned", "End now", "Call off", "when somebody ends it", "maintenance"] {
        assert!(list.contains(words), "{words}: {list}");
    }
    vic.refused(&format!("{FREEZES}/1/end"), &[], StatusCode::FORBIDDEN).await;
    ada.done(&format!("{FREEZES}/1/end"), &[]).await;
    ada.done(&format!("{FREEZES}/2/end"), &[]).await;
    ada.refused(&format!("{FREEZES}/2/end"), &[], StatusCode::CONFLICT).await;
    let page = ada.page("/p/demo").await;
    assert!(!text(&page).contains("Frozen until") && page.contains("data-live=\"freeze\""), "{}", text(&page));
    weir.stop().await;
}

#[tokio::test]
async fn faults_are_told_at_their_field_and_what_was_typed_stays() {
    let (weir, ada) = demo().await;
    for (fields, at, words) in [
        (vec![("until", "open")], "reason", "Say why"),
        (vec![("reason", "the sale"), ("until", "date")], "until_at", "Choose the time"),
        (vec![("reason", "the sale"), ("until_at", "2001-01-01T00:00")], "until_at", "That time is over"),
        (vec![("reason", "the sale"), ("from", "soon"), ("until", "open")], "from", "2026-12-01T12:00"),
        (
            vec![("reason", "the sale"), ("from", "2100-01-02T00:00"), ("until_at", "2100-01-01T00:00")],
            "until_at",
            "ends after it has begun",
        ),
    ] {
        let page = ada.refused(FREEZES, &fields, StatusCode::UNPROCESSABLE_ENTITY).await;
        assert!(error_at(&page, at).contains(words), "{at}: {}", error_at(&page, at));
        assert!(at == "reason" || page.contains("value=\"the sale\""), "{at}");
    }
    weir.stop().await;
}
