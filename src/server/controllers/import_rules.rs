//! Carries out import rules: lists repositories of other registries, page by page to the very end, and lets the streams' tags follow.
//!
//! Each page is kept as it comes, so that whoever goes on after a restart, or on another server, goes on from there. A listing that does not
//! work leaves the tags as they are. Each rule is worked on in a task of its own.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tracing::{info, warn};

use super::{Controller, Runner};
use crate::model::{ImportRule, TagName, now};
use crate::server::importer::{ImportError, Importer, MOST_SEEN};
use crate::server::store::{self, ListedPage, RuleFailure, Store};
use crate::server::wake;

/// Rules that are worked on at once: each asks one thing at a time.
const AT_ONCE: usize = 4;
/// After this time another server takes up the rules of one that is gone; longer than a registry may take for a page.
const LEASE_MS: i64 = 60_000;
/// How long a rule may wait when its signal was lost, or was sent in another process.
const RESYNC: Duration = Duration::from_secs(30);
/// The next listing comes after so many hundredths of the interval: rules made together drift apart, and none lists more often than it says.
const SPREAD: (i64, i64) = (100, 110);
/// The first wait after a failure; each further one is twice as long, up to the interval between listings.
const FIRST_WAIT_MS: i64 = 5 * 60 * 1000;
/// The rest of a registry that is not to be asked, when nobody says for how long.
const UNSAID_REST_MS: i64 = 60_000;
/// Pages of such a listing, if they have few tags each.
const MOST_PAGES: i64 = 10_000;
/// How long one goes on with a listing before others get its place; it is gone on with after a moment. One that would not come to its end
/// within its interval like that is given up.
const RUN: Duration = Duration::from_secs(10 * 60);
const BETWEEN_RUNS_MS: i64 = 60_000;
/// A listing that fails so often in a row begins anew: its place in the list may be gone, whatever the registry says.
const TRIES_OF_A_PLACE: i64 = 5;
/// Tags that are made or changed in one transaction, so that others get their turn.
const TAGS_AT_ONCE: usize = 50;

/// The controller.
pub struct ImportRules {
    store: Store,
    importer: Importer,
    runner: Runner,
    places: Arc<Semaphore>,
    run: Duration,
}

impl ImportRules {
    /// Over these parts; rules are worked on in tasks of `runner`.
    pub fn new(store: Store, importer: Importer, runner: Runner) -> Self {
        Self { store, importer, runner, places: Arc::new(Semaphore::new(AT_ONCE)), run: RUN }
    }
}

#[async_trait]
impl Controller for ImportRules {
    fn name(&self) -> &'static str {
        "import-rules"
    }

    fn signal(&self) -> Option<wake::Controller> {
        Some(wake::Controller::ImportRules)
    }

    async fn reconcile(&self) -> anyhow::Result<Option<Duration>> {
        for rule in self.store.claim_import_rules(LEASE_MS, self.places.available_permits()).await? {
            let place = Arc::clone(&self.places).acquire_owned().await?;
            let work = Work { store: self.store.clone(), importer: self.importer.clone(), run: self.run };
            let (stop, wake) = (self.runner.stop.clone(), self.runner.wake.clone());
            self.runner.tracker.spawn(async move {
                let (title, project) = (rule.title(), rule.project.clone());
                tokio::select! {
                    done = work.carry_out(rule) => {
                        if let Err(error) = done {
                            // Its lease ends, and then it is taken up again.
                            warn!("{title} of project {project} could not be carried out: {error:#}");
                        }
                    }
                    // The server gives its leases back when it stops; what was kept stays.
                    () = stop.cancelled() => {}
                }
                drop(place);
                wake.of(wake::Controller::ImportRules).notify_one();
            });
        }
        if self.places.available_permits() == 0 {
            // Whoever ends wakes this.
            return Ok(Some(RESYNC));
        }
        let next = self.store.next_import_rule_at().await?;
        let wait = next.map_or(RESYNC, |at| Duration::from_millis(u64::try_from(at - now()).unwrap_or(0)));
        Ok(Some(wait.clamp(Duration::from_millis(100), RESYNC)))
    }
}

