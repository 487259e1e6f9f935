//! One attempt: a request with the notice, and the answer as far as anybody wants to read it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, ClientBuilder, Response, Url, redirect};

use super::addresses::{Guarded, Reach, check_url};
use super::sign::sign;
use crate::model::{NoticeAttempt, now};
use crate::server::oci::{read_up_to, retry_after, root_cause};
use crate::server::store::DueNotice;

/// An attempt takes no longer than this, answer and all.
const DEADLINE: Duration = Duration::from_secs(15);
/// Of an answer's body so much is kept.
const MAX_BODY: usize = 4096;
/// Of an answer's headers so much is kept.
const MAX_HEADERS: usize = 4096;

/// Sends notices. Clones share its connections.
#[derive(Clone)]
pub struct Sender {
    client: Client,
    reach: Reach,
}

/// What became of an attempt.
#[derive(Debug, Clone)]
pub struct Sent {
    /// As it is written down; its number is given there.
    pub attempt: NoticeAttempt,
    /// The answer in a few words.
    pub answer: String,
    /// How long the receiver asks to be left alone.
    pub retry_after: Option<Duration>,
}

impl Sender {
    /// Sends only to where `reach` allows.
    pub fn new(reach: Reach) -> reqwest::Result<Self> {
        // A machine without CA certificates still sends to http:// addresses.
        let client = builder(reach).build().or_else(|_| builder(reach).tls_certs_only([]).build())?;
        Ok(Self { client, reach })
    }

    /// Tries to deliver a notice. A redirect is not followed: it would lead where nobody agreed to send.
    pub async fn send(&self, due: &DueNotice) -> Sent {
        let (at, began) = (now(), Instant::now());
        let mut request = format!("POST {}\n", due.url);
        let result = match self.prepare(due, at / 1000) {
            Ok((url, headers)) => {
                write_headers(&mut request, &headers);
                self.post(url, headers, due.notice.body.clone()).await
            }
            Err(problem) => Answer { problem: Some(problem), ..Answer::default() },
        };
        let answer = match (result.status, &result.problem) {
            (Some(status), _) => status.to_string(),
            (None, Some(problem)) => problem.clone(),
            (None, None) => String::new(),
        };
        let attempt = NoticeAttempt {
            number: 0,
            at,
            duration_ms: i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX),
            request,
            status: result.status.map(i64::from),
            response: result.response,
            problem: result.problem,
        };
        Sent { attempt, answer, retry_after: result.retry_after }
    }

    fn prepare(&self, due: &DueNotice, seconds: i64) -> Result<(Url, HeaderMap), String> {
        let url = check_url(&due.url, self.reach)?;
        let sealed = "its secret was sealed with another key: give the target a new secret";
        let secret = due.secret.as_ref().ok_or(sealed)?;
        let signature = sign(secret, &due.notice.id, seconds, &due.notice.body).map_err(|error| error.to_string())?;
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        for (name, value) in [
            ("webhook-id", due.notice.id.as_str()),
            ("webhook-timestamp", &seconds.to_string()),
            ("webhook-signature", &signature),
        ] {
            let value = HeaderValue::from_str(value).map_err(|error| error.to_string())?;
            headers.insert(HeaderName::from_static(name), value);
        }
        Ok((url, headers))
    }

    async fn post(&self, url: Url, headers: HeaderMap, body: String) -> Answer {
        let response = match self.client.post(url).headers(headers).body(body).send().await {
            Ok(response) => response,
            Err(error) => return Answer { problem: Some(words(error)), ..Answer::default() },
        };
        let status = response.status();
        let retry_after = retry_after(response.headers());
        let problem = match status {
            status if status.is_success() => None,
            status if status.is_redirection() => Some(format!("it answered {status}: redirects are not followed")),
            status => Some(format!("it answered {status}")),
        };
        Answer { status: Some(status.as_u16()), response: Some(read(response).await), problem, retry_after }
    }
}

#[derive(Default)]
struct Answer {
    status: Option<u16>,
    response: Option<String>,
    problem: Option<String>,
    retry_after: Option<Duration>,
}

fn builder(reach: Reach) -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
        .timeout(DEADLINE)
        .redirect(redirect::Policy::none())
        // A proxy would look names up by itself, and nobody would check what they lead to.
        .no_proxy()
        .no_gzip()
        .dns_resolver(Arc::new(Guarded(reach)))
}

/// The answer as text: its headers and the beginning of its body.
async fn read(response: Response) -> String {
    let mut text = format!("{:?} {}\n", response.version(), response.status());
    write_headers(&mut text, response.headers());
    match read_up_to(response, MAX_BODY).await {
        Ok(body) => {
            text.push('\n');
            // PostgreSQL's text has no NUL.
            text.push_str(&String::from_utf8_lossy(&body).replace('\0', "\u{fffd}"));
        }
        Err(error) => {
            let _ = write!(text, "\n[the rest did not arrive: {}]", words(error));
        }
    }
    text
}

fn write_headers(text: &mut String, headers: &HeaderMap) {
    let before = text.len();
    for (name, value) in headers {
        if text.len() - before > MAX_HEADERS {
            text.push_str("…\n");
            return;
        }
        let value: String = String::from_utf8_lossy(value.as_bytes()).chars().take(MAX_HEADERS / 4).collect();
        let _ = writeln!(text, "{name}: {value}");
    }
}

fn words(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", DEADLINE.as_secs());
    }
    root_cause(&error.without_url())
}
