//! The one way in which questions go to other registries: none while a registry rests, none for a manifest when its allowance is known
//! to be used up; and what every answer tells of that is remembered for all servers.
//!
//! Rests are in the database before anybody is told of them. What was asked and told is kept in memory and written down every few
//! seconds ([`Importer::write_down_answers`]): a crash loses figures that the next answer tells again.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tracing::warn;

use super::{ImportError, Importer, Source};
use crate::model::{BudgetState, now, rfc3339, told_until};
use crate::server::oci::{BlobDownload, Error as OciError, HeadManifest, RateLimit, RemoteManifest};
use crate::server::store::{self, Allowance, Answers, BudgetKey};

/// How long answers may wait to be written down.
const WRITE_AFTER_MS: i64 = 5000;
/// How close to each other two answers must be to show that what was known of HEADs is wrong.
const PAIR_WITHIN_MS: i64 = 5000;
/// When to try again when an allowance is used up; the registry tells earlier, as asking what a tag means is mostly free.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(15 * 60);

/// What is asked for. Registries with an allowance of pulls count manifests, and some count HEADs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    Head,
    Manifest,
    Blob,
    /// A page of a repository's tags.
    List,
}

/// What an answer may tell of the registry's allowance.
pub(super) trait Tells {
    fn rate_limit(&self) -> Option<RateLimit> {
        None
    }
}

impl Tells for Option<HeadManifest> {
    fn rate_limit(&self) -> Option<RateLimit> {
        self.as_ref()?.rate_limit
    }
}

impl Tells for RemoteManifest {
    fn rate_limit(&self) -> Option<RateLimit> {
        self.rate_limit
    }
}

impl Tells for Option<RemoteManifest> {
    fn rate_limit(&self) -> Option<RateLimit> {
        self.as_ref()?.rate_limit
    }
}

impl Tells for Bytes {}
impl Tells for BlobDownload {}

/// What is known of each registry, and not written down yet.
#[derive(Default)]
pub(super) struct Allowances(Mutex<Notes>);

#[derive(Default)]
struct Notes {
    budgets: HashMap<String, Note>,
    written_at: i64,
    /// Something is waiting for what is in here.
    is_urgent: bool,
}

#[derive(Default)]
struct Note {
    key: Option<BudgetKey>,
    told: Option<Allowance>,
    heads_count: Option<bool>,
    under_way: u32,
    /// Counts questions that nothing follows from: those asked beside others.
    beside: u64,
    /// A blob or a list was asked for since, whose answer told nothing.
    is_blurred: bool,
    /// By project.
    spend: BTreeMap<String, (i64, i64)>,
    answered_at: Option<i64>,
    is_good: bool,
    /// It was asked before.
    was_answered: bool,
}

/// A question under way; it ends with this, also when nobody waits any more.
struct UnderWay<'a> {
    allowances: &'a Allowances,
    id: &'a str,
    asks: Asks,
    /// What [`Note::beside`] was at its beginning, if it was alone then.
    alone: Option<u64>,
    /// The schedule waits for what it tells.
    is_awaited: bool,
}

