//! What every blob store must do: one suite, run on each. A failed test says which promise of [`Blobs`] is broken.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::future::{BoxFuture, join_all};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Blob, Blobs, Error, Incoming, UploadId};
use crate::model::Digest;
use crate::server::hash::{digest_like, sha256};

/// Runs the suite. `open` opens the same store anew each time, as a restarted server would.
pub(crate) async fn run<F>(open: F)
where
    F: Fn() -> BoxFuture<'static, Arc<dyn Blobs>>,
{
    let blobs = open().await;
    blobs.check().await.expect("the store is ready");
    stores_and_reads(&*blobs).await;
    reads_ranges(&*blobs).await;
    uploads_in_pieces(&*blobs).await;
    reads_what_is_not_finished(&*blobs).await;
    refuses_a_wrong_digest(&*blobs).await;
    takes_sha512(&*blobs).await;
    keeps_what_came_before_a_broken_stream(&*blobs).await;
    aborts(&*blobs).await;
    begins_anew(&*blobs).await;
    survives_a_restart(&open).await;
    finishes_the_same_blob_at_once(&blobs).await;
    serialises_appends(&blobs).await;
    survives_dropped_calls(&blobs).await;
    deletes(&*blobs).await;
    lists(&*blobs).await;
    leaves_nothing_behind(&*blobs).await;
}

async fn stores_and_reads(blobs: &dyn Blobs) {
    for size in [0, 1, 4096, 256 * 1024, 256 * 1024 + 1, 3 * 1024 * 1024 + 17] {
        let bytes = noise(size, 1);
        let digest = sha256(&bytes);
        assert_eq!(blobs.size(&digest).await.expect("size"), None);
        assert!(matches!(blobs.read(&digest, None).await, Err(Error::NotFound)));
        blobs.put(&digest, bytes.clone()).await.expect("put");
        blobs.put(&digest, bytes.clone()).await.expect("put again");
        assert_eq!(blobs.size(&digest).await.expect("size"), Some(size as u64));
        let blob = blobs.read(&digest, None).await.expect("read");
        assert_eq!((blob.size, blob.range.clone()), (size as u64, 0..size as u64));
        assert_eq!(collect(blob).await, bytes, "{size} bytes");
        assert!(blobs.delete(&digest).await.expect("deleted"));
    }
    let wrong = sha256(b"something else");
    let refused = blobs.put(&wrong, Bytes::from_static(b"this")).await;
    assert!(matches!(refused, Err(Error::DigestMismatch { .. })));
    assert_eq!(blobs.size(&wrong).await.expect("size"), None);
}

async fn reads_ranges(blobs: &dyn Blobs) {
    let bytes = noise(700_001, 2);
    let size = bytes.len() as u64;
    let digest = sha256(&bytes);
    blobs.put(&digest, bytes.clone()).await.expect("put");
    for range in [0..1, 5..10, 0..size, 262_143..262_145, 600_000..size + 100, size - 1..size, 1..u64::MAX] {
        let blob = blobs.read(&digest, Some(range.clone())).await.expect("read");
        let end = range.end.min(size);
        assert_eq!((blob.size, blob.range.clone()), (size, range.start..end));
        assert_eq!(collect(blob).await, bytes.slice(range.start as usize..end as usize), "{range:?}");
    }
    #[expect(clippy::reversed_empty_ranges, reason = "what a careless client sends")]
    for range in [size..size + 1, 5..5, 9..3, u64::MAX - 1..u64::MAX] {
        let refused = blobs.read(&digest, Some(range.clone())).await;
        assert!(matches!(refused, Err(Error::RangeNotSatisfiable { size: told }) if told == size), "{range:?}");
    }
    blobs.delete(&digest).await.expect("deleted");
}

