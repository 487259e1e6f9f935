//! The local disk: the suite, and what only a disk can do.

use std::os::unix::fs::PermissionsExt;

use futures_util::{FutureExt, StreamExt, stream};

use super::*;
use crate::server::blobs::conformance;
use crate::server::hash::sha256;

async fn open(root: &Path) -> Filesystem {
    Filesystem::open(root).await.expect("a blob directory")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passes_the_suite() {
    let root = tempfile::tempdir().expect("a directory");
    conformance::run(|| {
        let root = root.path().to_owned();
        async move { Arc::new(open(&root).await) as Arc<dyn Blobs> }.boxed()
    })
    .await;
}

#[tokio::test]
async fn the_tree_is_as_drawn() {
    let root = tempfile::tempdir().expect("a directory");
    let blobs = open(root.path()).await;
    let digest = sha256(b"abc");
    blobs.put(&digest, Bytes::from_static(b"abc")).await.expect("stored");
    let path = root.path().join("blobs/sha256").join(&digest.hex()[..2]).join(digest.hex());
    assert_eq!(fs::read(path).expect("the blob's file"), b"abc");
    assert_eq!(fs::read_dir(root.path().join("uploads")).expect("listed").count(), 0, "a temporary file was left");

    let id = UploadId::random();
    blobs.begin(&id).await.expect("begun");
    let body = stream::iter([Ok(Bytes::from_static(b"ab"))]).boxed();
    blobs.append(&id, 0, body).await.expect("appended");
    assert_eq!(fs::read(root.path().join("uploads").join(id.as_str())).expect("the upload's file"), b"ab");
}

#[tokio::test]
async fn a_finished_upload_replaces_a_rotten_blob() {
    let root = tempfile::tempdir().expect("a directory");
    let blobs = open(root.path()).await;
    let digest = sha256(b"abc");
    blobs.put(&digest, Bytes::from_static(b"abc")).await.expect("stored");
    fs::write(blobs.tree.blob(&digest), b"rot").expect("spoilt");
    blobs.put(&digest, Bytes::from_static(b"abc")).await.expect("stored again");
    assert_eq!(fs::read(blobs.tree.blob(&digest)).expect("the blob's file"), b"abc");
}

#[tokio::test]
async fn an_unwritable_directory_says_so() {
    let root = tempfile::tempdir().expect("a directory");
    let blobs = open(root.path()).await;
    blobs.check().await.expect("writable");
    // Root may write anywhere, so the directory goes instead of its rights.
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o700)).expect("permissions");
    fs::remove_dir(root.path().join("uploads")).expect("removed");
    let error = blobs.check().await.expect_err("cannot be written");
    let expected = format!("the blob directory {} cannot be written: ", root.path().display());
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[tokio::test]
async fn strange_files_are_passed_over() {
    let root = tempfile::tempdir().expect("a directory");
    let blobs = open(root.path()).await;
    fs::create_dir_all(root.path().join("blobs/sha256/lost+found")).expect("made");
    fs::write(root.path().join("blobs/sha256/README"), "hello").expect("written");
    fs::write(root.path().join("uploads/.nfs0001"), "hello").expect("written");
    assert_eq!(blobs.list().count().await, 0);
    assert_eq!(blobs.uploads().count().await, 0);
}
