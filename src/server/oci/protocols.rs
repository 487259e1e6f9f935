//! Which registries speak version 2 of the protocol: of one that does not, nothing is ever found, and people should know why.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;

use super::Error;
use super::transport::{MAX_ERROR_BODY, Question, Transport, read_up_to};

/// The header by which registries of version 2 say that they are one; not all of them say so.
const API_VERSION: &str = "docker-distribution-api-version";
/// For so long it is believed: a registry that was put there since is found then.
const BELIEVED: Duration = Duration::from_secs(10 * 60);
/// More than this many and those that are not believed any more are thrown out.
const MANY: usize = 1024;

/// What was found out, by host.
#[derive(Default)]
pub(super) struct Protocols(Mutex<HashMap<String, (Instant, bool)>>);

impl Protocols {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Instant, bool)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The registry has answered as one of version 2.
    pub(super) fn note_v2(&self, registry: &str) {
        self.note(registry, true);
    }

    fn note(&self, registry: &str, speaks: bool) {
        let mut known = self.lock();
        if known.len() >= MANY {
            known.retain(|_, (at, _)| at.elapsed() < BELIEVED);
        }
        match known.get_mut(registry) {
            Some(known) => *known = (Instant::now(), speaks),
            None => _ = known.insert(registry.to_owned(), (Instant::now(), speaks)),
        }
    }

    /// Whether the registry speaks version 2, as it was found out a while ago or is by `look` now.
    pub(super) async fn speaks_v2(&self, registry: &str, look: impl Future<Output = bool>) -> bool {
        let known = self.lock().get(registry).copied().filter(|(at, _)| at.elapsed() < BELIEVED);
        if let Some((_, speaks)) = known {
            return speaks;
        }
        let speaks = look.await;
        self.note(registry, speaks);
        speaks
    }
}

impl Transport {
    /// Names an answer that is none. What is not found at a registry that knows nothing of this protocol is told apart.
    pub(super) async fn refusal(&self, question: &Question<'_>, response: Response) -> Error {
        if !matches!(response.status(), StatusCode::NOT_FOUND | StatusCode::GONE) {
            return question.refusal(response).await;
        }
        let not_found = Error::NotFound { reference: question.subject.to_owned() };
        if response.headers().contains_key(API_VERSION) || tells_an_oci_error(response).await {
            return not_found;
        }
        let registry = question.target.registry.clone();
        if self.protocols.speaks_v2(&registry, self.looks_like_v2(question)).await {
            not_found
        } else {
            Error::NotV2 { registry }
        }
    }

    /// Whether the registry has the base of this protocol; one that does not say otherwise has. What is asked for there is nobody's secret,
    /// so that no password is shown.
    async fn looks_like_v2(&self, question: &Question<'_>) -> bool {
        let registry = &question.target.registry;
        let scheme = match question.access.insecure {
            true => self.known_scheme(registry).unwrap_or("https"),
            false => "https",
        };
        let Ok(url) = format!("{scheme}://{registry}/v2/").parse::<Url>() else { return true };
        let base = Question { method: Method::GET, unless: None, accept: "", ..question.asked_as(question.access) };
        match self.follow(&base, url, None).await {
            Ok(answer) if answer.status() == StatusCode::NOT_FOUND => {
                answer.headers().contains_key(API_VERSION) || tells_an_oci_error(answer).await
            }
            _ => true,
        }
    }
}

/// An error as the specification of the distribution of images has it.
#[derive(Deserialize)]
struct OciErrors {
    errors: Vec<OciError>,
}

#[derive(Deserialize)]
struct OciError {
    #[serde(rename = "code")]
    _code: String,
}

/// Whether the body is an error as registries of version 2 write them. The answer to a HEAD has none.
async fn tells_an_oci_error(response: Response) -> bool {
    let body = read_up_to(response, MAX_ERROR_BODY).await.unwrap_or_default();
    serde_json::from_slice::<OciErrors>(&body).is_ok_and(|told| !told.errors.is_empty())
}
