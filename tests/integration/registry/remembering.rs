//! What pulls remember ends with whatever changes it: at once, for everybody who was told of the change.

use axum::http::Method;
use weir::model::Role;
use weir::server::hash::sha256;
use weir::server::store::NewToken;

use super::door::{Door, PASSWORD, header, refused};
use crate::upstreams::images::TestImage;

const MANIFEST: &str = "demo/base/manifests/latest";

/// The answer to a pull that was asked for twice before, so that whatever can be remembered is.
async fn pull(door: &Door, path: &str, token: &str) -> u16 {
    let mut status = 0;
    for _ in 0..3 {
        let asked = door.anonymous(Method::GET, path).bearer_auth(token).send().await;
        status = asked.expect("an answer").status().as_u16();
    }
    status
}

#[tokio::test]
async fn a_revoked_token_ends_with_the_tickets_made_from_it() {
    let (door, image) = (Door::open().await, TestImage::new("x"));
    door.push("demo/base", "latest", &image).await;
    let ada = door.store.user("ada").await.expect("ada");
    let (token, text) = door.store.create_token(NewToken::user("t", &ada.id), &door.actor).await.expect("a token");
    let text = secrecy::ExposeSecret::expose_secret(&text).to_owned();
    let asked = door.anonymous(Method::GET, "token?service=weir&scope=repository:demo/base:pull");
    let ticket: serde_json::Value =
        asked.basic_auth("ada", Some(&text)).send().await.expect("an answer").json().await.expect("a ticket");
    let ticket = ticket["token"].as_str().expect("text");
    for credentials in [&*text, ticket] {
        assert_eq!(pull(&door, MANIFEST, credentials).await, 200);
    }
    door.store.revoke_token(&token.id, None, &door.actor).await.expect("it is revoked");
    for credentials in [&*text, ticket] {
        let asked = door.anonymous(Method::GET, MANIFEST).bearer_auth(credentials).send().await;
        refused(asked.expect("an answer"), 401, "UNAUTHORIZED").await;
    }
    assert_eq!(pull(&door, MANIFEST, &door.token).await, 200, "others go on");
}

#[tokio::test]
async fn a_role_that_is_taken_away_is_gone() {
    let (door, image) = (Door::open().await, TestImage::new("x"));
    door.push("demo/base", "latest", &image).await;
    let vic = door.token_of("vic").await;
    assert_eq!(pull(&door, MANIFEST, &vic).await, 200);
    assert_eq!(pull(&door, &format!("demo/base/blobs/{}", sha256(&image.layer)), &vic).await, 200);
    door.store.revoke_role("demo", "vic", &door.actor).await.expect("the role is taken away");
    let asked = door.anonymous(Method::GET, MANIFEST).bearer_auth(&vic).send().await.expect("an answer");
    assert_ne!(asked.status(), 200);
    assert_ne!(pull(&door, &format!("demo/base/blobs/{}", sha256(&image.layer)), &vic).await, 200);

    // Less than before, but not nothing: pulls go on, pushes do not.
    door.store.grant_role("demo", "vic", Role::Editor, &door.actor).await.expect("a role");
    let begin = async || {
        let begun = door.anonymous(Method::POST, "demo/base/blobs/uploads/").bearer_auth(&vic).send().await;
        begun.expect("an answer").status().as_u16()
    };
    assert_eq!([begin().await, begin().await], [202, 202]);
    door.store.grant_role("demo", "vic", Role::Viewer, &door.actor).await.expect("a role");
    assert_eq!(begin().await, 403);
    assert_eq!(pull(&door, MANIFEST, &vic).await, 200);
}

#[tokio::test]
async fn a_password_that_is_changed_is_no_password() {
    let door = Door::open().await;
    let ask = async || {
        let asked = door.anonymous(Method::GET, "").basic_auth("ada", Some(PASSWORD)).send().await;
        asked.expect("an answer").status().as_u16()
    };
    assert_eq!([ask().await, ask().await], [200, 200]);
    let hash = weir::server::auth::hash_password(&"another horse".into()).await.expect("a hash");
    door.store.set_password_hash("ada", &hash, &door.actor).await.expect("another password");
    assert_eq!(ask().await, 401);
}

#[tokio::test]
async fn a_tag_that_moved_is_pulled_where_it_is_now() {
    let door = Door::open().await;
    for number in 0..20 {
        let image = TestImage::new(&format!("number {number}"));
        assert_eq!(door.push("demo/base", "latest", &image).await.status(), 201);
        for _ in 0..2 {
            assert_eq!(header(&door.get(MANIFEST).await, "docker-content-digest"), image.digest().as_str());
            assert_eq!(door.get(MANIFEST).await.bytes().await.expect("a manifest"), image.manifest);
        }
    }
}

#[tokio::test]
async fn what_is_deleted_is_not_pulled() {
    let (door, image) = (Door::open().await, TestImage::new("x"));
    door.push("demo/base", "latest", &image).await;
    let paths = [
        MANIFEST.to_owned(),
        format!("demo/base/manifests/{}", image.digest()),
        format!("demo/base/blobs/{}", sha256(&image.layer)),
    ];
    for path in &paths {
        assert_eq!(pull(&door, path, &door.token).await, 200, "{path}");
    }
    for (delete, gone) in [(0, 0..1), (1, 0..2), (2, 0..3)] {
        assert_eq!(door.delete(&paths[delete]).await.status(), 202);
        for path in &paths[gone] {
            assert_eq!(door.get(path).await.status(), 404, "{path}");
        }
    }
    door.store.delete_stream("demo", "base", &door.actor).await.expect("the stream is deleted");
    assert_eq!(door.push("demo/base", "latest", &image).await.status(), 201, "a stream of the same name is another");
    assert_eq!(pull(&door, MANIFEST, &door.token).await, 200);
}