/// What works on one rule.
struct Work {
    store: Store,
    importer: Importer,
    /// How long it goes on with a listing.
    run: Duration,
}

impl Work {
    async fn carry_out(&self, rule: ImportRule) -> anyhow::Result<()> {
        let rule = match rule.wants_listing(now()) {
            true => self.list(rule).await?,
            false => Some(rule),
        };
        match rule {
            Some(rule) => self.follow(&rule).await,
            None => Ok(()),
        }
    }

    /// Lists the repository, or goes on with that. Gives the rule with the listing; `None` when there is nothing more to be done now.
    async fn list(&self, mut rule: ImportRule) -> Result<Option<ImportRule>, store::Error> {
        if rule.is_listing_stale(now()) {
            // Its pages would be joined with those of another day: a tag that moved in the list would be missed.
            match self.store.begin_listing_anew(&rule, LEASE_MS).await? {
                Some(begun) => rule = begun,
                None => return self.store.release_import_rule(&rule).await.map(|()| None),
            }
        }
        let began = now();
        let run_ms = i64::try_from(self.run.as_millis()).unwrap_or(i64::MAX);
        loop {
            let (insecure, repository) = (rule.spec.insecure == 1, &rule.spec.repository);
            let asked =
                self.importer.list_tags_page_behind(&rule.project, repository, insecure, rule.next_page.as_deref());
            let page = match asked.await {
                Ok(page) => page,
                Err(ImportError::Store(cause @ store::Error::Db(_))) => return Err(cause),
                Err(error) => return self.not_listed(&rule, &error).await.map(|()| None),
            };
            // Names that are no tags here count, too: they take as much room until they are let go.
            let told = i64::try_from(page.tags.len()).unwrap_or(i64::MAX);
            let most = i64::try_from(MOST_SEEN).unwrap_or(i64::MAX);
            if rule.listed_tags.saturating_add(told) > most || (page.next.is_some() && rule.pages >= MOST_PAGES) {
                return self.endless(&rule).await.map(|()| None);
            }
            if page.breaks_off {
                return self.broken_off(&rule).await.map(|()| None);
            }
            let tags: Vec<String> = page.tags.into_iter().filter(|tag| tag.parse::<TagName>().is_ok()).collect();
            let wait = rule.spec.listing_interval_ms.saturating_mul(rand::random_range(SPREAD.0..=SPREAD.1)) / 100;
            let kept =
                ListedPage { tags: &tags, told, next: page.next.as_deref(), again_at: now().saturating_add(wait) };
            match self.store.keep_listed_page(&rule, &kept, LEASE_MS).await? {
                None => return self.store.release_import_rule(&rule).await.map(|()| None),
                Some(listed) if page.next.is_none() => return Ok(Some(listed)),
                Some(listed) => rule = listed,
            }
            if now() - began >= run_ms {
                return self.break_off(&rule, run_ms).await.map(|()| None);
            }
        }
    }

    /// Lets others have the place. What is kept is gone on with, unless it would be of no use by the end.
    async fn break_off(&self, rule: &ImportRule, run_ms: i64) -> Result<(), store::Error> {
        let under_way = rule.began_at.map_or(0, |began| now() - began);
        if under_way + BETWEEN_RUNS_MS + run_ms < rule.spec.listing_interval_ms {
            return self.store.rest_import_rule(rule, now().saturating_add(BETWEEN_RUNS_MS)).await;
        }
        let message = format!(
            "the registry took {} min for {} pages of its list of tags, and did not come to its end",
            under_way / 60_000,
            rule.pages
        );
        let (reason, again_at) = ("timeout", now().saturating_add(wait_after(rule)));
        let failure =
            RuleFailure { reason, message: &message, again_at, not_before: 0, begin_anew: true, refuses_tags: false };
        self.store.fail_import_rule(rule, &failure).await
    }

