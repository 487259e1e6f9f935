//! Many pushes of one layer at once, as when a base image is rebuilt and everything on it follows.

use bytes::Bytes;
use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use weir::server::hash::sha256;

use super::{Site, files_in, verify};

const UPLOADS: usize = 500;
const STREAMS: usize = 5;
const SIZE: usize = 2 << 20;
/// kB. All bodies together are a gigabyte. A server that does not keep them needs some 400 MB for so many connections.
const MEMORY: u64 = 512 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_uploads_of_the_same_blob() {
    let directory = tempfile::tempdir().expect("a directory");
    let (data, bytes) = (directory.path(), Bytes::from(vec![7; SIZE]));
    let site = Site::open(data, &[]).await;
    let (digest, client) = (sha256(&bytes), site.client());
    let uploads = (0..UPLOADS).map(|n| {
        let (client, bytes, digest) = (client.clone(), bytes.clone(), digest.clone());
        tokio::spawn(async move {
            let uploads = format!("/v2/demo/stream-{}/blobs/uploads/", n % STREAMS);
            // Half of them at once, half in two steps.
            let last = if n % 2 == 0 {
                client.request(Method::POST, &format!("{uploads}?digest={digest}"))
            } else {
                let begun = client.request(Method::POST, &uploads).send().await.expect("an answer");
                assert_eq!(begun.status(), StatusCode::ACCEPTED, "{}", begun.text().await.unwrap_or_default());
                let upload = begun.headers()["location"].to_str().expect("text").to_owned();
                client.request(Method::PUT, &format!("{upload}?digest={digest}"))
            };
            let stored = last.body(bytes).send().await.expect("an answer");
            let status = stored.status();
            assert_eq!(status, StatusCode::CREATED, "{}", stored.text().await.unwrap_or_default());
        })
    });
    for upload in join_all(uploads.collect::<Vec<_>>()).await {
        upload.expect("every one succeeds");
    }
    for n in 0..STREAMS {
        let read = client.get(&format!("/v2/demo/stream-{n}/blobs/{digest}")).await;
        assert_eq!(read.bytes().await.expect("all of it"), bytes);
    }
    let shard = data.join("blobs/blobs/sha256").join(&digest.hex()[..2]);
    assert_eq!((files_in(&shard), files_in(&data.join("blobs/uploads"))), (1, 0), "one blob, and no rubbish");
    let peak = site.weir.status("VmHWM");
    println!("{UPLOADS} uploads of {SIZE} bytes: {peak} kB of memory at the peak");
    assert!(peak < MEMORY, "{peak} kB");
    let said = verify(data, &[]);
    assert!(said.contains(" 1 blobs "), "{said}");
}
