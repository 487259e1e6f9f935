//! Passwords that a registry refuses. What is public there needs none, so it is asked for without: a password that was changed or revoked
//! must not stop what everybody may have.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::{Response, StatusCode};

use super::Error;
use super::auth::Key;
use super::client::Access;
use super::transport::{Question, Transport};

/// For so long a refused password is not shown again: registries lock accounts that fail too often.
const REMEMBERED: Duration = Duration::from_secs(5 * 60);

/// The passwords that were refused where it went without, and when.
#[derive(Default)]
pub(super) struct Refused(Mutex<HashMap<Key, Instant>>);

impl Refused {
    fn note(&self, key: Key) {
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        refused.retain(|_, at| at.elapsed() < REMEMBERED);
        refused.insert(key, Instant::now());
    }

    fn forget(&self, key: &Key) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Whether this one was refused a short while ago.
    pub(super) fn has(&self, key: &Key) -> bool {
        let refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        refused.get(key).is_some_and(|at| at.elapsed() < REMEMBERED)
    }
}

/// Whether it was told what there is: not that something is wrong, or too much.
fn is_answer(status: StatusCode) -> bool {
    status.is_success() || matches!(status, StatusCode::NOT_MODIFIED | StatusCode::NOT_FOUND)
}

impl Transport {
    /// Asks with the password, and without when that is refused. When that does not work either, the refusal is the answer.
    pub(super) async fn ask_any(&self, question: &Question<'_>) -> Result<Response, Error> {
        if question.access.credentials.is_none() {
            return self.ask_as_is(question).await;
        }
        let key = Key::of(question.target, question.access);
        if self.refused.has(&key) {
            if let Some(answer) = self.ask_without_password(question).await {
                return answer;
            }
            self.refused.forget(&key);
        }
        let asked = self.ask_as_is(question).await;
        if !matches!(asked, Err(Error::WrongPassword { .. })) {
            return asked;
        }
        let Some(answer) = self.ask_without_password(question).await else { return asked };
        if answer.as_ref().is_ok_and(|response| is_answer(response.status())) {
            self.refused.note(key);
        }
        answer
    }

    /// What anybody is answered, unless that is that it takes a password.
    async fn ask_without_password(&self, question: &Question<'_>) -> Option<Result<Response, Error>> {
        let access = Access { credentials: None, insecure: question.access.insecure };
        match self.ask_as_is(&question.asked_as(&access)).await {
            Ok(response) if matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => None,
            Err(Error::Denied { .. } | Error::WrongPassword { .. }) => None,
            answer => Some(answer),
        }
    }
}