impl Allowances {
    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a question unless it is known that it would be refused.
    fn begin<'a>(
        &'a self,
        source: &'a Source,
        asks: Asks,
        state: Option<&BudgetState>,
    ) -> Result<UnderWay<'a>, ImportError> {
        let registry = || source.budget.host.clone();
        let now = now();
        if let Some((until, state)) = state.and_then(|state| Some((state.rests_until(now)?, state))) {
            let reason = state.rest_reason.clone().unwrap_or_default();
            let abuse = reason == "abuse-limit";
            let left = milliseconds(until - now);
            let message = OciError::RateLimited { registry: registry(), retry_after: Some(left), abuse }.to_string();
            return Err(ImportError::Resting { reason, message, left });
        }
        let mut notes = self.lock();
        let note = notes.budgets.entry(source.budget.id.clone()).or_default();
        note.key.get_or_insert_with(|| source.budget.clone());
        note.learn(state);
        if asks == Asks::Manifest
            && let Some(told) = &mut note.told
            && let Some(remaining) = &mut told.remaining
            && now < told_until(told.at, told.window_ms)
        {
            if *remaining <= 0 {
                let retry_after = Some(LOOK_AGAIN_AFTER);
                return Err(OciError::RateLimited { registry: registry(), retry_after, abuse: false }.into());
            }
            *remaining -= 1;
        }
        note.under_way += 1;
        if note.under_way > 1 {
            note.beside += 1;
        }
        let alone = (note.under_way == 1).then_some(note.beside);
        let is_awaited = !state.is_some_and(|state| state.is_understood() && state.strikes == 0);
        Ok(UnderWay { allowances: self, id: &source.budget.id, asks, alone, is_awaited })
    }

    /// Whether a HEAD would tell something about a registry that has to be known before it is asked much: also whether a used up
    /// allowance is there again, where asking that is free.
    pub(super) fn wants_a_head(&self, id: &str) -> bool {
        let notes = self.lock();
        let is_limited = |note: &Note| note.told.is_some_and(|told| told.limit.is_some());
        notes.budgets.get(id).is_none_or(|note| {
            !note.was_answered
                || (note.heads_count.is_none() && is_limited(note))
                || (note.heads_count != Some(true) && note.is_used_up())
        })
    }

    /// Whether the registry told that nothing remains.
    fn is_used_up(&self, id: &str) -> bool {
        self.lock().budgets.get(id).is_some_and(Note::is_used_up)
    }

    /// What is to be written down now; all of it when somebody waits for it, or every few seconds.
    fn take(&self) -> Vec<Answers> {
        let mut notes = self.lock();
        if !notes.is_urgent && now() < notes.written_at + WRITE_AFTER_MS && now() >= notes.written_at {
            return Vec::new();
        }
        notes.is_urgent = false;
        notes.written_at = now();
        notes.budgets.values_mut().filter_map(Note::take).collect()
    }
}

impl Note {
    /// Takes over what other servers, or this one before its start, have learned.
    fn learn(&mut self, state: Option<&BudgetState>) {
        let Some(state) = state else { return };
        self.was_answered |= state.answered_at.is_some();
        self.heads_count = self.heads_count.or(state.heads_count.map(|count| count == 1));
        let Some(at) = state.told_at.filter(|at| self.told.is_none_or(|told| told.at < *at)) else { return };
        let (limit, remaining, window_ms) = (state.limit_count, state.remaining, state.window_ms);
        self.told = Some(Allowance { limit, remaining, window_ms, at });
        self.is_blurred = true;
    }

    fn is_used_up(&self) -> bool {
        let told = self.told.filter(|told| now() < told_until(told.at, told.window_ms));
        told.and_then(|told| told.remaining).is_some_and(|remaining| remaining <= 0)
    }

    fn take(&mut self) -> Option<Answers> {
        let answered_at = self.answered_at.take()?;
        let spend = std::mem::take(&mut self.spend);
        let spend = spend.into_iter().map(|(project, (heads, gets))| (project, heads, gets)).collect();
        let (told, heads_count, is_good) = (self.told, self.heads_count, self.is_good);
        let budget = self.key.clone()?;
        Some(Answers { budget, spend, told, heads_count, answered_at, is_good })
    }

    fn spend(&mut self, project: &str, asks: Asks) {
        self.answered_at = Some(now());
        self.was_answered = true;
        let spent = self.spend.entry(project.to_owned()).or_default();
        match asks {
            Asks::Head => spent.0 += 1,
            Asks::Manifest => spent.1 += 1,
            Asks::Blob | Asks::List => self.is_blurred = true,
        }
    }

