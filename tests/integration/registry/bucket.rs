//! The registry with its blobs in an S3 bucket: everything as on a disk, and what only several servers on one bucket can do.

use axum::http::{Method, StatusCode};
use bytes::Bytes;
use reqwest::Response;
use weir::server::config::{BlobStore, Config};
use weir::server::hash::sha256;

use super::door::{header, refused};
use crate::support::{ACCESS_KEY, Client, Finished, S3Server, SECRET_KEY, TestWeir, run_weir};
use crate::upstreams::images::TestImage;

const URL: &str = "s3://weir/registry";

fn in_bucket(config: &mut Config, server: &S3Server) {
    config.storage.blob_store = Some(BlobStore::Bucket(URL.parse().expect("a bucket")));
    config.storage.s3.endpoint = Some(server.endpoint.clone());
    config.storage.s3.access_key = Some(ACCESS_KEY.to_owned());
    config.storage.s3.secret_key = Some(SECRET_KEY.into());
    config.storage.s3.insecure_http = true;
}

async fn start(server: &S3Server, redirect: bool) -> (TestWeir, Client) {
    let weir = TestWeir::start_with(
        |config| {
            in_bucket(config, server);
            config.storage.s3.redirect = redirect;
        },
        false,
    )
    .await;
    weir.make_project("demo").await;
    let client = weir.admin().await;
    (weir, client)
}

async fn send(client: &Client, method: Method, path: &str, bytes: &Bytes) -> Response {
    client.request(method, path).body(bytes.clone()).send().await.expect("an answer")
}

/// Begins an upload; gives its path.
async fn begin(client: &Client) -> String {
    let begun = send(client, Method::POST, "/v2/demo/app/blobs/uploads/", &Bytes::new()).await;
    assert_eq!(begun.status(), StatusCode::ACCEPTED);
    header(&begun, "location")
}

async fn put_blob(client: &Client, bytes: &Bytes) {
    let path = format!("/v2/demo/app/blobs/uploads/?digest={}", sha256(bytes));
    assert_eq!(send(client, Method::POST, &path, bytes).await.status(), StatusCode::CREATED);
}

fn blob_path(bytes: &Bytes) -> String {
    format!("/v2/demo/app/blobs/{}", sha256(bytes))
}

