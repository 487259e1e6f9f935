//! Rolling a tag back from its page: one click, the dialog, the way out, and what is refused.

use reqwest::StatusCode;
use weir::model::Actor;

use super::sample::{demo, digest, html, location, push, send, sequences, text};

const TAG: &str = "/p/demo/streams/base/tags/latest";

#[tokio::test]
async fn one_click_goes_back_and_stays_back() {
    let (weir, ada) = demo().await;
    let rows = sequences(&weir, "base", "latest").await;
    let (to, seen) = (rows[1].to_string(), rows[0].to_string());
    let answer = send(&ada, &format!("{TAG}/rollback"), &[("to", &to), ("seen", &seen)]).await;
    assert_eq!((answer.status(), location(&answer)), (StatusCode::SEE_OTHER, TAG));
    let page = text(&html(ada.get(TAG).await, StatusCode::OK).await);
    for words in ["Held by ada", "1 image is marked rejected", "rolled back to #2", "Add a reason", "Undo", "Resume"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    // What comes is held back or refused, and the page says so.
    push(&weir, "base", "latest", 3, &Actor::person("ci")).await;
    push(&weir, "base", "latest", 4, &Actor::person("ci")).await;
    let tag = weir.store().tag("demo", "base", "latest").await.unwrap();
    assert_eq!(tag.digest, Some(digest(2)));
    let page = text(&html(ada.get(TAG).await, StatusCode::OK).await);
    for words in ["1 newer waiting", "Skipped: rejected", "Held back"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let answer = send(&ada, &format!("{TAG}/explain"), &[("reason", "Broke the login")]).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let page = text(&html(ada.get(TAG).await, StatusCode::OK).await);
    assert!(page.contains("Reason: Broke the login") && !page.contains("Add a reason"), "{page}");
    // The list shows it too, with the way to resume.
    let list = text(&html(ada.get("/p/demo/streams/base").await, StatusCode::OK).await);
    assert!(list.contains("Held by ada") && list.contains("Resume"), "{list}");
    let answer = send(&ada, &format!("{TAG}/resume"), &[]).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let tag = weir.store().tag("demo", "base", "latest").await.unwrap();
    assert_eq!(tag.digest, Some(digest(4)), "resuming applies what waited");
    weir.stop().await;
}

#[tokio::test]
async fn undo_brings_everything_back() {
    let (weir, ada) = demo().await;
    let rows = sequences(&weir, "base", "latest").await;
    send(&ada, &format!("{TAG}/rollback"), &[("to", &rows[2].to_string()), ("seen", &rows[0].to_string())]).await;
    assert_eq!(weir.store().tag("demo", "base", "latest").await.unwrap().digest, Some(digest(1)));
    let answer = send(&ada, &format!("{TAG}/undo"), &[]).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert_eq!(weir.store().tag("demo", "base", "latest").await.unwrap().digest, Some(digest(3)));
    let page = text(&html(ada.get(TAG).await, StatusCode::OK).await);
    assert!(!page.contains("Held by") && page.contains("restored to"), "{page}");
    weir.stop().await;
}

#[tokio::test]
async fn a_tag_that_moved_meanwhile_is_looked_at_again() {
    let (weir, ada) = demo().await;
    let rows = sequences(&weir, "base", "latest").await;
    push(&weir, "base", "latest", 4, &Actor::person("ci")).await;
    let (to, seen) = (rows[1].to_string(), rows[0].to_string());
    let answer =
        send(&ada, &format!("{TAG}/rollback"), &[("to", &to), ("seen", &seen), ("reason", "It was bad")]).await;
    let page = html(answer, StatusCode::CONFLICT).await;
    let words = text(&page);
    assert!(words.contains("The tag moved while you looked: base:latest is at #4 now"), "{words}");
    assert!(page.contains("value=\"It was bad\""), "what was typed is kept");
    assert!(
        words.contains("User: 1001 → 1001")
            || words.contains("How it runs")
            || words.contains("Environment: VERSION changes"),
        "{words}"
    );
    assert_eq!(weir.store().tag("demo", "base", "latest").await.unwrap().digest, Some(digest(4)));
    weir.stop().await;
}

#[tokio::test]
async fn the_dialog_shows_what_changes_first() {
    let (weir, ada) = demo().await;
    let rows = sequences(&weir, "base", "latest").await;
    let page = text(&html(ada.get(&format!("{TAG}/rollback?to={}", rows[2])).await, StatusCode::OK).await);
    for words in [
        "Roll back base:latest?",
        "Look: User: 1001 → root",
        "Environment: VERSION changes",
        "1 of 2 layers are shared",
        "Nothing is built on it and no app runs it",
        "Mark the image it leaves as rejected",
        "Put what is built on it back",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let long = "x".repeat(301);
    let fields = [("to", rows[2].to_string()), ("dialog", "1".into()), ("mode", "tag".into()), ("reason", long)];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let refused = html(send(&ada, &format!("{TAG}/rollback"), &fields).await, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert!(text(&refused).contains("At most 300 characters, this has 301"), "{}", text(&refused));
    weir.stop().await;
}
