//! The program is killed while it tells somebody: it tells them again, under the same id.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::json;
use tokio::time::sleep;

use super::{PROJECT, Site};
use crate::upstreams::Upstream;
use crate::upstreams::images::TestImage;
use crate::upstreams::programmable::answer;

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_being_told_when_it_was_killed_is_told_again() {
    let silent = Arc::new(AtomicBool::new(true));
    let is_silent = Arc::clone(&silent);
    let receiver = Upstream::start(move |_| {
        let is_silent = is_silent.load(Ordering::SeqCst);
        Box::pin(async move {
            if is_silent {
                std::future::pending::<()>().await;
            }
            answer(204, &[], "")
        })
    })
    .await;
    let told = async |times: usize| {
        let began = Instant::now();
        while receiver.seen().len() < times {
            assert!(began.elapsed() < PATIENCE, "told {} times", receiver.seen().len());
            sleep(Duration::from_millis(20)).await;
        }
    };
    let directory = tempfile::tempdir().expect("a directory");
    let more = ["--notices-to-private"];
    let site = Site::open(directory.path(), &more).await;
    let target = json!({"name": "chat", "url": format!("http://{}/", receiver.address()), "kinds": ["tag.pushed"]});
    site.client().post_json(&format!("/weir/v1/projects/{PROJECT}/notices"), &target, StatusCode::CREATED).await;
    site.pusher().push("base", "latest", &TestImage::new("one"), false).await.expect("pushed");
    told(1).await;
    let token = site.token.clone();
    site.weir.kill();

    silent.store(false, Ordering::SeqCst);
    let site = Site::open_again(directory.path(), &more, &token);
    told(2).await;
    let seen = receiver.seen();
    assert_eq!(seen[0].header("webhook-id"), seen[1].header("webhook-id"));
    assert_eq!(seen[0].body, seen[1].body);
    let list = format!("/weir/v1/projects/{PROJECT}/notices/chat/deliveries");
    let began = Instant::now();
    loop {
        let deliveries = site.client().get_json(&list).await;
        assert_eq!(deliveries["items"].as_array().expect("items").len(), 1, "it is one notice: {deliveries}");
        if deliveries["items"][0]["state"] == "delivered" {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{deliveries}");
        sleep(Duration::from_millis(20)).await;
    }
}