/// Larger than a part, so that it needs a multipart upload.
fn large() -> Bytes {
    (0..9_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_are_pushed_and_pulled() {
    let server = S3Server::start().await;
    let (weir, client) = start(&server, false).await;
    let image = TestImage::new("in a bucket");
    for blob in [&image.config, &image.layer] {
        put_blob(&client, blob).await;
    }
    let put = client.request(Method::PUT, "/v2/demo/app/manifests/1").header("content-type", image.media_type);
    let put = put.body(image.manifest.clone()).send().await.expect("an answer");
    assert_eq!(put.status(), StatusCode::CREATED);
    for path in ["/v2/demo/app/manifests/1".to_owned(), blob_path(&image.layer), blob_path(&image.config)] {
        assert_eq!(client.get(&path).await.status(), StatusCode::OK, "{path}");
    }
    assert_eq!(client.get(&blob_path(&image.layer)).await.bytes().await.expect("a body"), image.layer);
    let range = client.request(Method::GET, &blob_path(&image.layer)).header("range", "bytes=3-6").send().await;
    let range = range.expect("an answer");
    assert_eq!(range.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(range.bytes().await.expect("a body"), image.layer.slice(3..7));
    assert_eq!(weir.anon().get_json("/readyz").await["blobs"]["state"], "ok");
    assert_eq!(server.objects("registry/uploads"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_blobs_come_in_chunks_of_any_size() {
    let server = S3Server::start().await;
    let (_weir, client) = start(&server, false).await;
    let bytes = large();
    let upload = begin(&client).await;
    let mut at = 0;
    for end in [1, 100_000, 8_500_000, 8_500_001] {
        let chunk = client.request(Method::PATCH, &upload).header("content-range", format!("{at}-{}", end - 1));
        let chunk = chunk.body(bytes.slice(at..end)).send().await.expect("an answer");
        assert_eq!((chunk.status(), header(&chunk, "range")), (StatusCode::ACCEPTED, format!("0-{}", end - 1)));
        at = end;
    }
    let late = client.request(Method::PATCH, &upload).header("content-range", "5-5").body("x").send().await;
    refused(late.expect("an answer"), 416, "BLOB_UPLOAD_INVALID").await;
    let put = send(&client, Method::PUT, &format!("{upload}?digest={}", sha256(&bytes)), &bytes.slice(at..)).await;
    assert_eq!(put.status(), StatusCode::CREATED);
    assert!(client.get(&blob_path(&bytes)).await.bytes().await.expect("a body") == bytes, "the blob has other bytes");

    let cancelled = begin(&client).await;
    assert_eq!(send(&client, Method::PATCH, &cancelled, &bytes).await.status(), StatusCode::ACCEPTED);
    assert_eq!(server.unfinished(), 1);
    assert_eq!(send(&client, Method::DELETE, &cancelled, &Bytes::new()).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(server.unfinished(), 0);
}

#[tokio::test]
async fn redirects_lead_to_the_bucket() {
    let server = S3Server::start().await;
    let (weir, client) = start(&server, true).await;
    let bytes = Bytes::from_static(b"fetched from the bucket itself");
    put_blob(&client, &bytes).await;
    let path = blob_path(&bytes);
    let redirect = client.get(&path).await;
    assert_eq!(redirect.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(header(&redirect, "docker-content-digest"), sha256(&bytes).as_str());
    assert!(header(&redirect, "cache-control").contains("no-store"));
    let location = header(&redirect, "location");
    assert!(location.starts_with(&server.endpoint), "{location}");
    // A client without any right here, but with the URL.
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let fetched = http.get(&location).header("range", "bytes=0-6").send().await.expect("an answer");
    assert_eq!(fetched.bytes().await.expect("a body"), "fetched");
    // Who may not pull gets no URL either; what needs no bytes is answered here.
    let stranger = http.get(format!("{}{path}", weir.url)).send().await.expect("an answer");
    assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
    let head = send(&client, Method::HEAD, &path, &Bytes::new()).await;
    assert_eq!((head.status(), header(&head, "content-length")), (StatusCode::OK, bytes.len().to_string()));
    let known = client.request(Method::GET, &path).header("if-none-match", format!("\"{}\"", sha256(&bytes)));
    assert_eq!(known.send().await.expect("an answer").status(), StatusCode::NOT_MODIFIED);
    refused(client.get(&blob_path(&Bytes::from_static(b"none"))).await, 404, "BLOB_UNKNOWN").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_begins_on_one_server_and_ends_on_another() {
    let (server, directory) = (S3Server::start().await, tempfile::tempdir().expect("a directory"));
    let mut database = None;
    let mut share = |config: &mut Config| {
        in_bucket(config, &server);
        config.storage.key_file = Some(directory.path().join("key"));
        let own = config.storage.database_url.clone();
        let sqlite = || format!("sqlite://{}", directory.path().join("weir.db").display());
        database = database.take().or(own).or_else(|| Some(sqlite()));
        config.storage.database_url.clone_from(&database);
    };
    let first = TestWeir::start_with(&mut share, false).await;
    let second = TestWeir::start_with(&mut share, false).await;
    first.make_project("demo").await;
    let token = first.token("admin").await;
    let (one, two) = (Client::new(&first.url, Some(token.clone())), Client::new(&second.url, Some(token)));

    let bytes = large();
    let upload = begin(&one).await;
    assert_eq!(send(&one, Method::PATCH, &upload, &bytes.slice(..8_800_000)).await.status(), StatusCode::ACCEPTED);
    // The first server is gone for good, and with it all it knew.
    let _database = first.stop().await;
    let status = two.get(&upload).await;
    assert_eq!((status.status(), header(&status, "range")), (StatusCode::NO_CONTENT, "0-8799999".to_owned()));
    assert_eq!(send(&two, Method::PATCH, &upload, &bytes.slice(8_800_000..8_900_000)).await.status(), 202);
    let finish = format!("{upload}?digest={}", sha256(&bytes));
    assert_eq!(send(&two, Method::PUT, &finish, &bytes.slice(8_900_000..)).await.status(), StatusCode::CREATED);
    assert!(two.get(&blob_path(&bytes)).await.bytes().await.expect("a body") == bytes, "the blob has other bytes");
}

#[tokio::test]
async fn a_bucket_that_vanishes_is_said_and_fails_requests_only() {
    let server = S3Server::start().await;
    let (weir, client) = start(&server, false).await;
    let bytes = Bytes::from_static(b"soon gone");
    put_blob(&client, &bytes).await;
    server.remove_bucket();
    assert_eq!(client.get(&blob_path(&bytes)).await.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let push = send(&client, Method::POST, "/v2/demo/app/blobs/uploads/", &Bytes::new()).await;
    let message = refused(push, 500, "UNKNOWN").await;
    assert!(!message.contains("bucket"), "what the server stands on is not every client's business: {message}");
    let ready = weir.anon().get("/readyz").await;
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    let ready: serde_json::Value = ready.json().await.expect("JSON");
    let message = ready["blobs"]["message"].as_str().expect("a message");
    assert!(message.contains("the bucket weir at http://127.0.0.1") && message.contains("does not exist"), "{ready}");
    assert_eq!(ready["database"]["state"], "ok");
    // It comes back, empty; the server did not need to be started again.
    std::fs::create_dir(server.bucket()).expect("a bucket");
    put_blob(&client, &Bytes::from_static(b"new")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_work_on_a_bucket() {
    let (server, directory) = (S3Server::start().await, tempfile::tempdir().expect("a directory"));
    let secret = directory.path().join("secret");
    std::fs::write(&secret, format!("{SECRET_KEY}\n")).expect("written");
    let path = |name: &str| directory.path().join(name).to_str().expect("UTF-8").to_owned();
    let weir = async |arguments: &[&str], bucket: &str| -> Finished {
        let (endpoint, secret) = (&*server.endpoint, path("secret"));
        let keys = ["--s3-access-key", ACCESS_KEY, "--s3-secret-key-file", &secret];
        let place = ["--blob-store", bucket, "--s3-endpoint", endpoint, "--s3-insecure-http"];
        let all = arguments.iter().chain(&place).chain(&keys);
        let all: Vec<String> = all.map(|text| (*text).to_owned()).collect();
        tokio::task::spawn_blocking(move || run_weir(all.iter().map(String::as_str))).await.expect("it ran")
    };
    let weir_here = TestWeir::start_with(
        |config| {
            in_bucket(config, &server);
            config.storage.data_dir = path("data").into();
            config.storage.database_url = None;
        },
        false,
    )
    .await;
    weir_here.make_project("demo").await;
    put_blob(&weir_here.admin().await, &Bytes::from_static(b"kept in the bucket")).await;
    weir_here.stop().await;
    let (data, saved, back) = (path("data"), path("saved"), path("back"));

    let verified = weir(&["verify", "--data-dir", &data], URL).await;
    assert_eq!(verified.code, Some(0), "{verified:?}");
    assert!(verified.stdout.contains("1 blobs with 18 bytes"), "{verified:?}");
    let listed = weir(&["gc", "--dry-run", "--data-dir", &data], URL).await;
    assert!(listed.stdout.starts_with("0 blobs"), "it is too young: {listed:?}");
    let backup = weir(&["backup", &saved, "--data-dir", &data], URL).await;
    assert!(backup.code == Some(0) && backup.stdout.contains("the blobs stay in s3://weir/registry"), "{backup:?}");
    let restored = weir(&["restore", &saved, "--data-dir", &back], URL).await;
    assert!(restored.stdout.contains("weir verify --blob-store s3://weir/registry"), "{restored:?}");
    let verified = weir(&["verify", "--data-dir", &back], URL).await;
    assert_eq!(verified.code, Some(0), "{verified:?}");

    let mistyped = weir(&["serve", "--listen", "127.0.0.1:0", "--data-dir", &back], "s3://wier").await;
    assert_eq!((mistyped.code, mistyped.stderr.lines().count()), (Some(1), 1), "{mistyped:?}");
    assert!(mistyped.stderr.contains("s3://wier") && mistyped.stderr.contains("--blob-store"), "{mistyped:?}");
}
