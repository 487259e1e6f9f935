//! What things hold, how often they are pulled, and quotas, on pages and by forms.

use reqwest::StatusCode;
use weir::model::Role;
use weir::server::store::Pulled;

use super::form::{error_at, text};
use super::sample::demo;

#[tokio::test]
async fn pages_tell_what_is_held_and_pulled() {
    let (weir, ada) = demo().await;
    let stream = weir.store().stream("demo", "base").await.unwrap();
    for _ in 0..7 {
        weir.state.pulls.note(&stream.id, Pulled::Tag("latest".to_owned()));
    }
    weir.settle().await;
    let list = ada.page("/p/demo/streams").await;
    // Seven blobs of one byte and three manifests of two.
    assert!(list.contains("data-label=\"Size\"") && list.contains("data-label=\"Pulls, 30 days\""), "{list}");
    assert!(text(&list).contains("13 B 7 Graph of base"), "{}", text(&list));
    assert!(text(&ada.page("/p/demo/streams/base/tags/latest").await).contains("Last 30 days 7 pulls, 3 pushes"));
    let viewer = weir.user("vic", "demo", Role::Viewer).await;
    for client in [&ada, &viewer] {
        let settings = text(&client.page("/p/demo/streams/base/settings").await);
        let facts = "Holds 13 B Only here 13 B Shared 0 B with other streams Last 30 days 7 pulls, 3 pushes";
        assert!(settings.contains(facts), "{settings}");
    }
    weir.stop().await;
}

#[tokio::test]
async fn a_site_admin_sets_a_quota_and_everybody_sees_it() {
    let (weir, ada) = demo().await;
    let (path, form) = ("/p/demo/settings", "/p/demo/settings/quota");
    let page = text(&ada.page(path).await);
    assert!(page.contains("13 B, without a quota") && !page.contains("Set quota"), "{page}");
    let owner = weir.user("olga", "demo", Role::Admin).await;
    let refused = owner.refused(form, &[("quota", "1 TB")], StatusCode::FORBIDDEN).await;
    assert!(text(&refused).contains("Only a site admin may do this."), "{}", text(&refused));
    let admin = weir.admin().await;
    let refused = admin.refused(form, &[("quota", "a lot")], StatusCode::UNPROCESSABLE_ENTITY).await;
    assert_eq!(error_at(&refused, "quota"), "Write a size with its unit, for instance 500 MB or 1.5 GB.");
    assert!(refused.contains("value=\"a lot\""), "what was typed is kept");
    assert_eq!(admin.done(form, &[("quota", "1.5 GB")]).await, path);
    assert!(admin.page(path).await.contains("value=\"1500 MB\""));
    assert!(text(&ada.page(path).await).contains("13 B of 1.5 GB"));
    admin.done(form, &[("quota", "10")]).await;
    assert!(text(&ada.page(path).await).contains("The project is full: pushes and imports are refused."));
    admin.done(form, &[("quota", "")]).await;
    assert!(text(&ada.page(path).await).contains("13 B, without a quota"));
    weir.stop().await;
}

#[tokio::test]
async fn a_site_admin_sets_limits_and_everybody_sees_them() {
    let (weir, ada) = demo().await;
    let (path, form) = ("/p/demo/settings", "/p/demo/settings/limits");
    let page = text(&ada.page(path).await);
    assert!(page.contains("An image any size Images of a stream any number") && !page.contains("Set limits"), "{page}");
    let owner = weir.user("olga", "demo", Role::Admin).await;
    owner.refused(form, &[("stream_tags", "1")], StatusCode::FORBIDDEN).await;
    let admin = weir.admin().await;
    let refused = admin.refused(form, &[("stream_tags", "-1")], StatusCode::UNPROCESSABLE_ENTITY).await;
    assert_eq!(error_at(&refused, "stream_tags"), "Write a whole number, or leave it empty.");
    admin.done(form, &[("image_bytes", "1.5 GB"), ("stream_images", "20"), ("stream_tags", "")]).await;
    let page = text(&ada.page(path).await);
    let facts = "An image at most 1.5 GB Images of a stream at most 20 Following tags of a stream any number";
    assert!(page.contains(facts), "{page}");
    assert!(admin.page(path).await.contains("value=\"1500 MB\""));
    weir.stop().await;
}
