//! What registries told of what they allow, and of whom they let in, kept in memory until it is written down: of each budget its newest
//! figures, whether HEADs take from them, and who asked; of each secret whether it was good.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{ImportError, Source};
use crate::model::{BudgetState, now, told_until};
use crate::server::oci::{Error as OciError, RateLimit, minutes};
use crate::server::store::{Allowance, Answers, BudgetKey, LoginNews, Refused};

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

/// What an answer told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) rate_limit: Option<RateLimit>,
    /// Nothing but that what was asked for is still the same (304). Caches answer so, too, and leave out what the registry would have told.
    pub(super) is_unchanged: bool,
}

/// An allowance of which no more than half remains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scarce {
    pub(super) limit: i64,
    /// When it is whole again.
    pub(super) until: i64,
    pub(super) window_ms: i64,
    pub(super) counts_heads: bool,
    /// What the source's project used of it and is not written down yet.
    pub(super) unwritten: i64,
}

/// What is known of each registry, and not written down yet.
#[derive(Default)]
pub(super) struct Allowances(Mutex<Notes>);

#[derive(Default)]
struct Notes {
    budgets: HashMap<String, Note>,
    written_at: i64,
    /// Something is waiting for what is in here.
    is_urgent: bool,
    /// By secret and registry.
    logins: BTreeMap<(String, String), LoginNews>,
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
    /// A HEAD was answered in full, and told nothing of an allowance.
    is_silent_on_heads: bool,
    /// By project.
    spend: BTreeMap<String, (i64, i64)>,
    answered_at: Option<i64>,
    is_good: bool,
    /// It was asked before.
    was_answered: bool,
}

/// A question under way; it ends with this, also when nobody waits any more.
pub(super) struct UnderWay<'a> {
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
    pub(super) fn begin<'a>(
        &'a self,
        source: &'a Source,
        asks: Asks,
        state: Option<&BudgetState>,
    ) -> Result<UnderWay<'a>, ImportError> {
        refuse_while_resting(source, state)?;
        let (registry, now) = (|| source.budget.host.clone(), now());
        let mut notes = self.lock();
        let note = notes.known(source, state);
        if asks == Asks::Manifest
            && let Some(told) = &mut note.told
            && let Some(remaining) = &mut told.remaining
            && now < told_until(told.at, told.window_ms, told.resets_at)
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

    /// What is known of an allowance of which no more than half remains.
    pub(super) fn scarce(&self, source: &Source, state: Option<&BudgetState>) -> Option<Scarce> {
        let mut notes = self.lock();
        let note = notes.known(source, state);
        let told = note.told?;
        let until = told_until(told.at, told.window_ms, told.resets_at);
        let (limit, remaining) = told.limit.zip(told.remaining)?;
        if now() >= until || remaining.saturating_mul(2) > limit {
            return None;
        }
        let counts_heads = note.heads_count == Some(true);
        let (heads, gets) = note.spend.get(&source.project).copied().unwrap_or_default();
        let unwritten = gets + if counts_heads { heads } else { 0 };
        let window_ms = told.window_ms.unwrap_or_else(|| until - told.at);
        Some(Scarce { limit, until, window_ms, counts_heads, unwritten })
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

    /// Somebody was answered who had signed in with this secret.
    pub(super) fn let_in(&self, secret_id: &str, host: &str) {
        let mut notes = self.lock();
        let news = notes.login(secret_id, host);
        (news.answered_at, news.refused) = (Some(now()), None);
    }

    /// Somebody was refused who asked with this secret.
    pub(super) fn turned_away(&self, secret_id: &str, host: &str, cause: &OciError) {
        let refused = Refused { at: now(), reason: cause.reason(), message: cause.to_string() };
        self.lock().login(secret_id, host).refused = Some(refused);
    }

    /// Whether the registry told that nothing remains.
    pub(super) fn is_used_up(&self, id: &str) -> bool {
        self.lock().budgets.get(id).is_some_and(Note::is_used_up)
    }

    /// What is to be written down now; all of it when somebody waits for it, or every few seconds.
    pub(super) fn take(&self) -> (Vec<Answers>, Vec<LoginNews>) {
        let mut notes = self.lock();
        if !notes.is_urgent && now() < notes.written_at + WRITE_AFTER_MS && now() >= notes.written_at {
            return Default::default();
        }
        notes.is_urgent = false;
        notes.written_at = now();
        let logins = std::mem::take(&mut notes.logins);
        (notes.budgets.values_mut().filter_map(Note::take).collect(), logins.into_values().collect())
    }
}

