//! Checks of what tags follow: one question for all tags that follow the same, and at most one more request for what changed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::asking::Asks;
use super::{Fetched, ImportError, Importer, Source};
use crate::model::{Actor, Digest, ImageReference, Tag};
use crate::server::oci::{Error as OciError, Manifest};
use crate::server::store::{self, Assignment, BudgetKey, CheckEnd, DueImport, NextCheck};

/// One check, its downloads included, must end in this time.
const DEADLINE: Duration = Duration::from_secs(30 * 60);

/// What a question found, and what was fetched because of it; each part once for all tags it concerns.
struct Found {
    source: Source,
    /// What the reference means there now.
    digest: Digest,
    top: Option<Manifest>,
    whole: Option<Fetched>,
    legacy: Option<Fetched>,
    /// Why it could not be fetched.
    failure: Option<Arc<ImportError>>,
}

/// How the check of one tag went.
enum End {
    Unchanged,
    Fetched(Digest),
}

impl Importer {
    /// What the check of a tag asks. A reference or a secret that cannot be used is told by the check itself; while the database cannot
    /// be asked, nobody knows.
    pub async fn assign(&self, tag: &Tag) -> Result<Assignment, store::Error> {
        let reference = tag.source.as_deref().unwrap_or_default();
        let assignment = |budget, question, repository, upstream_tag| {
            let (tag_id, generation) = (tag.id.clone(), tag.generation);
            Assignment { tag_id, generation, budget, question, repository, upstream_tag }
        };
        Ok(match self.source(&tag.project, reference, tag.insecure == 1).await {
            Ok(source) => {
                let full = canonical(&source.reference);
                let question = format!("{} {} {}", source.budget.id, full.exact(), tag.insecure);
                assignment(source.budget, question, full.repository_path(), full.tag)
            }
            Err(ImportError::Store(cause @ store::Error::Db(_))) => return Err(cause),
            Err(_) => {
                let nowhere = BudgetKey { id: String::new(), host: String::new(), account: String::new() };
                assignment(nowhere, tag.id.clone(), String::new(), String::new())
            }
        })
    }

    /// Those of a group that do ask the same as its first, with the same rights, as their sources and secrets are now. What asks something
    /// else has to be found out anew for the others, which must not be given this answer.
    async fn of_one_question(&self, due: &[DueImport]) -> Result<Vec<DueImport>, store::Error> {
        let [first, others @ ..] = due else { return Ok(Vec::new()) };
        let mut same = vec![first.clone()];
        if others.is_empty() {
            return Ok(same);
        }
        let asked = self.assign(&first.tag).await?;
        for one in others {
            let asks = self.assign(&one.tag).await?;
            if (&asks.budget, &asks.question) == (&asked.budget, &asked.question) {
                same.push(one.clone());
            } else {
                self.store.unassign_import(&one.tag.id, self.store.owner()).await?;
            }
        }
        Ok(same)
    }

    /// Checks once what all these tags follow, imports what changed, and records how it went for each, with the time of its next check.
    pub async fn check(
        &self,
        due: &[DueImport],
        next: impl Fn(&DueImport, Option<&ImportError>) -> Option<NextCheck>,
    ) -> Result<(), store::Error> {
        let due = &self.of_one_question(due).await?[..];
        let mut found = match in_time(due, self.find(due)).await {
            Ok(found) => Ok(found),
            Err(cause) => Err(Arc::new(cause)),
        };
        for one in due {
            let end = match &mut found {
                Ok(found) => in_time(due, self.take(one, found)).await,
                Err(cause) => Err(ImportError::Shared(Arc::clone(cause))),
            };
            match (&end, &found) {
                (Ok(End::Unchanged), Ok(found)) => {
                    let end = CheckEnd::Unchanged { digest: found.digest.as_str() };
                    self.store.record_check(one, &end, next(one, None)).await?;
                }
                (Ok(End::Fetched(digest)), _) => {
                    let end = CheckEnd::Fetched { digest: digest.as_str() };
                    self.store.record_check(one, &end, next(one, None)).await?;
                }
                // It was not asked, or asked for what the tag does not follow any more: what is due stays due.
                (Err(error), _) if error.is_resting() || error.is_overtaken() => {
                    self.store.release_import(&one.tag.id, self.store.owner()).await?;
                }
                (Err(error), _) => {
                    self.shared.troubles.expect();
                    let message = error.to_string();
                    let end = CheckEnd::Failed { reason: error.reason(), message: &message };
                    self.store.record_check(one, &end, next(one, Some(error))).await?;
                }
                (Ok(End::Unchanged), Err(_)) => {}
            }
        }
        Ok(())
    }

