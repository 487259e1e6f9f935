//! Immutable tags and deleted tags in the console, without script.

use reqwest::StatusCode;
use weir::model::{Actor, Role};

use super::sample::{demo, digest, html, location, push, send, sequences, text};

const STREAM: &str = "/p/demo/streams/base";
const TAG: &str = "/p/demo/streams/base/tags/latest";

#[tokio::test]
async fn an_admin_makes_tags_immutable_in_the_streams_settings() {
    let (weir, ada) = demo().await;
    let boss = weir.user("boss", "demo", Role::Admin).await;
    let settings = format!("{STREAM}/settings");
    let page = text(&html(ada.get(&settings).await, StatusCode::OK).await);
    assert!(page.contains("No tag is immutable.") && page.contains("A project admin can change this."), "{page}");
    let page = html(boss.get(&settings).await, StatusCode::OK).await;
    assert!(page.contains("name=\"immutable\"") && page.contains("Save rules"), "{page}");

    let rules = format!("{STREAM}/tag-rules");
    let refused = send(&ada, &rules, &[("immutable", "latest")]).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let page = html(send(&boss, &rules, &[("immutable", "v*\r\nv[")]).await, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert!(page.contains("immutable-error") && page.contains("v*\r\nv["), "what was typed is kept: {}", text(&page));
    let saved = send(&boss, &rules, &[("immutable", "v*\r\n\r\n latest \r\n")]).await;
    assert_eq!((saved.status(), location(&saved)), (StatusCode::SEE_OTHER, settings.as_str()));
    let stream = weir.store().stream("demo", "base").await.unwrap();
    assert_eq!(stream.immutable_tags, "[\"v*\",\"latest\"]");
    let page = text(&html(ada.get(&settings).await, StatusCode::OK).await);
    assert!(page.contains("Tags named v*, latest are immutable"), "{page}");
}

#[tokio::test]
async fn an_immutable_tag_says_so_and_moves_for_admins_alone() {
    let (weir, ada) = demo().await;
    let boss = weir.user("boss", "demo", Role::Admin).await;
    send(&boss, &format!("{STREAM}/tag-rules"), &[("immutable", "latest")]).await;
    let list = text(&html(ada.get(STREAM).await, StatusCode::OK).await);
    assert!(list.contains("Immutable") && !list.contains("Roll back"), "{list}");
    let page = text(&html(ada.get(TAG).await, StatusCode::OK).await);
    assert!(page.contains("it is immutable, as all tags named latest") && !page.contains("Roll back"), "{page}");
    let stream = weir.store().stream("demo", "base").await.unwrap();
    assert_eq!(stream.kind_changes, 0);

    let rows = sequences(&weir, "base", "latest").await;
    let (to, seen) = (rows[1].to_string(), rows[0].to_string());
    let fields = [("to", to.as_str()), ("seen", seen.as_str())];
    for client in [&ada, &boss] {
        let refused = html(send(client, &format!("{TAG}/rollback"), &fields).await, StatusCode::CONFLICT).await;
        assert!(text(&refused).contains("is immutable and stays where it is"), "{}", text(&refused));
    }
    let page = html(boss.get(&format!("{TAG}/rollback?to={to}")).await, StatusCode::OK).await;
    assert!(text(&page).contains("Required: tags named latest are immutable"), "{}", text(&page));
    let page = html(ada.get(&format!("{TAG}/rollback?to={to}")).await, StatusCode::OK).await;
    assert!(text(&page).contains("only a project admin may move it"), "{}", text(&page));
    let with_reason = [("to", to.as_str()), ("dialog", "1"), ("reason", "it is broken")];
    let done = send(&boss, &format!("{TAG}/rollback"), &with_reason).await;
    assert_eq!((done.status(), location(&done)), (StatusCode::SEE_OTHER, TAG));
    assert_eq!(weir.store().tag("demo", "base", "latest").await.unwrap().digest, Some(digest(2)));

    let refused = send(&ada, &format!("{TAG}/delete"), &[]).await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    let deleted = send(&boss, &format!("{TAG}/delete"), &[]).await;
    assert_eq!(deleted.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn b1_one_click_restores_a_deleted_tag() {
    let (weir, ada) = demo().await;
    let vic = weir.user("vic", "demo", Role::Viewer).await;
    push(&weir, "base", "other", 3, &Actor::person("ada")).await;
    let deleted_tags = format!("{STREAM}/deleted-tags");
    let empty = text(&html(ada.get(&deleted_tags).await, StatusCode::OK).await);
    assert!(empty.contains("No tag is deleted"), "{empty}");
    assert_eq!(send(&ada, &format!("{TAG}/delete"), &[]).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(weir.store().tag("demo", "base", "other").await.unwrap().digest, Some(digest(3)));

    let list = html(ada.get(STREAM).await, StatusCode::OK).await;
    assert!(list.contains(&deleted_tags) && !list.contains(&format!("href=\"{TAG}\"")), "{}", text(&list));
    let list = html(ada.get(&deleted_tags).await, StatusCode::OK).await;
    assert!(list.contains(&format!("href=\"{TAG}\"")) && list.contains(&format!("{TAG}/restore")), "{}", text(&list));
    let page = html(ada.get(TAG).await, StatusCode::OK).await;
    let words = text(&page);
    assert!(words.contains("Tag deleted") && words.contains("Restore base:latest"), "{words}");
    assert!(!html(vic.get(TAG).await, StatusCode::OK).await.contains("/restore"), "viewers get no button");
    assert_eq!(send(&vic, &format!("{TAG}/restore"), &[]).await.status(), StatusCode::FORBIDDEN);

    let restored = send(&ada, &format!("{TAG}/restore"), &[]).await;
    assert_eq!((restored.status(), location(&restored)), (StatusCode::SEE_OTHER, TAG));
    let tag = weir.store().tag("demo", "base", "latest").await.unwrap();
    assert_eq!(tag.digest, Some(digest(3)), "the same digest is back");
    let words = text(&html(ada.get(TAG).await, StatusCode::OK).await);
    assert!(words.contains("restored to #3") && !words.contains("Restore base:latest"), "{words}");
    assert_eq!(send(&ada, &format!("{TAG}/restore"), &[]).await.status(), StatusCode::CONFLICT);
}