    /// What one answer told. Whether HEADs are counted follows from two answers with one HEAD between them and nothing else; what is known
    /// of that is changed only by two close to each other, as a window that slides gives back meanwhile what was used long before.
    fn note_told(&mut self, told: RateLimit, asks: Asks, is_alone: bool) {
        let number = |count: Option<u64>| count.and_then(|count| i64::try_from(count).ok());
        let is_close = |told: &Allowance| self.heads_count.is_none() || now() - told.at <= PAIR_WITHIN_MS;
        let before = self.told.filter(|told| !self.is_blurred && is_close(told));
        let before = before.and_then(|told| told.remaining);
        let remaining = number(told.remaining);
        if asks == Asks::Head
            && is_alone
            && let Some((before, remaining)) = before.zip(remaining)
            && remaining <= before
        {
            self.heads_count = Some(remaining < before);
        }
        let limit = number(told.limit).or(self.told.and_then(|told| told.limit));
        let window_ms = number(told.window_seconds).map(|seconds| seconds.saturating_mul(1000));
        let window_ms = window_ms.or(self.told.and_then(|told| told.window_ms));
        self.told = Some(Allowance { limit, remaining, window_ms, at: now() });
        self.is_blurred = false;
    }
}

impl UnderWay<'_> {
    /// It came to nothing, which tells nothing of what the registry allows.
    fn failed(self, project: &str) {
        let asks = self.asks;
        let mut notes = self.allowances.lock();
        notes.is_urgent |= self.is_awaited;
        let Some(note) = notes.budgets.get_mut(self.id) else { return };
        note.spend(project, asks);
        note.is_good = true;
    }

    fn answered(self, project: &str, told: Option<RateLimit>, is_good: bool) {
        let mut notes = self.allowances.lock();
        notes.is_urgent |= self.is_awaited;
        let Some(note) = notes.budgets.get_mut(self.id) else { return };
        note.spend(project, self.asks);
        note.is_good = is_good;
        match told {
            Some(told) => note.note_told(told, self.asks, self.alone == Some(note.beside)),
            // It tells its allowance, and does not when it is asked by a HEAD: these have nothing to do with it.
            None if self.asks == Asks::Head && is_good && note.told.is_some() => note.heads_count = Some(false),
            None => {}
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(note) = self.allowances.lock().budgets.get_mut(self.id) {
            note.under_way = note.under_way.saturating_sub(1);
        }
    }
}

