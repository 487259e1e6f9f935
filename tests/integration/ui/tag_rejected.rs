//! Images rejected and allowed again without moving the tag, in the console and by REST.

use reqwest::{Method, StatusCode};
use serde_json::json;
use weir::model::Role;

use super::sample::{demo, digest, html, push, send, text};
use crate::support::tester;

const TAG: &str = "/p/demo/streams/base/tags/latest";
const REST: &str = "/weir/v1/projects/demo/streams/base/tags/latest";

#[tokio::test]
async fn an_image_is_rejected_before_it_comes_and_allowed_again() {
    let (weir, ada) = demo().await;
    let vic = weir.user("vic", "demo", Role::Viewer).await;
    let bad = digest(9);
    let before = weir.store().tag("demo", "base", "latest").await.unwrap().digest.unwrap();
    let refused = send(&vic, &format!("{TAG}/reject"), &[("digest", bad.as_str())]).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    for (given, words) in [("", "Write the image"), ("sha256:12", "checksum digest length: sha256 takes 64")] {
        let page =
            html(send(&ada, &format!("{TAG}/reject"), &[("digest", given)]).await, StatusCode::UNPROCESSABLE_ENTITY)
                .await;
        assert!(text(&page).contains(words), "{given}: {}", text(&page));
    }
    let current = send(&ada, &format!("{TAG}/reject"), &[("digest", before.as_str())]).await;
    assert!(text(&html(current, StatusCode::CONFLICT).await).contains("roll it back"));

    let fields = [("digest", bad.as_str()), ("reject_reason", "it leaks")];
    assert_eq!(send(&ada, &format!("{TAG}/reject"), &fields).await.status(), StatusCode::SEE_OTHER);
    let page = text(&html(vic.get(TAG).await, StatusCode::OK).await);
    assert!(page.contains("it leaks") && !page.contains("Allow again"), "{page}");
    push(&weir, "base", "latest", 9, &tester()).await;
    let tag = weir.store().tag("demo", "base", "latest").await.unwrap();
    assert_eq!(tag.digest.as_deref(), Some(before.as_str()), "it is skipped");

    assert_eq!(send(&ada, &format!("{TAG}/allow"), &[("digest", bad.as_str())]).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(weir.store().tag("demo", "base", "latest").await.unwrap().digest.as_deref(), Some(before.as_str()));
    push(&weir, "base", "latest", 9, &tester()).await;
    assert_eq!(weir.store().tag("demo", "base", "latest").await.unwrap().digest, Some(bad));
    weir.stop().await;
}

#[tokio::test]
async fn rest_rejects_and_allows_in_the_same_words() {
    let (weir, ada) = demo().await;
    let bad = digest(9);
    let reject = json!({"digest": bad, "reason": "it leaks"});
    let told: serde_json::Value = ada.post(&format!("{REST}/rejected"), &reject).await.json().await.unwrap();
    assert_eq!((&told["rejected"][0]["digest"], &told["rejected"][0]["reason"]), (&json!(bad), &json!("it leaks")));
    for (body, status) in [(reject, 409), (json!({"digest": "sha256:12"}), 422), (json!({}), 422)] {
        assert_eq!(ada.post(&format!("{REST}/rejected"), &body).await.status(), status, "{body}");
    }
    let path = format!("{REST}/rejected/{bad}");
    let delete = async || ada.request(Method::DELETE, &path).send().await.unwrap();
    let allowed = delete().await;
    assert_eq!(allowed.status(), 200);
    assert_eq!(allowed.json::<serde_json::Value>().await.unwrap()["rejected"], json!([]));
    assert_eq!(delete().await.status(), 409);
    let ledger = ada.get("/p/demo/activity").await.text().await.unwrap();
    assert!(ledger.contains("image reject") && ledger.contains("image allow"), "{ledger}");
    weir.stop().await;
}
