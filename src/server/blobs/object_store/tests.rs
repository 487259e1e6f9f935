//! The suite against a real S3 server, and what only a bucket can do.

use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};

use super::testing::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};
use super::*;
use crate::server::blobs::conformance;
use crate::server::hash::sha256;

fn args(endpoint: &str) -> S3Args {
    S3Args {
        endpoint: Some(endpoint.to_owned()),
        region: "us-east-1".to_owned(),
        access_key: Some(ACCESS_KEY.to_owned()),
        secret_key: None,
        secret_key_file: None,
        path_style: None,
        insecure_http: true,
        redirect: false,
    }
}

async fn open_with(args: &S3Args, url: &str, secret: &str) -> Result<ObjectStore, Error> {
    ObjectStore::open(url.parse().expect("a bucket"), args, Some(&secret.into())).await
}

/// One server process's view of the bucket.
async fn open(server: &S3Server) -> ObjectStore {
    open_at(&server.endpoint).await
}

async fn open_at(endpoint: &str) -> ObjectStore {
    open_with(&args(endpoint), &format!("s3://{BUCKET}/a/prefix"), SECRET_KEY).await.expect("a bucket")
}

/// The stream of one request: what the sender sends at once, in pieces as a network gives them.
fn body(bytes: &Bytes) -> Incoming {
    let pieces: Vec<_> = (0..bytes.len())
        .step_by(100_003)
        .map(|start| Ok(bytes.slice(start..bytes.len().min(start + 100_003))))
        .collect();
    stream::iter(pieces).boxed()
}

/// Bytes that differ everywhere, cheaply.
fn noise(size: usize, seed: u8) -> Bytes {
    let mut bytes = Vec::with_capacity(size + 64);
    let mut number = 0_u64;
    while bytes.len() < size {
        number += 1;
        bytes.extend_from_slice(&(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(seed)).to_le_bytes());
    }
    bytes.truncate(size);
    bytes.into()
}

async fn content(blobs: &ObjectStore, digest: &Digest) -> Bytes {
    let stream = blobs.read(digest, None).await.expect("the blob").stream;
    stream.try_collect::<Vec<_>>().await.expect("all of it").concat().into()
}

