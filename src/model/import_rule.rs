//! Import rules: which tags of a repository in another registry a stream takes in, and how that goes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::tag_order::TagOrder;
use super::tag_pattern::{PatternError, PatternKind, TagPattern};

/// The most tags that one rule takes.
pub const MOST_CHOSEN: usize = 1000;
/// How long a pattern may be at one list of tags: much less than the lease of whoever carries the rule out.
const PATIENCE: Duration = Duration::from_secs(15);
/// The clock is looked at once for so many tags.
const BETWEEN_LOOKS: usize = 256;

/// What a rule asks for.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ImportRuleSpec {
    /// A repository without a tag, as typed.
    pub repository: String,
    #[sqlx(try_from = "String")]
    pub pattern_kind: PatternKind,
    /// Empty when it is about all tags.
    pub pattern: String,
    /// Tells which tags are the newest.
    #[sqlx(try_from = "String")]
    pub tag_order: TagOrder,
    /// It takes so many of those that fit; absent means all, and no more than [`MOST_CHOSEN`].
    pub newest: Option<i64>,
    /// 1 when plain HTTP and any certificate will do.
    pub insecure: i64,
    pub import_mode: String,
    pub reference_policy: String,
    /// Milliseconds between checks of its tags; absent means the server's default.
    pub interval_ms: Option<i64>,
    /// Milliseconds between listings of the repository.
    pub listing_interval_ms: i64,
}

/// The tags that a rule chooses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// How many tags the repository has.
    pub seen: usize,
    /// How many of them fit the pattern.
    pub fitting: usize,
    /// The newest of these, the very newest first.
    pub tags: Vec<String>,
}

impl ImportRuleSpec {
    /// The least time between two listings of a repository.
    pub const LEAST_LISTING_INTERVAL_MS: i64 = 60 * 60 * 1000;

    /// All tags of a repository, with everything else as it is in a rule of which nothing more is said.
    pub fn all_of(repository: &str) -> Self {
        Self {
            repository: repository.to_owned(),
            pattern_kind: PatternKind::All,
            pattern: String::new(),
            tag_order: TagOrder::Semver,
            newest: None,
            insecure: 0,
            import_mode: "PreserveOriginal".to_owned(),
            reference_policy: "Source".to_owned(),
            interval_ms: None,
            listing_interval_ms: Self::LEAST_LISTING_INTERVAL_MS,
        }
    }

    /// The pattern, ready to be asked.
    pub fn pattern(&self) -> Result<TagPattern, PatternError> {
        TagPattern::parse(self.pattern_kind, &self.pattern)
    }

    /// How many tags it takes at the most.
    pub fn most(&self) -> usize {
        self.newest.and_then(|newest| usize::try_from(newest).ok()).unwrap_or(MOST_CHOSEN).min(MOST_CHOSEN)
    }

    /// Whether it lists the same repository, and in the same way.
    pub fn takes_from_the_same(&self, other: &Self) -> bool {
        (&self.repository, self.insecure) == (&other.repository, other.insecure)
    }

    /// Whether it takes the same tags of the same repository.
    pub fn takes_the_same(&self, other: &Self) -> bool {
        let which = |spec: &Self| (spec.pattern_kind, spec.pattern.clone(), spec.tag_order, spec.newest);
        self.takes_from_the_same(other) && which(self) == which(other)
    }

    /// Chooses among the tags of the repository; fails when that takes too long.
    pub fn choose(&self, tags: Vec<String>) -> Result<Choice, PatternError> {
        self.choose_within(PATIENCE, tags)
    }

    fn choose_within(&self, patience: Duration, tags: Vec<String>) -> Result<Choice, PatternError> {
        let began = Instant::now();
        let pattern = self.pattern()?;
        // Registries whose list changes while it is read tell some tags twice.
        let tags: BTreeSet<String> = tags.into_iter().collect();
        let seen = tags.len();
        let mut fit = Vec::new();
        for (number, tag) in tags.into_iter().enumerate() {
            if number % BETWEEN_LOOKS == 0 && began.elapsed() > patience {
                return Err(PatternError::too_slow(seen));
            }
            if pattern.fits(&tag) {
                fit.push(tag);
            }
        }
        let fitting = fit.len();
        self.tag_order.newest_first(&mut fit);
        fit.truncate(self.most());
        Ok(Choice { seen, fitting, tags: fit })
    }