    async fn not_listed(&self, rule: &ImportRule, error: &ImportError) -> Result<(), store::Error> {
        let asked = error.retry_after().map_or(0, |wait| i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
        if error.is_resting() {
            let rest = if asked == 0 { UNSAID_REST_MS } else { asked };
            return self.store.rest_import_rule(rule, now().saturating_add(rest)).await;
        }
        let not_before = if asked == 0 { 0 } else { now().saturating_add(asked) };
        // A place in the list that the registry does not know any more leads nowhere, however often it is asked for.
        let is_worn_out = (rule.failures + 1) % TRIES_OF_A_PLACE == 0;
        let begin_anew = is_worn_out || !matches!(error, ImportError::Upstream(cause) if cause.is_transient());
        let message = error.to_string();
        let again_at = now().saturating_add(wait_after(rule).max(asked));
        let failure = RuleFailure {
            reason: error.reason(),
            message: &message,
            again_at,
            not_before,
            begin_anew,
            refuses_tags: false,
        };
        self.store.fail_import_rule(rule, &failure).await
    }

    async fn endless(&self, rule: &ImportRule) -> Result<(), store::Error> {
        let message = format!("the repository tells more than {MOST_SEEN} tags, or does not come to an end");
        let again_at = now().saturating_add(rule.spec.listing_interval_ms);
        let reason = "too-many-tags";
        let failure =
            RuleFailure { reason, message: &message, again_at, not_before: 0, begin_anew: true, refuses_tags: false };
        self.store.fail_import_rule(rule, &failure).await
    }

    /// What came of it is no whole list: to follow that would let go of tags that are still there.
    async fn broken_off(&self, rule: &ImportRule) -> Result<(), store::Error> {
        let (reason, message) =
            ("upstream", "the registry's list of tags goes in circles: a page of it comes after itself");
        let again_at = now().saturating_add(wait_after(rule));
        let failure = RuleFailure { reason, message, again_at, not_before: 0, begin_anew: true, refuses_tags: false };
        self.store.fail_import_rule(rule, &failure).await
    }

    /// Lets the stream's tags be what the rule chooses of its last listing.
    async fn follow(&self, rule: &ImportRule) -> anyhow::Result<()> {
        let tags = self.store.listed_tags(rule).await?;
        let spec = rule.spec.clone();
        // Sorting 200,000 versions takes a while.
        let choice = tokio::task::spawn_blocking(move || spec.choose(tags)).await?;
        let choice = match choice {
            Ok(choice) => choice,
            Err(error) => return Ok(self.not_followed(rule, "pattern", &error.to_string()).await?),
        };
        let plan = self.store.plan_import_rule(rule, &choice.tags).await?;
        let mut made = 0;
        for names in plan.take.chunks(TAGS_AT_ONCE) {
            match self.store.take_rule_tags(rule, names, LEASE_MS).await {
                Ok(Some(new)) => made += new,
                Ok(None) => return Ok(self.store.release_import_rule(rule).await?),
                Err(cause @ store::Error::Db(_)) => return Err(cause.into()),
                Err(cause) => return Ok(self.not_followed(rule, "refused", &cause.to_string()).await?),
            }
        }
        for names in plan.let_go.chunks(TAGS_AT_ONCE) {
            if !self.store.let_go_rule_tags(rule, names, LEASE_MS).await? {
                return Ok(self.store.release_import_rule(rule).await?);
            }
        }
        if made > 0 || !plan.let_go.is_empty() {
            let (title, gone) = (rule.title(), plan.let_go.len());
            info!("{title} of project {} made {made} tags and let go of {gone}", rule.project);
        }
        self.store.finish_import_rule(rule, &choice, made, plan.left_alone).await?;
        Ok(())
    }

    async fn not_followed(&self, rule: &ImportRule, reason: &str, message: &str) -> Result<(), store::Error> {
        let again_at = rule.next_at;
        let failure = RuleFailure { reason, message, again_at, not_before: 0, begin_anew: false, refuses_tags: true };
        self.store.fail_import_rule(rule, &failure).await
    }
}

/// How long to wait after one more failure.
fn wait_after(rule: &ImportRule) -> i64 {
    let doublings = u32::try_from(rule.failures.clamp(0, 20)).unwrap_or(0);
    let wait = FIRST_WAIT_MS.saturating_mul(1 << doublings).min(rule.spec.listing_interval_ms);
    wait.saturating_mul(rand::random_range(SPREAD.0..=SPREAD.1)) / 100
}

#[cfg(test)]
mod tests;