async fn uploads_in_pieces(blobs: &dyn Blobs) {
    let bytes = noise(1_500_000, 3);
    let digest = sha256(&bytes);
    let id = UploadId::random();
    assert!(matches!(blobs.offset(&id).await, Err(Error::NotFound)));
    assert!(matches!(blobs.append(&id, 0, body(&bytes)).await, Err(Error::NotFound)));
    assert!(matches!(blobs.finish(&id, &digest).await, Err(Error::NotFound)));
    blobs.begin(&id).await.expect("begun");
    assert_eq!(blobs.offset(&id).await.expect("offset"), 0);
    let mut at = 0;
    for piece in [1, 0, 300_000, 699_999, 500_000] {
        for wrong in [at + 1, at + 1000] {
            let refused = blobs.append(&id, wrong, body(b"xx")).await;
            assert!(matches!(refused, Err(Error::OffsetMismatch { expected }) if expected == at));
        }
        at = blobs.append(&id, at, body(&bytes[at as usize..at as usize + piece])).await.expect("appended");
        assert_eq!(blobs.offset(&id).await.expect("offset"), at);
    }
    assert_eq!(blobs.finish(&id, &digest).await.expect("finished"), bytes.len() as u64);
    assert!(matches!(blobs.offset(&id).await, Err(Error::NotFound)), "a finished upload has gone");
    assert!(matches!(blobs.finish(&id, &digest).await, Err(Error::NotFound)));
    assert_eq!(collect(blobs.read(&digest, None).await.expect("read")).await, bytes);
    blobs.delete(&digest).await.expect("deleted");
}

/// A store may tell nothing of an upload under way; what it tells are the upload's bytes.
async fn reads_what_is_not_finished(blobs: &dyn Blobs) {
    let bytes = noise(900_000, 10);
    let id = UploadId::random();
    assert_eq!(blobs.read_upload(&id, 0..10).await.expect("no upload"), None);
    blobs.begin(&id).await.expect("begun");
    assert_eq!(blobs.read_upload(&id, 0..10).await.expect("an empty upload"), None);
    blobs.append(&id, 0, body(&bytes[..600_000])).await.expect("appended");
    for range in [0..1, 0..600_000, 299_999..300_001, 599_999..900_000] {
        if let Some(read) = blobs.read_upload(&id, range.clone()).await.expect("read") {
            let start = range.start as usize;
            assert!(!read.is_empty() && read.len() as u64 <= range.end - range.start, "{range:?}");
            assert_eq!(read, bytes.slice(start..start + read.len()), "{range:?}");
        }
    }
    assert_eq!(blobs.read_upload(&id, 600_000..900_000).await.expect("behind the end"), None);
    blobs.append(&id, 600_000, body(&bytes[600_000..])).await.expect("appended");
    blobs.finish(&id, &sha256(&bytes)).await.expect("finished");
    assert_eq!(blobs.read_upload(&id, 0..10).await.expect("a finished upload"), None);
    blobs.delete(&sha256(&bytes)).await.expect("deleted");
}

async fn refuses_a_wrong_digest(blobs: &dyn Blobs) {
    let (right, wrong) = (sha256(b"right"), sha256(b"wrong"));
    let id = begun_with(blobs, b"right").await;
    match blobs.finish(&id, &wrong).await {
        Err(Error::DigestMismatch { expected, found }) => assert_eq!((expected, found), (wrong.clone(), right.clone())),
        other => panic!("a wrong digest was answered with {other:?}"),
    }
    assert_eq!(blobs.size(&wrong).await.expect("size"), None);
    assert_eq!(blobs.offset(&id).await.expect("the upload stays"), 5);
    blobs.finish(&id, &right).await.expect("finished with the right one");
    blobs.delete(&right).await.expect("deleted");
}

async fn takes_sha512(blobs: &dyn Blobs) {
    let bytes = noise(400_000, 4);
    let digest = sha512(&bytes);
    let id = begun_with(blobs, &bytes).await;
    assert_eq!(blobs.finish(&id, &digest).await.expect("finished"), 400_000);
    assert_eq!(collect(blobs.read(&digest, None).await.expect("read")).await, bytes);
    assert_eq!(blobs.size(&sha256(&bytes)).await.expect("size"), None, "stored under one digest only");
    assert!(blobs.delete(&digest).await.expect("deleted"));
}