    /// What a tag that the rule made follows.
    pub fn source(&self, tag: &str) -> String {
        format!("{}:{tag}", self.repository)
    }

    /// A name for the rule, made from its pattern: `3.*` is `3`, all tags are `all`.
    pub fn usual_name(&self) -> String {
        let lower = self.pattern.to_ascii_lowercase();
        let words: Vec<&str> =
            lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let name: String = words.join("-").chars().take(40).collect();
        match name.trim_end_matches('-') {
            "" => self.pattern_kind.as_str().to_owned(),
            name => name.to_owned(),
        }
    }
}

/// A rule, and how its listings go.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ImportRule {
    pub id: String,
    pub stream_id: String,
    /// The project's name.
    pub project: String,
    /// The stream's name.
    pub stream: String,
    pub name: String,
    #[sqlx(flatten)]
    pub spec: ImportRuleSpec,
    /// While it is paused nothing is listed; its tags are checked all the same.
    pub paused_at: Option<i64>,
    pub created_at: i64,
    pub created_by: String,
    /// Sequence of the last change.
    pub version: i64,
    pub next_at: i64,
    /// The registry is asked nothing until then.
    pub not_before: i64,
    pub requested_at: Option<i64>,
    pub requested_by: Option<String>,
    /// Counts the listings that came to their end.
    pub listing: i64,
    /// When the last of them did.
    pub listed_at: Option<i64>,
    /// Where the listing under way goes on; absent at the beginning.
    pub next_page: Option<String>,
    /// When the listing under way got its first page.
    pub began_at: Option<i64>,
    /// Pages and tags of the listing under way.
    pub pages: i64,
    pub listed_tags: i64,
    /// 1 when tags have not followed the last listing, or the last change of the rule, yet.
    pub unapplied: i64,
    pub tried_at: Option<i64>,
    /// `new`, `ok` or `failed`
    pub outcome: String,
    pub reason: Option<String>,
    pub message: Option<String>,
    pub failing_since: Option<i64>,
    pub failures: i64,
    /// Of the last listing that tags have followed: the repository's tags, those that fit, those that were chosen, those that were new
    /// here, and those that are left alone.
    pub seen: i64,
    pub fitting: i64,
    pub chosen: i64,
    pub made: i64,
    pub left_alone: i64,
}

impl ImportRule {
    /// The name of the rule that is the stream's `spec.dockerImageRepository`: who changes the one changes the other.
    pub const OF_STREAM: &str = "docker-image-repository";

    /// As the ledger names it.
    pub fn title(&self) -> String {
        format!("{} import rule {}", self.stream, self.name)
    }

    /// Whether the repository is to be listed, or the listing to go on.
    pub fn wants_listing(&self, now: i64) -> bool {
        self.not_before <= now && (self.next_at <= now || self.requested_at.is_some())
    }

    /// Whether the listing under way is so old that what it has is of no use beside what is still to come.
    pub fn is_listing_stale(&self, now: i64) -> bool {
        let is_old = |began: i64| now - began > self.spec.listing_interval_ms;
        self.next_page.is_some() && self.began_at.is_some_and(is_old)
    }

    /// When the repository is listed next; `None` while it is paused.
    pub fn next_listing_at(&self) -> Option<i64> {
        let due = self.requested_at.map_or(self.next_at, |asked| asked.min(self.next_at));
        self.paused_at.is_none().then(|| due.max(self.not_before))
    }
}

/// How a tag that a rule chooses stands in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is not there: the rule makes it.
    New,
    /// The rule made it.
    Own,
    /// It stays as it is.
    LeftAlone(Why),
}

/// Why a rule leaves a tag alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It was not made by a rule.
    WasThere,
    /// Another rule made it.
    OfAnotherRule,
    /// The rule made it, and somebody set it otherwise since.
    SetSince,
    /// The rule made it, and somebody deleted it.
    Deleted,
}

