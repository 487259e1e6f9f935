//! Texts that sort as tags do, so that a database can keep them in an index: compared byte by byte they are in the order that people, or
//! Semantic Versioning, put the tags in. They consist of `0` to `9` and `a` to `f` alone, which every collation sorts alike.

use semver::{Prerelease, Version};

use super::tag_order::lenient_version;

/// Sorts after every key.
pub const LAST_KEY: &str = "zz";

/// A name as people sort it: `3.10` is after `3.9`, since numbers within it count as numbers, and all else counts letter by letter.
/// Leading zeros decide only between names that are the same without them.
pub fn natural_key(name: &str) -> String {
    let mut key = Vec::with_capacity(name.len() * 2 + 2);
    let mut rest = name;
    while !rest.is_empty() {
        let is_number = rest.starts_with(|c: char| c.is_ascii_digit());
        let end = rest.find(|c: char| c.is_ascii_digit() != is_number).unwrap_or(rest.len());
        let (chunk, after) = rest.split_at(end);
        match is_number {
            true => number(&mut key, chunk),
            false => key.extend_from_slice(chunk.as_bytes()),
        }
        rest = after;
    }
    key.push(0);
    key.extend_from_slice(name.as_bytes());
    hex::encode(key)
}

/// A tag by its version (Semantic Versioning 2.0.0, 11). What is no version comes before all that are; of the same version the names
/// decide.
pub fn version_key(name: &str) -> String {
    let mut key = Vec::new();
    match lenient_version(name) {
        None => key.push(0),
        Some(Version { major, minor, patch, pre, .. }) => {
            key.push(1);
            for part in [major, minor, patch] {
                number(&mut key, &part.to_string());
            }
            prerelease(&mut key, &pre);
        }
    }
    hex::encode(key) + &natural_key(name)
}

/// A digit, then how many digits follow, then these: a longer number is a larger one. The digit stands where text would.
fn number(key: &mut Vec<u8>, digits: &str) {
    let digits = digits.trim_start_matches('0');
    key.push(b'0');
    key.push(u8::try_from(digits.len()).unwrap_or(u8::MAX));
    key.extend_from_slice(digits.as_bytes());
}

/// A version comes after its own prereleases; of these, one that has fewer identifiers before one that goes on.
fn prerelease(key: &mut Vec<u8>, pre: &Prerelease) {
    if pre.is_empty() {
        key.push(u8::MAX);
        return;
    }
    for identifier in pre.split('.') {
        match identifier.bytes().all(|byte| byte.is_ascii_digit()) {
            true => {
                key.push(1);
                number(key, identifier);
            }
            false => {
                key.push(2);
                key.extend_from_slice(identifier.as_bytes());
                key.push(0);
            }
        }
    }
    key.push(0);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn assert_sorted(names: &str, key: fn(&str) -> String) {
        let mut sorted: Vec<_> = names.split(' ').rev().collect();
        sorted.sort_by_key(|name| key(name));
        assert_eq!(sorted.join(" "), names);
    }

    #[test]
    fn numbers_within_names_count_as_numbers() {
        assert_sorted("3.9 3.10 4 10 build7 build99 build100000000000000000000 v9 v10", natural_key);
        assert_sorted("release-2024-2-05 release-2024-11-05", natural_key);
        assert_sorted("01 1 1- 1.0 1a a a- a.b a0 a1 a_ aa b", natural_key);
    }

    #[test]
    fn versions_come_after_all_else_and_in_their_order() {
        assert_sorted("latest stable-9 stable-10 3 3.9 3.10 v3.10 3.10.1 4.0.0-rc.1 4.0.0-rc.2 4.0.0", version_key);
        assert_sorted("1.2 1.9 1.10", version_key);
        let section_11 =
            "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0";
        assert_sorted(section_11, version_key);
    }

    proptest! {
        #[test]
        fn keys_of_versions_are_in_the_order_of_versions(
            a in r"[0-9]{1,3}(\.[0-9]{1,2}){0,2}(-[0-9a-z]{1,3}(\.[0-9a-z-]{1,3}){0,2})?",
            b in r"[0-9]{1,3}(\.[0-9]{1,2}){0,2}(-[0-9a-z]{1,3}(\.[0-9a-z-]{1,3}){0,2})?",
        ) {
            if let (Some(one), Some(two)) = (lenient_version(&a), lenient_version(&b)) {
                let order = one.cmp(&two);
                prop_assert!(order.is_eq() || version_key(&a).cmp(&version_key(&b)) == order, "{a} and {b}");
            }
        }

        #[test]
        fn no_two_names_have_one_key(a in "[a-c0-2._-]{1,6}", b in "[a-c0-2._-]{1,6}") {
            for key in [natural_key, version_key] {
                prop_assert_eq!(key(&a) == key(&b), a == b);
                prop_assert!(key(&a).as_str() < LAST_KEY);
            }
        }
    }
}
