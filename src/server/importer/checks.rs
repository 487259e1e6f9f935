//! Checks of what tags follow: one question for all tags that follow the same, and at most one more request for what changed.

use std::sync::Arc;
use std::time::Duration;

use super::allowances::Asks;
use super::source::{Source, heard};
use super::takes::{End, Found, seen};
use super::turns::Wait;
use super::{CheckPlace, ImportError, Importer};
use crate::model::{Digest, Tag};
use crate::server::oci::{Changed, Error as OciError, Manifest};
use crate::server::store::{self, Assignment, BudgetKey, CheckEnd, DueImport, NextCheck};

/// One check, its downloads included, must end in this time.
const DEADLINE: Duration = Duration::from_secs(30 * 60);

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
                let full = source.reference.canonical();
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
    /// `place` is the check's among those of this server.
    pub async fn check(
        &self,
        due: &[DueImport],
        mut place: CheckPlace,
        next: impl Fn(&DueImport, Option<&ImportError>) -> Option<NextCheck>,
    ) -> Result<(), store::Error> {
        let due = &self.of_one_question(due).await?[..];
        let mut found = match in_time(due, self.find(due)).await {
            Ok(found) => Ok(found),
            Err(cause) => Err(Arc::new(cause)),
        };
        for one in due {
            let end = match &mut found {
                Ok(found) => in_time(due, self.take(one, found, &mut place)).await,
                Err(cause) => Err(ImportError::Shared(Arc::clone(cause))),
            };
            self.record_end(one, &end, &next).await?;
        }
        Ok(())
    }

    /// Records how the check of one tag went.
    async fn record_end(
        &self,
        one: &DueImport,
        end: &Result<End, ImportError>,
        next: &impl Fn(&DueImport, Option<&ImportError>) -> Option<NextCheck>,
    ) -> Result<(), store::Error> {
        let end = match end {
            Ok(End::Unchanged(digest)) => CheckEnd::Unchanged { digest: digest.as_str() },
            Ok(End::Waiting(digest)) => CheckEnd::Waiting { digest: digest.as_str() },
            Ok(End::Fetched(digest)) => CheckEnd::Fetched { digest: digest.as_str() },
            Ok(End::NoPlace) => return self.store.postpone_download(one).await,
            // It was not asked, or asked for what the tag does not follow any more: what is due stays due.
            Err(error) if error.is_resting() || error.is_overtaken() => {
                return self.store.release_import(&one.tag.id, self.store.owner()).await;
            }
            Err(error) => {
                self.shared.troubles.expect();
                let message = error.to_string();
                let end = CheckEnd::Failed { reason: error.reason(), message: &message };
                return self.store.record_check(one, &end, next(one, Some(error))).await;
            }
        };
        self.store.record_check(one, &end, next(one, None)).await
    }

    /// Asks what the reference of these tags means now: with a HEAD where any of them knows what it meant before.
    async fn find(&self, due: &[DueImport]) -> Result<Found, ImportError> {
        let Some(tag) = due.first().map(|one| &one.tag) else { return Err(ImportError::Late) };
        let source = self.source(&tag.project, tag.source.as_deref().unwrap_or_default(), tag.insecure == 1).await?;
        let source = source.waiting(Wait::from(due));
        let seen = due.iter().find_map(seen).and_then(|digest| digest.parse::<Digest>().ok());
        for mirror in self.mirrors_of_tag(&source).await? {
            if let Some((digest, top)) = heard(&mirror, self.find_at(&mirror, seen.as_ref()).await) {
                return Ok(Found::new(source, digest, top));
            }
        }
        let (digest, top) = self.find_at(&source, seen.as_ref()).await?;
        Ok(Found::new(source, digest, top))
    }

    /// Asks one place: the digest there, and the manifest if that came along.
    async fn find_at(&self, source: &Source, seen: Option<&Digest>) -> Result<(Digest, Option<Manifest>), ImportError> {
        if let Some(seen) = seen {
            // That nothing changed may be told by a cache, which knows nothing of what has to be learned first.
            let known = Some(seen).filter(|_| !self.shared.allowances.wants_a_head(&source.budget.id));
            let head = self.client.head_manifest(&source.reference, known, &source.access);
            if let Some(head) = self.ask(source, Asks::Head, head).await? {
                return Ok((head.digest, None));
            }
            let changed = self.client.get_changed_manifest(&source.reference, seen, &source.access);
            return Ok(match self.ask(source, Asks::Manifest, changed).await? {
                Changed::Not { .. } => (seen.clone(), None),
                Changed::To(remote) => (remote.manifest.digest.clone(), Some(remote.manifest)),
            });
        }
        // Of a registry that nothing is known of: the second HEAD shows whether the first one took from its allowance.
        for _ in 0..2 {
            if self.shared.allowances.wants_a_head(&source.budget.id) {
                let head = self.client.head_manifest(&source.reference, None, &source.access);
                match self.ask(source, Asks::Head, head).await {
                    // It may mind HEADs only.
                    Err(ImportError::Upstream(cause)) if !cause.is_transient() => break,
                    asked => asked?,
                };
            }
        }
        let top = self.top_at(source).await?;
        Ok((top.digest.clone(), Some(top)))
    }
}

async fn in_time<T>(due: &[DueImport], work: impl Future<Output = Result<T, ImportError>>) -> Result<T, ImportError> {
    let registry = || due.first().and_then(|one| one.tag.source.clone()).unwrap_or_default();
    tokio::time::timeout(DEADLINE, work).await.map_err(|_| OciError::Timeout { registry: registry() })?
}
