//! The one way in which questions go to other registries: none while a registry is paused or rests, none before its turn (`turns`), none
//! for a manifest when its allowance is known to be used up; and what every answer tells is remembered for all servers.
//!
//! Rests are in the database before anybody is told of them. What was asked and told is kept in memory (`allowances`) and written down
//! every few seconds ([`Importer::write_down_answers`]): a crash loses figures that the next answer tells again.

use std::time::Duration;

use bytes::Bytes;
use tracing::warn;

use super::allowances::{Asks, Told, milliseconds};
use super::{ImportError, Importer, Source};
use crate::model::{now, rfc3339};
use crate::server::oci::{BlobDownload, Changed, Error as OciError, HeadManifest, RemoteManifest};
use crate::server::store::{self, RestKind};

/// What an answer may tell besides what was asked for.
pub(super) trait Tells {
    fn told(&self) -> Told {
        Told::default()
    }
}

impl Tells for Option<HeadManifest> {
    fn told(&self) -> Told {
        let told = |head: &HeadManifest| Told { rate_limit: head.rate_limit, is_unchanged: head.is_unchanged };
        self.as_ref().map(told).unwrap_or_default()
    }
}

impl Tells for RemoteManifest {
    fn told(&self) -> Told {
        Told { rate_limit: self.rate_limit, is_unchanged: false }
    }
}

impl Tells for Changed {
    fn told(&self) -> Told {
        match self {
            Self::Not { rate_limit } => Told { rate_limit: *rate_limit, is_unchanged: true },
            Self::To(manifest) => manifest.told(),
        }
    }
}

/// As the database counts it.
fn in_ms(wait: Duration) -> i64 {
    i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)
}

impl Tells for Bytes {}
impl Tells for BlobDownload {}

impl Importer {
    /// Asks a registry something, unless it wants to be left alone, or a site admin wants that.
    pub(super) async fn ask<T: Tells>(
        &self,
        source: &Source,
        asks: Asks,
        question: impl Future<Output = Result<T, OciError>>,
    ) -> Result<T, ImportError> {
        let nobody;
        let source = match self.client.is_refused(&source.reference, &source.access) {
            // It will be asked without the password, and answers as it does to everybody. The question that finds that out is the account's.
            true => {
                nobody = Source { budget: self.budget(&source.budget.host, None), ..source.clone() };
                &nobody
            }
            false => source,
        };
        let state = self.refuse_if_unasked(source).await?;
        self.wait_for_turn(source, asks, state.as_ref()).await?;
        // What was true before the wait need not be after it.
        let state = self.refuse_if_unasked(source).await?;
        let under_way = self.shared.allowances.begin(source, asks, state.as_ref())?;
        let answer = question.await;
        self.note_login(source, answer.as_ref().err()).await;
        match &answer {
            Ok(answer) => under_way.answered(&source.project, answer.told()),
            Err(OciError::RateLimited { registry, retry_after, abuse }) => {
                // The answer to a HEAD has no body that could tell one limit from the other.
                let is_used_up = asks == Asks::Head && self.shared.allowances.is_used_up(&source.budget.id);
                let abuse = *abuse && !is_used_up;
                under_way.refused(&source.project);
                let asked = retry_after.map(in_ms);
                let kind = if abuse { RestKind::AbuseLimit } else { RestKind::RateLimit };
                let until = self.store.rest_budget(&source.budget, asked, kind).await?;
                warn!(registry = %registry, "Registry {registry} refuses to answer: it is asked nothing until {}", rfc3339(until));
                let (registry, retry_after) = (registry.clone(), Some(milliseconds(until - now())));
                return Err(OciError::RateLimited { registry, retry_after, abuse }.into());
            }
            Err(OciError::Upstream { registry, retry_after: Some(wait), .. }) => {
                under_way.refused(&source.project);
                let until = self.store.rest_budget(&source.budget, Some(in_ms(*wait)), RestKind::Unavailable).await?;
                warn!(registry = %registry, "Registry {registry} is not to be had: it is asked nothing until {}", rfc3339(until));
            }
            Err(_) => under_way.failed(&source.project),
        }
        Ok(answer?)
    }

    /// What an answer, or its failure, tells of the secret that was asked with. A registry that lets everybody in tells nothing of it.
    async fn note_login(&self, source: &Source, failure: Option<&OciError>) {
        let Some(secret_id) = &source.secret_id else { return };
        let host = &source.budget.host;
        if self.client.is_refused(&source.reference, &source.access) {
            let cause = OciError::WrongPassword { reference: source.reference.exact() };
            self.shared.allowances.turned_away(secret_id, host, &cause);
            return;
        }
        match failure {
            None | Some(OciError::NotFound { .. }) => {
                if self.client.is_signed_in(&source.reference, &source.access).await {
                    self.shared.allowances.let_in(secret_id, host);
                }
            }
            Some(cause @ (OciError::WrongPassword { .. } | OciError::Denied { .. })) => {
                self.shared.allowances.turned_away(secret_id, host, cause);
            }
            Some(_) => {}
        }
    }

    /// Writes down what registries told and were asked since the last time, if it is time to.
    pub async fn write_down_answers(&self) -> Result<(), store::Error> {
        let (answers, logins) = self.shared.allowances.take();
        if !answers.is_empty() {
            self.store.note_answers(&answers).await?;
        }
        if logins.is_empty() { Ok(()) } else { self.store.note_logins(&logins).await }
    }
}