impl Notes {
    /// What is known of the source's budget, with what other servers have learned.
    fn known(&mut self, source: &Source, state: Option<&BudgetState>) -> &mut Note {
        let note = self.budgets.entry(source.budget.id.clone()).or_default();
        note.key.get_or_insert_with(|| source.budget.clone());
        note.learn(state);
        note
    }

    fn login(&mut self, secret_id: &str, host: &str) -> &mut LoginNews {
        let (secret_id, host) = (secret_id.to_owned(), host.to_owned());
        self.logins.entry((secret_id.clone(), host.clone())).or_insert_with(|| LoginNews {
            secret_id,
            host,
            answered_at: None,
            refused: None,
        })
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
        self.told = Some(Allowance { limit, remaining, window_ms, at, resets_at: state.resets_at });
        self.is_blurred = true;
    }

    fn is_used_up(&self) -> bool {
        let told = self.told.filter(|told| now() < told_until(told.at, told.window_ms, told.resets_at));
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
        let ms = |seconds: Option<u64>| number(seconds).map(|seconds| seconds.saturating_mul(1000));
        let (reset_ms, known_ms) = (ms(told.reset_seconds), self.told.and_then(|told| told.window_ms));
        // A window that is not told is at least as long as it was ever said to last.
        let window_ms = ms(told.window_seconds).or(reset_ms.max(known_ms));
        let (at, resets_at) = (now(), reset_ms.map(|left| now().saturating_add(left)));
        self.told = Some(Allowance { limit, remaining, window_ms, at, resets_at });
        self.is_blurred = false;
        if self.is_silent_on_heads && asks != Asks::Head && self.heads_count.is_none() {
            self.heads_count = Some(false);
        }
    }
}

impl UnderWay<'_> {
    /// It came to nothing, which tells nothing of what the registry allows.
    pub(super) fn failed(self, project: &str) {
        self.ended(project, true, None);
    }

    /// The registry refused to answer.
    pub(super) fn refused(self, project: &str) {
        self.ended(project, false, None);
    }

    pub(super) fn answered(self, project: &str, told: Told) {
        self.ended(project, true, Some(told));
    }

    fn ended(self, project: &str, is_good: bool, told: Option<Told>) {
        let mut notes = self.allowances.lock();
        notes.is_urgent |= self.is_awaited;
        let Some(note) = notes.budgets.get_mut(self.id) else { return };
        note.spend(project, self.asks);
        note.is_good = is_good;
        let Some(Told { rate_limit, is_unchanged }) = told else { return };
        match rate_limit {
            Some(told) => note.note_told(told, self.asks, self.alone == Some(note.beside)),
            // That nothing changed is told by caches, too, which know of no allowance: it shows nothing.
            None if is_unchanged || self.asks != Asks::Head => {}
            // It tells its allowance, and does not when it is asked by a HEAD: these have nothing to do with it.
            None if note.told.is_some() => note.heads_count = Some(false),
            None => note.is_silent_on_heads = true,
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

/// Refuses what would be asked of a registry that wants to be left alone.
pub(super) fn refuse_while_resting(source: &Source, state: Option<&BudgetState>) -> Result<(), ImportError> {
    let now = now();
    let Some((until, state)) = state.and_then(|state| Some((state.rests_until(now)?, state))) else { return Ok(()) };
    let (reason, registry) = (state.rest_reason.clone().unwrap_or_default(), source.budget.host.clone());
    let left = milliseconds(until - now);
    let message = match reason.as_str() {
        "unavailable" => format!(
            "registry {registry} said that it is not to be had; Weir asks it nothing more for {}",
            minutes(left)
        ),
        reason => {
            OciError::RateLimited { registry, retry_after: Some(left), abuse: reason == "abuse-limit" }.to_string()
        }
    };
    Err(ImportError::Resting { reason, message, left })
}

/// A duration as the database counts it.
pub(super) fn milliseconds(count: i64) -> Duration {
    Duration::from_millis(u64::try_from(count).unwrap_or(0))
}

#[cfg(test)]
mod tests;