    /// Asks what the reference of these tags means now: with a HEAD where any of them knows what it meant before.
    async fn find(&self, due: &[DueImport]) -> Result<Found, ImportError> {
        let Some(tag) = due.first().map(|one| &one.tag) else { return Err(ImportError::Late) };
        let source = self.source(&tag.project, tag.source.as_deref().unwrap_or_default(), tag.insecure == 1).await?;
        let (whole, legacy, failure) = (None, None, None);
        let seen = due.iter().find_map(seen).and_then(|digest| digest.parse::<Digest>().ok());
        if let Some(seen) = seen {
            let head = self.client.head_manifest(&source.reference, Some(&seen), &source.access);
            if let Some(head) = self.ask(&source, Asks::Head, head).await? {
                return Ok(Found { source, digest: head.digest, top: None, whole, legacy, failure });
            }
            let changed = self.client.get_changed_manifest(&source.reference, &seen, &source.access);
            let top = self.ask(&source, Asks::Manifest, changed).await?.map(|remote| remote.manifest);
            let digest = top.as_ref().map_or(seen, |top| top.digest.clone());
            return Ok(Found { source, digest, top, whole, legacy, failure });
        }
        // Of a registry that nothing is known of: the second HEAD shows whether the first one took from its allowance.
        for _ in 0..2 {
            if self.shared.allowances.wants_a_head(&source.budget.id) {
                let head = self.client.head_manifest(&source.reference, None, &source.access);
                match self.ask(&source, Asks::Head, head).await {
                    // It may mind HEADs only.
                    Err(ImportError::Upstream(cause)) if !cause.is_transient() => break,
                    asked => asked?,
                };
            }
        }
        let top = self.top(&source).await?;
        Ok(Found { source, digest: top.digest.clone(), top: Some(top), whole, legacy, failure })
    }

    /// Brings a tag what was found, unless it has it.
    async fn take(&self, one: &DueImport, found: &mut Found) -> Result<End, ImportError> {
        if seen(one) == Some(found.digest.as_str()) {
            return Ok(End::Unchanged);
        }
        let tag = &one.tag;
        let is_legacy = tag.import_mode == "Legacy";
        self.fetch_once(found, is_legacy).await?;
        let fetched = if is_legacy { &found.legacy } else { &found.whole };
        let Some(fetched) = fetched else { return Err(ImportError::Late) };
        let stream = self.store.stream(&tag.project, &tag.stream).await?;
        let actor = match &one.import.requested_by {
            Some(person) if one.import.requested_at.is_some() => Actor::person(person.clone()),
            _ => Actor::schedule(),
        };
        self.store_fetched(&found.source, &stream, tag, fetched, &actor).boxed().await?;
        Ok(End::Fetched(found.digest.clone()))
    }

    /// Fetches what was found unless that has been done, or did not work.
    async fn fetch_once(&self, found: &mut Found, is_legacy: bool) -> Result<(), ImportError> {
        if let Some(cause) = &found.failure {
            return Err(ImportError::Shared(Arc::clone(cause)));
        }
        if if is_legacy { found.legacy.is_some() } else { found.whole.is_some() } {
            return Ok(());
        }
        let fetched = async {
            let top = match &found.top {
                Some(top) => top.clone(),
                None => self.top(&found.source).await?,
            };
            Ok::<_, ImportError>((top.clone(), self.fetch_below(&found.source, top, is_legacy).await?))
        };
        match fetched.await {
            Ok((top, fetched)) => {
                // It may have changed again since the question.
                found.digest = top.digest.clone();
                found.top = Some(top);
                *if is_legacy { &mut found.legacy } else { &mut found.whole } = Some(fetched);
                Ok(())
            }
            Err(cause) => {
                let cause = Arc::new(cause);
                found.failure = Some(Arc::clone(&cause));
                Err(ImportError::Shared(cause))
            }
        }
    }
}

/// The digest the reference meant at the last check. Another source, mode or platform means a new look even at a known digest.
fn seen(due: &DueImport) -> Option<&str> {
    due.import.upstream_digest.as_deref().filter(|_| due.import.generation == due.tag.generation)
}

/// The reference with all defaults filled in, Docker Hub under one name.
pub(super) fn canonical(reference: &ImageReference) -> ImageReference {
    let full = reference.docker_client_defaults();
    let registry = full.daemon_minimal().registry;
    ImageReference { registry, ..full }
}

async fn in_time<T>(due: &[DueImport], work: impl Future<Output = Result<T, ImportError>>) -> Result<T, ImportError> {
    let registry = || due.first().and_then(|one| one.tag.source.clone()).unwrap_or_default();
    tokio::time::timeout(DEADLINE, work).await.map_err(|_| OciError::Timeout { registry: registry() })?
}