impl Importer {
    /// Asks a registry something, unless it wants to be left alone.
    pub(super) async fn ask<T: Tells>(
        &self,
        source: &Source,
        asks: Asks,
        question: impl Future<Output = Result<T, OciError>>,
    ) -> Result<T, ImportError> {
        let state = self.store.find_budget(&source.budget.id).await?;
        let under_way = self.shared.allowances.begin(source, asks, state.as_ref())?;
        let answer = question.await;
        match &answer {
            Ok(answer) => under_way.answered(&source.project, answer.rate_limit(), true),
            Err(OciError::RateLimited { registry, retry_after, abuse }) => {
                // The answer to a HEAD has no body that could tell one limit from the other.
                let is_used_up = asks == Asks::Head && self.shared.allowances.is_used_up(&source.budget.id);
                let abuse = *abuse && !is_used_up;
                under_way.answered(&source.project, None, false);
                let asked = retry_after.map(|wait| i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
                let until = self.store.rest_budget(&source.budget, asked, abuse).await?;
                warn!(registry = %registry, "Registry {registry} refuses to answer: it is asked nothing until {}", rfc3339(until));
                let (registry, retry_after) = (registry.clone(), Some(milliseconds(until - now())));
                return Err(OciError::RateLimited { registry, retry_after, abuse }.into());
            }
            Err(_) => under_way.failed(&source.project),
        }
        Ok(answer?)
    }

    /// Writes down what registries told and were asked since the last time, if it is time to.
    pub async fn write_down_answers(&self) -> Result<(), store::Error> {
        let answers = self.shared.allowances.take();
        if answers.is_empty() { Ok(()) } else { self.store.note_answers(&answers).await }
    }
}

fn milliseconds(count: i64) -> Duration {
    Duration::from_millis(u64::try_from(count).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::testing::TIME;
    use crate::server::oci::Access;

    fn source() -> Source {
        let budget = BudgetKey { id: "r.io".into(), host: "r.io".into(), account: String::new() };
        let reference = "r.io/a:1".parse().unwrap();
        Source { reference, access: Access::default(), budget, project: "demo".to_owned() }
    }

    fn remains(remaining: u64) -> Option<RateLimit> {
        Some(RateLimit { limit: Some(100), remaining: Some(remaining), window_seconds: Some(3600) })
    }

    fn heads_count(allowances: &Allowances) -> Option<bool> {
        allowances.lock().budgets["r.io"].heads_count
    }

    #[test]
    fn whether_heads_are_counted_is_learned_from_two_with_nothing_between() {
        let (allowances, source) = (Allowances::default(), source());
        let ask = |asks| allowances.begin(&source, asks, None).unwrap();
        ask(Asks::Manifest).answered("demo", remains(80), true);
        assert_eq!(heads_count(&allowances), None, "one figure says nothing");
        ask(Asks::Head).answered("demo", remains(80), true);
        assert_eq!(heads_count(&allowances), Some(false));
        ask(Asks::Head).answered("demo", remains(79), true);
        assert_eq!(heads_count(&allowances), Some(true));
        ask(Asks::Blob).answered("demo", None, true);
        ask(Asks::Head).answered("demo", remains(79), true);
        assert_eq!(heads_count(&allowances), Some(true), "a blob came between, which may have counted");
        let (one, two) = (ask(Asks::Head), ask(Asks::Head));
        one.answered("demo", remains(79), true);
        two.answered("demo", remains(79), true);
        assert_eq!(heads_count(&allowances), Some(true), "asked beside one another");
        TIME.set(Some(now() + PAIR_WITHIN_MS + 1000));
        ask(Asks::Head).answered("demo", remains(79), true);
        assert_eq!(heads_count(&allowances), Some(true), "so much later, others may have come back");
        ask(Asks::Head).answered("demo", remains(95), true);
        assert_eq!(heads_count(&allowances), Some(true), "more than before says nothing of this one");
        let taken = allowances.take();
        TIME.set(None);
        assert_eq!((taken.len(), &taken[0].spend), (1, &vec![("demo".to_owned(), 7, 1)]));
        assert!(allowances.take().is_empty());
    }

    #[test]
    fn no_manifest_is_asked_for_when_none_remain() {
        let (allowances, source) = (Allowances::default(), source());
        allowances.begin(&source, Asks::Head, None).unwrap().answered("demo", remains(2), true);
        let held: Vec<_> = (0..2).map(|_| allowances.begin(&source, Asks::Manifest, None).unwrap()).collect();
        let refused = allowances.begin(&source, Asks::Manifest, None).err().expect("a refusal");
        assert_eq!((refused.reason(), held.len()), ("rate-limit", 2));
        drop(held);
        assert!(allowances.begin(&source, Asks::Manifest, None).is_err(), "what is under way may have counted");
        assert!(allowances.begin(&source, Asks::Head, None).is_ok());
        allowances.begin(&source, Asks::Head, None).unwrap().answered("demo", remains(1), true);
        assert!(allowances.begin(&source, Asks::Manifest, None).is_ok(), "the registry says that there is one more");
    }

    #[test]
    fn what_is_used_up_without_a_window_is_so_for_an_hour_and_a_free_head_shows_it_earlier() {
        let (allowances, source) = (Allowances::default(), source());
        TIME.set(Some(1_800_000_000_000));
        let ask = |asks| allowances.begin(&source, asks, None);
        let used_up = Some(RateLimit { limit: Some(100), remaining: Some(0), window_seconds: None });
        for _ in 0..2 {
            ask(Asks::Head).unwrap().answered("demo", used_up, true);
        }
        assert_eq!(heads_count(&allowances), Some(false));
        assert!(ask(Asks::Manifest).is_err() && allowances.wants_a_head("r.io"));
        TIME.set(Some(now() + 3_600_000));
        assert!(ask(Asks::Manifest).is_ok() && !allowances.wants_a_head("r.io"));
        TIME.set(None);
    }
}
