//! What a rule asks for: whether that can work at all, as columns, and in the ledger's words.

use sqlx::query::Query;
use sqlx::{Any, Database};

use crate::model::{ImageReference, ImportRuleSpec, MOST_CHOSEN, PatternKind};
use crate::server::store::{Error, Result};

/// The least and the longest time between two checks of a tag.
const INTERVALS_MS: (i64, i64) = (60_000, 365 * DAY_MS);
/// The longest time between two listings.
const LONGEST_LISTING_INTERVAL_MS: i64 = 30 * DAY_MS;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Refuses a rule that can never work as written. Gives the repository.
pub(super) fn check(spec: &ImportRuleSpec) -> Result<ImageReference> {
    let refuse = |field: &str, message: String| Err(Error::invalid(field, message));
    let repository = match spec.repository.parse::<ImageReference>() {
        Err(error) => return refuse("repository", error.to_string()),
        Ok(named) if !named.tag.is_empty() || !named.id.is_empty() => {
            return refuse("repository", "you must specify an image repository, not a tag or ID".to_owned());
        }
        Ok(named) if named.name.is_empty() => {
            return refuse("repository", format!("{} is a registry: write the repository, too", spec.repository));
        }
        Ok(named) => named,
    };
    if let Err(error) = spec.pattern() {
        return refuse("pattern", error.to_string());
    }
    if spec.newest.is_some_and(|newest| !(1..=MOST_CHOSEN as i64).contains(&newest)) {
        return refuse("limit", format!("a rule takes from 1 to {MOST_CHOSEN} tags"));
    }
    let (least, longest) = INTERVALS_MS;
    if spec.interval_ms.is_some_and(|interval| !(least..=longest).contains(&interval)) {
        return refuse(
            "intervalSeconds",
            "tags are checked once a minute at the most, and once a year at the least".to_owned(),
        );
    }
    if !(ImportRuleSpec::LEAST_LISTING_INTERVAL_MS..=LONGEST_LISTING_INTERVAL_MS).contains(&spec.listing_interval_ms) {
        let message = "a repository is listed once an hour at the most, and once in 30 days at the least";
        return refuse("listingIntervalSeconds", message.to_owned());
    }
    for (field, word, known) in [
        ("importMode", &spec.import_mode, ["Legacy", "PreserveOriginal"]),
        ("referencePolicy", &spec.reference_policy, ["Source", "Local"]),
    ] {
        if !known.contains(&word.as_str()) {
            return refuse(field, format!("valid values are {}", known.join(", ")));
        }
    }
    Ok(repository)
}

pub(super) type AnyQuery<'q> = Query<'q, Any, <Any as Database>::Arguments>;

/// Binds what a rule asks for, as `$2` to `$11`.
pub(super) fn bind_spec<'q>(query: AnyQuery<'q>, spec: &ImportRuleSpec) -> AnyQuery<'q> {
    query
        .bind(&spec.repository)
        .bind(spec.pattern_kind.as_str())
        .bind(&spec.pattern)
        .bind(spec.tag_order.as_str())
        .bind(spec.newest)
        .bind(spec.insecure)
        .bind(&spec.import_mode)
        .bind(&spec.reference_policy)
        .bind(spec.interval_ms)
        .bind(spec.listing_interval_ms)
}

/// A rule in the ledger's words.
pub(super) fn told(spec: &ImportRuleSpec) -> String {
    let pattern = match spec.pattern_kind {
        PatternKind::All => "all tags".to_owned(),
        kind => format!("{kind} {}", spec.pattern),
    };
    let newest = spec.newest.map(|newest| format!(", the newest {newest}")).unwrap_or_default();
    format!("{}: {pattern}{newest} by {} order", spec.repository, spec.tag_order)
}