async fn keeps_what_came_before_a_broken_stream(blobs: &dyn Blobs) {
    let bytes = noise(1_000_000, 5);
    let digest = sha256(&bytes);
    let id = UploadId::random();
    blobs.begin(&id).await.expect("begun");
    let broken = stream::iter([Ok(bytes.slice(..600_000)), Err(io::Error::other("the connection broke"))]).boxed();
    assert!(matches!(blobs.append(&id, 0, broken).await, Err(Error::Body(_))));
    let offset = blobs.offset(&id).await.expect("offset");
    assert_eq!(offset, 600_000);
    blobs.append(&id, offset, body(&bytes[600_000..])).await.expect("resumed");
    blobs.finish(&id, &digest).await.expect("finished");
    blobs.delete(&digest).await.expect("deleted");
}

async fn aborts(blobs: &dyn Blobs) {
    let id = begun_with(blobs, b"never mind").await;
    blobs.abort(&id).await.expect("aborted");
    blobs.abort(&id).await.expect("aborted again");
    assert!(matches!(blobs.offset(&id).await, Err(Error::NotFound)));
    assert!(matches!(blobs.append(&id, 10, body(b"x")).await, Err(Error::NotFound)));
    assert!(matches!(blobs.finish(&id, &sha256(b"never mind")).await, Err(Error::NotFound)));
}

async fn begins_anew(blobs: &dyn Blobs) {
    let id = begun_with(blobs, b"first").await;
    blobs.begin(&id).await.expect("begun again");
    assert_eq!(blobs.offset(&id).await.expect("offset"), 0);
    blobs.append(&id, 0, body(b"second")).await.expect("appended");
    blobs.finish(&id, &sha256(b"second")).await.expect("finished");
    blobs.delete(&sha256(b"second")).await.expect("deleted");
}

async fn survives_a_restart<F>(open: &F)
where
    F: Fn() -> BoxFuture<'static, Arc<dyn Blobs>>,
{
    let bytes = noise(900_000, 6);
    let digest = sha256(&bytes);
    let id = begun_with(&*open().await, &bytes[..500_000]).await;
    let second = open().await;
    assert_eq!(second.offset(&id).await.expect("offset"), 500_000);
    second.append(&id, 500_000, body(&bytes[500_000..])).await.expect("resumed");
    let third = open().await;
    assert_eq!(third.finish(&id, &digest).await.expect("finished"), 900_000);
    assert_eq!(collect(open().await.read(&digest, None).await.expect("read")).await, bytes);
    third.delete(&digest).await.expect("deleted");
}

async fn finishes_the_same_blob_at_once(blobs: &Arc<dyn Blobs>) {
    let bytes = noise(200_000, 7);
    let digest = sha256(&bytes);
    let uploads = (0..24).map(|_| {
        let (blobs, bytes, digest) = (Arc::clone(blobs), bytes.clone(), digest.clone());
        tokio::spawn(async move {
            let id = begun_with(&*blobs, &bytes).await;
            let size = blobs.finish(&id, &digest).await.expect("finished");
            assert_eq!(blobs.size(&digest).await.expect("size"), Some(size), "acknowledged means there");
        })
    });
    for upload in join_all(uploads).await {
        upload.expect("every upload succeeds");
    }
    assert_eq!(collect(blobs.read(&digest, None).await.expect("read")).await, bytes);
    blobs.delete(&digest).await.expect("deleted");
}

/// Of several appends at one offset exactly one wins, and the bytes are its.
async fn serialises_appends(blobs: &Arc<dyn Blobs>) {
    let id = UploadId::random();
    blobs.begin(&id).await.expect("begun");
    let appends = (0..8u8).map(|n| {
        let (blobs, id) = (Arc::clone(blobs), id.clone());
        tokio::spawn(async move { blobs.append(&id, 0, body(&vec![n; 300_000])).await.map(|_| n) })
    });
    let results = join_all(appends).await.into_iter().map(|joined| joined.expect("no panic"));
    let winners: Vec<u8> = results
        .filter_map(|result| match result {
            Ok(n) => Some(n),
            Err(Error::OffsetMismatch { expected: 300_000 }) => None,
            Err(other) => panic!("the late append got {other}"),
        })
        .collect();
    assert_eq!(winners.len(), 1);
    let digest = sha256(&vec![winners[0]; 300_000]);
    blobs.finish(&id, &digest).await.expect("the winner's bytes");
    blobs.delete(&digest).await.expect("deleted");
}