async fn begun(blobs: &ObjectStore) -> UploadId {
    let id = UploadId::random();
    blobs.begin(&id).await.expect("begun");
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passes_the_suite() {
    let server = Arc::new(S3Server::start().await);
    let shared = Arc::clone(&server);
    conformance::run(move || {
        let server = Arc::clone(&shared);
        async move { Arc::new(open(&server).await) as Arc<dyn Blobs> }.boxed()
    })
    .await;
    assert_eq!(server.objects("a"), ["a/prefix/check"], "nothing else was left behind");
    assert_eq!(server.unfinished(), 0, "a multipart upload was left behind");
}

/// The same on any other S3 server, for instance moto, without TLS: what the environment tells is an endpoint; bucket
/// and keys are those of the other tests, and the bucket is empty.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs WEIR_TEST_S3_ENDPOINT"]
#[expect(clippy::disallowed_methods, reason = "tests are told of their machine through the environment")]
async fn passes_on_another_server() {
    let endpoint = std::env::var("WEIR_TEST_S3_ENDPOINT").expect("WEIR_TEST_S3_ENDPOINT");
    changes_servers_at_any_point(&endpoint).await;
    survives_a_wrong_digest_elsewhere(&endpoint).await;
    repeats_a_finish_that_was_broken_off(&endpoint).await;
    conformance::run(move || {
        let endpoint = endpoint.clone();
        async move { Arc::new(open_at(&endpoint).await) as Arc<dyn Blobs> }.boxed()
    })
    .await;
}

#[tokio::test]
async fn the_tree_is_as_drawn() {
    let server = S3Server::start().await;
    let blobs = open(&server).await;
    let bytes = noise(PART + 5, 1);
    let digest = sha256(&bytes);
    let id = begun(&blobs).await;
    blobs.append(&id, 0, body(&bytes)).await.expect("appended");
    let upload = std::fs::read(server.bucket().join("a/prefix/uploads").join(id.as_str())).expect("its object");
    let end = upload.iter().position(|byte| *byte == b'\n').expect("a line");
    let head: serde_json::Value = serde_json::from_slice(&upload[..end]).expect("JSON");
    assert_eq!(head["parts"].as_array().map(Vec::len), Some(1), "{head}");
    assert_eq!(upload[end + 1..], bytes[PART..]);
    assert_eq!(server.unfinished(), 1);

    blobs.finish(&id, &digest).await.expect("finished");
    let blob = format!("a/prefix/blobs/sha256/{}/{}", &digest.hex()[..2], digest.hex());
    assert_eq!(server.objects("a"), [blob.as_str(), "a/prefix/check"]);
    assert_eq!(server.unfinished(), 0);
}

#[tokio::test]
async fn small_blobs_take_few_requests() {
    let server = S3Server::start().await;
    let blobs = open(&server).await;
    let bytes = noise(10_000, 2);
    let digest = sha256(&bytes);
    server.take_requests();
    blobs.put(&digest, bytes.clone()).await.expect("put");
    assert_eq!(server.take_requests(), ["PutObject"]);
    let id = begun(&blobs).await;
    blobs.append(&id, 0, body(&bytes)).await.expect("appended");
    assert_eq!(server.take_requests(), ["PutObject", "PutObject"]);
    blobs.finish(&id, &digest).await.expect("finished");
    assert_eq!(server.take_requests(), ["GetObject", "PutObject", "DeleteObject"]);
    content(&blobs, &digest).await;
    assert_eq!(server.take_requests(), ["GetObject"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_may_change_servers_at_any_point() {
    let server = S3Server::start().await;
    changes_servers_at_any_point(&server.endpoint).await;
}

async fn changes_servers_at_any_point(endpoint: &str) {
    let bytes = noise(2 * PART + PART / 2, 3);
    let digest = sha256(&bytes);
    let id = begun(&open_at(endpoint).await).await;
    let mut at = 0;
    // Within a part, over its end, exactly to the next one's end, and the rest.
    for end in [1_000_000, PART + 70_000, 2 * PART, bytes.len()] {
        let next = open_at(endpoint).await;
        assert_eq!(next.offset(&id).await.expect("the offset"), at as u64);
        next.append(&id, at as u64, body(&bytes.slice(at..end))).await.expect("appended");
        at = end;
    }
    let last = open_at(endpoint).await;
    assert_eq!(last.finish(&id, &digest).await.expect("finished"), bytes.len() as u64);
    assert!(content(&last, &digest).await == bytes, "the blob has other bytes");
    let tail = last.read(&digest, Some(2 * PART as u64..u64::MAX)).await.expect("a range").stream;
    let tail = tail.try_collect::<Vec<_>>().await.expect("all of it").concat();
    assert!(tail == bytes[2 * PART..], "the range has other bytes");
    last.delete(&digest).await.expect("deleted");
}

#[tokio::test]
async fn what_another_server_appended_is_never_overwritten() {
    let server = S3Server::start().await;
    let (one, two) = (open(&server).await, open(&server).await);
    let id = begun(&one).await;
    two.append(&id, 0, body(&Bytes::from_static(b"right"))).await.expect("appended");
    // This one believes that the upload is empty.
    let late = one.append(&id, 0, body(&Bytes::from_static(b"wrong"))).await;
    assert!(matches!(late, Err(Error::OffsetMismatch { expected: 5 })), "{late:?}");
    one.append(&id, 5, body(&Bytes::from_static(b"ful"))).await.expect("appended");
    two.finish(&id, &sha256(b"rightful")).await.expect("finished");
    two.abort(&begun(&one).await).await.expect("aborted");
    assert_eq!(one.uploads().count().await, 0);
}

#[tokio::test]
async fn a_wrong_digest_leaves_a_large_upload_open_also_elsewhere() {
    let server = S3Server::start().await;
    survives_a_wrong_digest_elsewhere(&server.endpoint).await;
    assert_eq!(server.objects("a/prefix/staging"), Vec::<String>::new());
}

async fn survives_a_wrong_digest_elsewhere(endpoint: &str) {
    let bytes = noise(PART + 1_000, 4);
    let id = begun(&open_at(endpoint).await).await;
    open_at(endpoint).await.append(&id, 0, body(&bytes.slice(..PART + 500))).await.expect("appended");
    // Nobody has the hash any more: the bytes have to be put together to be read.
    let other = open_at(endpoint).await;
    let refused = other.finish(&id, &sha256(b"something else")).await;
    assert!(matches!(refused, Err(Error::DigestMismatch { .. })), "{refused:?}");
    assert_eq!(other.offset(&id).await.expect("the offset"), PART as u64 + 500);
    for blobs in [other, open_at(endpoint).await] {
        let at = blobs.offset(&id).await.expect("the offset") as usize;
        blobs.append(&id, at as u64, body(&bytes.slice(at..at + 250))).await.expect("appended");
    }
    let last = open_at(endpoint).await;
    last.finish(&id, &sha256(&bytes)).await.expect("finished");
    assert!(content(&last, &sha256(&bytes)).await == bytes, "the blob has other bytes");
    last.delete(&sha256(&bytes)).await.expect("deleted");
}

#[tokio::test]
async fn a_finish_that_was_broken_off_is_repeated() {
    let server = S3Server::start().await;
    repeats_a_finish_that_was_broken_off(&server.endpoint).await;
    assert_eq!(server.objects("a/prefix/uploads"), Vec::<String>::new());
}

async fn repeats_a_finish_that_was_broken_off(endpoint: &str) {
    let bytes = noise(PART + 1, 5);
    let blobs = open_at(endpoint).await;
    let id = begun(&blobs).await;
    blobs.append(&id, 0, body(&bytes)).await.expect("appended");
    // As far as a process comes that is killed before the copy.
    let mut upload = Upload::load(&blobs.shared.bucket, &id, None).await.expect("the upload");
    upload.complete(&blobs.shared.bucket).await.expect("completed");
    for blobs in [&blobs, &open_at(endpoint).await] {
        assert_eq!(blobs.offset(&id).await.expect("the offset"), bytes.len() as u64);
    }
    blobs.finish(&id, &sha256(&bytes)).await.expect("finished");
    assert!(content(&blobs, &sha256(&bytes)).await == bytes, "the blob has other bytes");
    blobs.delete(&sha256(&bytes)).await.expect("deleted");
}

#[tokio::test]
async fn what_is_too_large_for_one_copy_is_copied_in_parts() {
    let server = S3Server::start().await;
    let mut blobs = open(&server).await;
    let shared = Arc::get_mut(&mut blobs.shared).expect("nobody else");
    shared.bucket.limit_copies(PART as u64);
    let bytes = noise(2 * PART + 3, 6);
    let id = begun(&blobs).await;
    blobs.append(&id, 0, body(&bytes)).await.expect("appended");
    server.take_requests();
    blobs.finish(&id, &sha256(&bytes)).await.expect("finished");
    assert!(!server.take_requests().contains(&"CopyObject".to_owned()));
    assert!(content(&blobs, &sha256(&bytes)).await == bytes, "the blob has other bytes");
    assert_eq!((server.unfinished(), server.objects("a/prefix/staging").len()), (0, 0));
}

#[tokio::test]
async fn an_aborted_upload_leaves_no_parts() {
    let server = S3Server::start().await;
    let blobs = open(&server).await;
    let id = begun(&blobs).await;
    blobs.append(&id, 0, body(&noise(PART + 1, 7))).await.expect("appended");
    assert_eq!(server.unfinished(), 1);
    open(&server).await.abort(&id).await.expect("aborted");
    assert_eq!((server.unfinished(), server.objects("a/prefix/uploads").len()), (0, 0));
    let late = blobs.append(&id, PART as u64 + 1, body(&Bytes::from_static(b"x"))).await;
    assert!(matches!(late, Err(Error::NotFound)), "{late:?}");
}

#[tokio::test]
async fn a_sender_that_pauses_has_its_bytes_saved() {
    let server = S3Server::start().await;
    let blobs = Arc::new(open(&server).await);
    let id = begun(&blobs).await;
    // More than is held without room, so that it was gathered in several steps; then silence.
    let first = noise(700_000, 8);
    let (sender, running) = (Arc::clone(&blobs), id.clone());
    let endless = body(&first).chain(stream::pending()).boxed();
    let append = tokio::spawn(async move { sender.append(&running, 0, endless).await });
    while open(&server).await.offset(&id).await.expect("the offset") < first.len() as u64 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    while blobs.shared.rooms.available_permits() < ROOMS {
        // Silence needs no room: it is given back right after.
        tokio::task::yield_now().await;
    }
    append.abort();
    let (second, whole) = (Bytes::from_static(b"more"), [first.as_ref(), b"more"].concat());
    let elsewhere = open(&server).await;
    elsewhere.append(&id, first.len() as u64, body(&second)).await.expect("resumed");
    elsewhere.finish(&id, &sha256(&whole)).await.expect("finished");
}

#[tokio::test]
async fn redirects_lead_to_the_bytes_for_a_while() {
    let server = S3Server::start().await;
    let digest = sha256(b"to be fetched");
    let plain = open(&server).await;
    plain.put(&digest, Bytes::from_static(b"to be fetched")).await.expect("put");
    assert_eq!(plain.url(&digest).await.expect("no URL"), None, "only when it is asked for");

    let redirecting = S3Args { redirect: true, ..args(&server.endpoint) };
    let url = format!("s3://{BUCKET}/a/prefix");
    let redirecting = open_with(&redirecting, &url, SECRET_KEY).await.expect("a bucket");
    let url = redirecting.url(&digest).await.expect("signed").expect("a URL");
    assert!(url.starts_with(&server.endpoint) && url.contains("X-Amz-Expires=600"), "{url}");
    assert!(!url.contains(SECRET_KEY), "{url}");
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let found = client.get(&url).send().await.expect("an answer").bytes().await.expect("a body");
    assert_eq!(found, "to be fetched");
    let forged = client.get(url.replace("Expires=600", "Expires=60000")).send().await.expect("an answer");
    assert_eq!(forged.status(), 403);
}

#[tokio::test]
async fn what_is_wrong_is_said_in_one_line() {
    let server = S3Server::start().await;
    let said = async |args: S3Args, url: &str, secret: &str| match open_with(&args, url, secret).await {
        Ok(_) => panic!("{url} was opened"),
        Err(cause) => cause.to_string(),
    };
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let away = S3Args { endpoint: Some(format!("http://{nobody}")), ..args(&server.endpoint) };
    let nameless = S3Args { access_key: None, ..args(&server.endpoint) };
    let unsafe_one = S3Args { insecure_http: false, ..args(&server.endpoint) };
    let stranger = S3Args { access_key: Some("stranger".to_owned()), ..args(&server.endpoint) };
    for (text, expected) in [
        (said(args(&server.endpoint), "s3://none", SECRET_KEY).await, "the bucket none at http://127.0.0.1"),
        (
            said(args(&server.endpoint), "s3://none", SECRET_KEY).await,
            "does not exist; make it, or name another with --blob-store",
        ),
        (said(args(&server.endpoint), "s3://weir", "wrong").await, "refuses the credentials (SignatureDoesNotMatch)"),
        (said(stranger, "s3://weir", SECRET_KEY).await, "refuses the credentials"),
        (said(away, "s3://weir", SECRET_KEY).await, "does not answer (Connection refused"),
        (said(nameless, "s3://weir", SECRET_KEY).await, "--s3-access-key is missing"),
        (said(unsafe_one, "s3://weir", SECRET_KEY).await, "--s3-insecure-http"),
    ] {
        assert!(text.contains(expected) && text.lines().count() == 1, "{expected}: {text}");
        assert!(!text.contains(SECRET_KEY), "{text}");
    }
}

#[tokio::test]
async fn a_bucket_that_vanished_is_no_missing_blob() {
    let server = S3Server::start().await;
    let blobs = open(&server).await;
    let digest = sha256(b"abc");
    let id = begun(&blobs).await;
    blobs.put(&digest, Bytes::from_static(b"abc")).await.expect("put");
    server.remove_bucket();
    let failures = [
        blobs.check().await.err(),
        blobs.size(&digest).await.err(),
        blobs.read(&digest, None).await.err(),
        blobs.offset(&id).await.err(),
        blobs.append(&id, 0, body(&digest.as_str().to_owned().into())).await.err(),
        blobs.finish(&id, &digest).await.err(),
        blobs.abort(&id).await.err(),
        blobs.list().try_collect::<Vec<_>>().await.err(),
        blobs.uploads().try_collect::<Vec<_>>().await.err(),
    ];
    for (index, failure) in failures.into_iter().enumerate() {
        let text = failure.unwrap_or_else(|| panic!("call {index} succeeded")).to_string();
        assert!(text.contains("does not exist; make it"), "call {index}: {text}");
    }
}

#[tokio::test]
async fn strange_objects_are_passed_over() {
    let server = S3Server::start().await;
    let blobs = open(&server).await;
    for name in ["blobs/sha256/ab/README", "blobs/README", "uploads/a.b", "staging/x"] {
        let path = blobs.shared.bucket.path(name);
        blobs.shared.bucket.put(&path, Bytes::from_static(b"hello")).await.expect("put");
    }
    assert_eq!(blobs.list().count().await, 0);
    assert_eq!(blobs.uploads().count().await, 0);
}
