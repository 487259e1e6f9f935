//! Notices: other programs are told of changes, at least once and under one id, and everybody can see how that went.

mod delivery;
mod failures;
mod rights;
mod states;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::StatusCode;
use serde_json::{Value, json};
use weir::model::Role;

use crate::support::{Client, TestWeir};
use crate::upstreams::programmable::answer;
use crate::upstreams::{Seen, Upstream};

/// A server that may send notices to this machine, project `demo` with its admin `boss`, and somebody who is told.
struct Told {
    weir: TestWeir,
    boss: Client,
    receiver: Upstream,
    /// What the receiver answers next; then 200.
    answers: Arc<Mutex<VecDeque<u16>>>,
}

impl Told {
    async fn start() -> Self {
        let weir = TestWeir::start_with(|config| config.notices_to_private = true, false).await;
        let boss = weir.user("boss", "demo", Role::Admin).await;
        let answers: Arc<Mutex<VecDeque<u16>>> = Arc::default();
        let next = Arc::clone(&answers);
        let receiver = Upstream::answering(move |_| {
            let status = next.lock().unwrap().pop_front().unwrap_or(200);
            answer(status, &[("location", "/elsewhere"), ("x-receiver", "chat")], format!("answer {status}"))
        })
        .await;
        Self { weir, boss, receiver, answers }
    }

    fn will_answer(&self, statuses: &[u16]) {
        self.answers.lock().unwrap().extend(statuses);
    }

    fn url(&self) -> String {
        format!("http://{}/hook?room=1", self.receiver.address())
    }

    /// Makes a target `chat` of these kinds; gives its secret.
    async fn target(&self, kinds: &[&str]) -> String {
        let body = json!({"name": "chat", "url": self.url(), "kinds": kinds});
        let made = self.boss.post_json(&own("notices"), &body, StatusCode::CREATED).await;
        made["secret"].as_str().unwrap().to_owned()
    }

    /// What was told so far, with the type of each.
    fn kinds(&self) -> Vec<String> {
        let kind = |seen: &Seen| document(seen)["type"].as_str().unwrap().to_owned();
        self.receiver.seen().iter().map(kind).collect()
    }

    async fn deliveries(&self) -> Vec<Value> {
        self.boss.get_json(&own("notices/chat/deliveries")).await["items"].as_array().unwrap().clone()
    }
}

fn own(path: &str) -> String {
    format!("/weir/v1/projects/demo/{path}")
}

fn document(seen: &Seen) -> Value {
    serde_json::from_str(&seen.body).unwrap()
}

/// Whether a request is signed as Standard Webhooks says, computed here from the specification.
fn is_signed(seen: &Seen, secret: &str) -> bool {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key);
    let header = |name: &str| seen.header(name).unwrap();
    let content = format!("{}.{}.{}", header("webhook-id"), header("webhook-timestamp"), seen.body);
    let given = STANDARD.decode(header("webhook-signature").strip_prefix("v1,").unwrap()).unwrap();
    ring::hmac::verify(&key, content.as_bytes(), &given).is_ok()
}