/// A request that goes away in the middle leaves an upload that can go on from the offset it tells.
async fn survives_dropped_calls(blobs: &Arc<dyn Blobs>) {
    let bytes = noise(2_000_000, 8);
    let digest = sha256(&bytes);
    let id = UploadId::random();
    blobs.begin(&id).await.expect("begun");
    let first = bytes.slice(..1_000_000);
    let pieces = (0..10).map(move |n| Ok(first.slice(n * 100_000..(n + 1) * 100_000)));
    let endless = stream::iter(pieces).chain(stream::pending()).boxed();
    let (sender, running) = (Arc::clone(blobs), id.clone());
    let append = tokio::spawn(async move { sender.append(&running, 0, endless).await });
    while blobs.offset(&id).await.expect("offset") == 0 {
        tokio::task::yield_now().await;
    }
    append.abort();
    assert!(append.await.expect_err("cancelled").is_cancelled());
    // The last write may still be under way; the next append waits for it and tells where it ended.
    let offset = match blobs.append(&id, 0, body(b"")).await {
        Err(Error::OffsetMismatch { expected }) => expected,
        other => panic!("expected the true offset, got {other:?}"),
    };
    blobs.append(&id, offset, body(&bytes[offset as usize..])).await.expect("resumed");
    blobs.finish(&id, &digest).await.expect("finished");
    blobs.delete(&digest).await.expect("deleted");
}

async fn deletes(blobs: &dyn Blobs) {
    let digest = sha256(b"short-lived");
    assert!(!blobs.delete(&digest).await.expect("nothing there"));
    blobs.put(&digest, Bytes::from_static(b"short-lived")).await.expect("put");
    assert!(blobs.delete(&digest).await.expect("deleted"));
    assert_eq!(blobs.size(&digest).await.expect("size"), None);
}

async fn lists(blobs: &dyn Blobs) {
    let contents: Vec<Bytes> = (0..40).map(|n| noise(10 + n, 9)).collect();
    let mut expected = HashSet::new();
    for bytes in &contents {
        for digest in [sha256(bytes), sha512(bytes)] {
            blobs.put(&digest, bytes.clone()).await.expect("put");
            expected.insert((digest, bytes.len() as u64));
        }
    }
    let id = begun_with(blobs, b"half").await;
    let listed: Vec<_> = blobs.list().try_collect().await.expect("listed");
    assert_eq!(listed.len(), expected.len());
    assert_eq!(listed.into_iter().map(|b| (b.digest, b.size)).collect::<HashSet<_>>(), expected);
    let uploads: Vec<_> = blobs.uploads().try_collect().await.expect("listed");
    assert_eq!(uploads.into_iter().map(|u| (u.id, u.size)).collect::<Vec<_>>(), [(id.clone(), 4)]);
    blobs.abort(&id).await.expect("aborted");
    for (digest, _) in expected {
        blobs.delete(&digest).await.expect("deleted");
    }
}

async fn leaves_nothing_behind(blobs: &dyn Blobs) {
    assert_eq!(blobs.list().count().await, 0, "a test left a blob behind");
    assert_eq!(blobs.uploads().count().await, 0, "a test left an upload behind");
}

async fn begun_with(blobs: &dyn Blobs, bytes: &[u8]) -> UploadId {
    let id = UploadId::random();
    blobs.begin(&id).await.expect("begun");
    blobs.append(&id, 0, body(bytes)).await.expect("appended");
    id
}

async fn collect(blob: Blob) -> Bytes {
    let parts: BytesMut = blob.stream.try_collect().await.expect("read to the end");
    parts.freeze()
}

/// The bytes as a stream of uneven pieces, as a network gives them.
fn body(bytes: &[u8]) -> Incoming {
    let pieces: Vec<_> = bytes.chunks(77_777).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces).boxed()
}

fn sha512(bytes: &[u8]) -> Digest {
    let like = format!("sha512:{}", "0".repeat(128)).parse().expect("a digest");
    digest_like(&like, bytes)
}

/// Bytes that differ by seed and position.
fn noise(size: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..size).map(|_| next()).collect()
}
