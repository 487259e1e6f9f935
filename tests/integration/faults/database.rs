//! The database goes away for some seconds: everybody is told so and nobody hangs, and when it is back everything goes on by itself.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use reqwest::{Method, Response, StatusCode};
use tokio::time::{sleep, timeout};
use weir::model::{Actor, BuildPhase, Role};
use weir::server::hash::sha256;
use weir::server::store::Store;

use super::refusal;
use crate::stories::inline_config;
use crate::stories::load::Pusher;
use crate::support::{Cable, Client, TestWeir};
use crate::upstreams::images::TestImage;

const AWAY: Duration = Duration::from_secs(10);
/// No request may take longer to be told: some wait for their turn behind one that waits for the database.
const TOLD_WITHIN: Duration = Duration::from_secs(20);
/// How long controllers may take after that: they wait longer after each failure.
const BACK_WITHIN: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn away_for_ten_seconds() {
    let Ok(server) = std::env::var("WEIR_TEST_POSTGRES_URL") else {
        assert!(std::env::var_os("CI").is_none(), "tools/test-postgres starts the database this is about");
        eprintln!("only PostgreSQL can be away, and there is none: run tools/test-postgres cargo test");
        return;
    };
    let address = server.split(['@', '/']).rfind(|part| part.contains(':')).expect("host and port").to_owned();
    let mut cable = Cable::to(&address).await;
    let end = cable.address.to_string();
    let weir = TestWeir::start_with(
        |config| {
            let url = config.storage.database_url.as_mut().expect("a database of its own");
            *url = url.replace(&address, &end);
        },
        true,
    )
    .await;
    assert!(cable.passed() > 0, "it goes through the cable");
    let ada = weir.user("ada", "demo", Role::Editor).await;
    let pusher = Pusher::new(&weir.url, "demo", ada.token());
    let fields = inline_config("demo", "built", "FROM base:latest\n");
    let name = "built".parse().expect("a name");
    weir.store().create_config("demo", &name, &fields, &Actor::system("test")).await.expect("a config");
    let (base, next) = (TestImage::new("base"), TestImage::new("next"));
    pusher.push("base", "latest", &base, false).await.expect("pushed");
    is_built(weir.store(), 1).await;

    cable.cut().await;
    let began = Instant::now();
    while began.elapsed() < AWAY {
        all_are_told(&ada, &next).await;
    }
    cable.mend().await;
    pushes_again(&pusher, &next, &ada).await;
    // The controllers, which nobody started again, build on what was pushed.
    is_built(weir.store(), 2).await;
    for (image, reference) in [(&base, base.digest().to_string()), (&next, "latest".to_owned())] {
        let pulled = ada.get(&format!("/v2/demo/base/manifests/{reference}")).await;
        assert_eq!(pulled.bytes().await.expect("the manifest"), image.manifest);
    }
    let broken = weir.store().verify_ledger().await.expect("the ledger").1;
    assert!(broken.is_empty(), "{broken:?}");
    weir.stop().await;
}

/// Reads, writes and pages at once, more than the pool has connections.
async fn all_are_told(ada: &Client, image: &TestImage) {
    let send = async |method, path: &str, body: &Bytes| -> Response {
        let request = ada.request(method, path).header("content-type", image.media_type).body(body.clone());
        let answer = timeout(TOLD_WITHIN, request.send()).await.unwrap_or_else(|_| panic!("{path} hangs"));
        answer.expect("an answer")
    };
    let (digest, empty) = (sha256(&image.layer), Bytes::new());
    let upload = format!("/v2/demo/base/blobs/uploads/?digest={digest}");
    let registry = join_all((0..12).flat_map(|_| {
        [
            send(Method::GET, "/v2/demo/base/manifests/latest", &empty),
            send(Method::PUT, "/v2/demo/base/manifests/latest", &image.manifest),
            send(Method::POST, &upload, &image.layer),
        ]
    }));
    let streams = "/apis/image.openshift.io/v1/namespaces/demo/imagestreams";
    let others = async {
        tokio::join!(
            send(Method::GET, streams, &empty),
            send(Method::GET, "/p/demo", &empty),
            send(Method::GET, "/readyz", &empty),
            send(Method::GET, "/healthz", &empty)
        )
    };
    let (registry, (rest, page, ready, health)) = tokio::join!(registry, others);
    for answer in registry {
        assert!(answer.headers().contains_key("retry-after"), "{answer:?}");
        let (status, code, message) = refusal(answer).await;
        assert_eq!((status, &*code), (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"), "{message}");
        assert!(message.contains("try again"), "{message}");
    }
    for answer in [rest, page, ready] {
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
        assert!(answer.headers().contains_key("retry-after"), "{answer:?}");
        let (url, said) = (answer.url().clone(), answer.text().await.expect("all of it"));
        assert!(said.to_lowercase().contains("database"), "{url}: {said}");
    }
    assert_eq!(health.status(), StatusCode::OK, "the process lives");
}

/// Clients try again, as they were told.
async fn pushes_again(pusher: &Pusher, image: &TestImage, ada: &Client) {
    let began = Instant::now();
    while ada.get("/readyz").await.status() != StatusCode::OK {
        assert!(began.elapsed() < BACK_WITHIN, "it is not ready again");
        sleep(Duration::from_millis(200)).await;
    }
    let pushes = (0..40).map(|n| {
        let image = TestImage::new(&format!("after-{n}"));
        async move { pusher.push("other", &format!("t{n}"), &image, n % 2 == 0).await }
    });
    for pushed in join_all(pushes).await {
        pushed.expect("each of the pool's connections is good again");
    }
    pusher.push("base", "latest", image, false).await.expect("pushed");
}

/// Waits until so many builds came to a good end.
async fn is_built(store: &Store, builds: usize) {
    let began = Instant::now();
    loop {
        let config = store.config("demo", "built").await.expect("the config");
        let list = store.list_builds(&config.id, None, 10).await.expect("builds");
        if list.len() == builds && list.iter().all(|build| build.phase == BuildPhase::Complete) {
            return;
        }
        assert!(began.elapsed() < BACK_WITHIN, "{builds} builds expected: {list:#?}");
        sleep(Duration::from_millis(100)).await;
    }
}