impl Why {
    /// In words that follow a tag's name.
    pub fn words(self) -> &'static str {
        match self {
            Self::WasThere => "was there before",
            Self::OfAnotherRule => "is another rule's",
            Self::SetSince => "was set otherwise since",
            Self::Deleted => "was deleted",
        }
    }
}

/// What a rule would do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleTrial {
    /// How many tags were looked at.
    pub seen: usize,
    /// Whether these are all that the repository has.
    pub is_whole: bool,
    pub fitting: usize,
    /// The tags it would choose, the newest first.
    pub tags: Vec<(String, Standing)>,
}

#[cfg(test)]
impl ImportRuleSpec {
    /// Tags of a repository, in the order of versions.
    pub(crate) fn sample(repository: &str, pattern_kind: PatternKind, pattern: &str) -> Self {
        Self { pattern_kind, pattern: pattern.to_owned(), ..Self::all_of(repository) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(spec: &ImportRuleSpec, tags: &[&str]) -> Vec<String> {
        spec.choose(tags.iter().map(|tag| (*tag).to_owned()).collect()).unwrap().tags
    }

    #[test]
    fn takes_the_newest_that_fit_in_the_order_asked_for() {
        let mut spec = ImportRuleSpec::sample("quay.io/org/app", PatternKind::Semver, "3.*");
        let tags = ["3.9", "3.10.1", "2.7", "3.10.0", "latest", "3.9", "4.0", "3.11.0-rc1"];
        let choice = spec.choose(tags.iter().map(|tag| (*tag).to_owned()).collect()).unwrap();
        assert_eq!((choice.seen, choice.fitting), (7, 3), "a tag that is told twice is one");
        assert_eq!(choice.tags, ["3.10.1", "3.10.0", "3.9"]);
        spec.newest = Some(2);
        assert_eq!(chosen(&spec, &tags), ["3.10.1", "3.10.0"]);

        let mut builds = ImportRuleSpec::sample("quay.io/org/app", PatternKind::Glob, "build-*");
        (builds.tag_order, builds.newest) = (TagOrder::Natural, Some(2));
        assert_eq!(chosen(&builds, &["build-9", "build-100", "build-20", "other"]), ["build-100", "build-20"]);
    }

    #[test]
    fn never_takes_more_than_a_rule_may() {
        let mut spec = ImportRuleSpec::sample("quay.io/org/app", PatternKind::All, "");
        let tags: Vec<String> = (0..MOST_CHOSEN + 500).map(|number| format!("1.{number}.0")).collect();
        for newest in [None, Some(5000)] {
            spec.newest = newest;
            let choice = spec.choose(tags.clone()).unwrap();
            assert_eq!((choice.fitting, choice.tags.len()), (MOST_CHOSEN + 500, MOST_CHOSEN));
            assert_eq!(choice.tags[0], format!("1.{}.0", MOST_CHOSEN + 499));
        }
    }

    #[test]
    fn a_pattern_that_takes_too_long_fails() {
        let spec = ImportRuleSpec::sample("quay.io/org/app", PatternKind::Regex, "1");
        let tags = || vec!["1".to_owned(), "2".to_owned()];
        let refused = spec.choose_within(Duration::ZERO, tags()).unwrap_err().to_string();
        assert!(refused.contains("takes too long over 2 tags"), "{refused}");
        assert_eq!(spec.choose(tags()).unwrap().tags, ["1"]);
    }

    #[test]
    fn is_named_after_its_pattern() {
        let name = |kind, pattern: &str| ImportRuleSpec::sample("a/b", kind, pattern).usual_name();
        assert_eq!(name(PatternKind::All, ""), "all");
        assert_eq!(name(PatternKind::Glob, "3.*"), "3");
        assert_eq!(name(PatternKind::Semver, ">=3.6, <4"), "3-6-4");
        assert_eq!(name(PatternKind::Glob, "*"), "glob");
        assert_eq!(name(PatternKind::Glob, "V*-Slim"), "v-slim");
        assert!(name(PatternKind::Glob, &"ab-".repeat(40)).len() <= 40);
        assert!(name(PatternKind::Glob, &"ab-".repeat(40)).parse::<crate::model::AppName>().is_ok());
    }
}
