//! Which of a repository's tags come first: by their versions, or by the numbers in them.

use std::cmp::Reverse;

use semver::Version;

use super::sort_key::{natural_key, version_key};
use super::text_enum::text_enum;

text_enum! {
    /// What makes one tag newer than another. Registries do not tell when a tag was made.
    TagOrder {
        /// By version (Semantic Versioning 2.0.0, 11); what is no version comes after all that are.
        Semver = "semver",
        /// By what a person reads: numbers within a name count as numbers, all else letter by letter.
        Natural = "natural",
    }
}

text_enum! {
    /// What a stream's tags are sorted by, besides their moves.
    TagSort {
        /// As people sort names, `3.9` before `3.10`.
        Name = "name",
        /// The highest version first; what is no version last.
        Semver = "semver",
        /// The largest image first; tags without one last.
        Size = "size",
    }
}

impl TagOrder {
    /// Sorts, the newest first.
    pub fn newest_first(self, tags: &mut [String]) {
        match self {
            Self::Semver => tags.sort_by_cached_key(|tag| Reverse(version_key(tag))),
            Self::Natural => tags.sort_by_cached_key(|tag| Reverse(natural_key(tag))),
        }
    }
}

/// Sorts as OpenShift takes the tags of a whole repository: `latest`, then versions of two numbers, then full versions, each newest first
/// and without `v` before with it, then all others by their letters.
pub fn by_import_priority(tags: &mut [String]) {
    tags.sort_by_cached_key(|tag| match (tag.as_str(), lenient_version(tag)) {
        ("" | "latest", _) => (0, None, String::new()),
        (_, Some(version)) if parts(tag) == 2 => (1, Some(Reverse(version)), tag.clone()),
        (_, Some(version)) if parts(tag) == 3 => (2, Some(Reverse(version)), tag.clone()),
        _ => (3, None, tag.clone()),
    });
}

/// The version that a tag names, also where it begins with a `v` or leaves out the last numbers: `3`, `v3.6`, `3.6.1-rc2`. Leading zeros
/// are read over, as in `24.04`. Which of two tags of one version comes first the version does not say.
pub fn lenient_version(tag: &str) -> Option<Version> {
    let (numbers, rest) = split(tag);
    let mut parts: Vec<u64> = numbers.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    if parts.len() > 3 || !(rest.is_empty() || rest.starts_with(['-', '+'])) {
        return None;
    }
    parts.resize(3, 0);
    format!("{}.{}.{}{rest}", parts[0], parts[1], parts[2]).parse().ok()
}

/// How many numbers a version is written with.
fn parts(tag: &str) -> usize {
    split(tag).0.split('.').count()
}

/// The numbers with their dots, and all that follows them.
fn split(tag: &str) -> (&str, &str) {
    let tag = tag.strip_prefix('v').unwrap_or(tag);
    tag.split_at(tag.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(tag.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(tags: &str, sort: impl Fn(&mut [String])) -> String {
        // Turned around first, so that what is equal to the sort would show.
        let mut tags: Vec<String> = tags.split(' ').rev().map(str::to_owned).collect();
        sort(&mut tags);
        tags.join(" ")
    }

    #[test]
    fn section_6_2_whole_repositories_are_taken_in_this_order() {
        let order = "latest 5.1 5.1-rc1 5.0 v5.0 3.10 3.9 5.1.1 5.1.0 v5.1.0 5.1.0-beta.2 5.1.0-beta.1 1.2.3 3 alpine edge sha-1.2";
        assert_eq!(sorted(order, by_import_priority), order);
    }

    #[test]
    fn versions_come_newest_first_and_all_else_after_them() {
        let order = "4.0.0 4.0.0-rc.2 4.0.0-rc.1 3.10.1 v3.10 3.9 3 2024.4 stable-10 stable-9 latest";
        let newest = order.replace(" 2024.4", "");
        assert_eq!(sorted(&newest, |tags| TagOrder::Semver.newest_first(tags)), newest);
        let order = "24.10 24.04 22.04";
        assert_eq!(sorted(order, |tags| TagOrder::Semver.newest_first(tags)), order);
    }

    #[test]
    fn numbers_within_names_count_as_numbers() {
        let order = "v10 v9 release-2024-11-05 release-2024-2-05 build100000000000000000000 build99 build7 7.10 7.9";
        assert_eq!(sorted(order, |tags| TagOrder::Natural.newest_first(tags)), order);
        assert_eq!(sorted("a1 a01", |tags| TagOrder::Natural.newest_first(tags)), "a1 a01");
    }

    #[test]
    fn what_is_no_version_is_told() {
        for (tag, version) in [
            ("3", Some("3.0.0")),
            ("v3.6", Some("3.6.0")),
            ("3.6.1-rc2", Some("3.6.1-rc2")),
            ("24.04", Some("24.4.0")),
            ("1.2.3+build.5", Some("1.2.3+build.5")),
            ("1.2.3.4", None),
            ("latest", None),
            ("v", None),
            ("", None),
            ("3.6alpine", None),
            ("99999999999999999999.1", None),
        ] {
            assert_eq!(lenient_version(tag).map(|found| found.to_string()).as_deref(), version, "{tag}");
        }
    }
}
