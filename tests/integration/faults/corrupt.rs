//! Files on disk rot: `weir verify` says which, and what that hits; clients that push again heal them.

use std::fs;
use std::path::PathBuf;

use reqwest::{Method, StatusCode};
use weir::model::Digest;
use weir::server::hash::sha256;

use super::{Site, verify};
use crate::support::run_weir;
use crate::upstreams::images::{OCI_INDEX, TestImage, index_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_rots_is_named_and_heals_with_a_push() {
    let directory = tempfile::tempdir().expect("a directory");
    let (data, images) = (directory.path(), ["flipped", "truncated", "deleted", "sound"].map(TestImage::new));
    let site = Site::open(data, &[]).await;
    for (image, tag) in images.iter().zip(["flipped", "truncated", "deleted", "sound"]) {
        site.pusher().push("app", tag, image, false).await.expect("pushed");
    }
    // Who runs an index runs what it is made of.
    let index = index_of(&[("amd64", &images[0]), ("arm64", &images[3])]);
    let put = site.client().request(Method::PUT, "/v2/demo/app/manifests/many").header("content-type", OCI_INDEX);
    assert_eq!(put.body(index).send().await.expect("an answer").status(), StatusCode::CREATED);
    verify(data, &[]);

    let file = |digest: &Digest| -> PathBuf {
        data.join("blobs/blobs").join(digest.algorithm()).join(&digest.hex()[..2]).join(digest.hex())
    };
    let [flipped, truncated, deleted, _] = &images;
    let mut bytes = fs::read(file(&sha256(&flipped.layer))).expect("the file");
    bytes[3] ^= 1;
    fs::write(file(&sha256(&flipped.layer)), &bytes).expect("written");
    let cut = fs::File::options().write(true).open(file(&sha256(&truncated.layer))).expect("the file");
    cut.set_len(2).expect("cut off");
    fs::remove_file(file(&sha256(&deleted.config))).expect("removed");

    let verified = run_weir(["verify", "--data-dir", data.to_str().expect("UTF-8")]);
    assert_eq!(verified.code, Some(1), "{verified:?}");
    let line = |blob: &Digest| {
        let line = verified.stdout.lines().find(|line| line.starts_with(&format!("blob {blob}: ")));
        line.unwrap_or_else(|| panic!("{blob} is not named: {verified:?}")).to_owned()
    };
    let (flipped_line, truncated_line) = (line(&sha256(&flipped.layer)), line(&sha256(&truncated.layer)));
    let by_digest = format!("demo/app@{}", flipped.digest());
    for hit in ["demo/app:flipped", "demo/app:many", &*by_digest, sha256(&bytes).as_str()] {
        assert!(flipped_line.contains(hit), "{hit}: {flipped_line}");
    }
    assert!(truncated_line.contains("demo/app:truncated") && !truncated_line.contains("many"), "{truncated_line}");
    let deleted_line = line(&sha256(&deleted.config));
    assert!(deleted_line.contains("missing") && deleted_line.contains("demo/app:deleted"), "{deleted_line}");
    assert!(!verified.stdout.contains(":sound"), "{verified:?}");

    // Clients ask first and send what they are told is missing. A mount would only pass the damage on.
    for (lost, path) in [(sha256(&truncated.layer), "app"), (sha256(&deleted.config), "app")] {
        let asked = format!("/v2/demo/{path}/blobs/{lost}");
        assert_eq!(
            site.client().request(Method::HEAD, &asked).send().await.expect("an answer").status(),
            404,
            "{lost}"
        );
        assert_eq!(site.client().get(&asked).await.status(), 404, "{lost}");
        let mount = format!("/v2/demo/other/blobs/uploads/?mount={lost}&from=demo/app");
        let mounted = site.client().request(Method::POST, &mount).send().await.expect("an answer");
        assert_eq!(mounted.status(), StatusCode::ACCEPTED, "{lost}");
    }
    for (image, tag) in [(flipped, "flipped"), (truncated, "truncated"), (deleted, "deleted")] {
        site.pusher().push("app", tag, image, true).await.expect("pushed again");
        site.pulls("app", tag, image).await;
    }
    verify(data, &[]);
}
