//! Versions of Java's archives, in the order of Maven's `ComparableVersion`, without its lists in lists: numbers, then words, of which some
//! come before a release.

use std::cmp::Ordering;

/// Words that stand before a release, in their order.
const BEFORE: [&[&str]; 5] = [&["alpha", "a"], &["beta", "b"], &["milestone", "m"], &["rc", "cr"], &["snapshot"]];
/// Words that say no more than that it is one.
const RELEASE: [&str; 3] = ["final", "ga", "release"];

/// A part of a version. The order is that of the variants: `End` is where the other version goes on.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Before(usize),
    End,
    Word(String),
    /// Its length and its digits, without zeros in front.
    Number(usize, String),
}

/// Compares two versions.
pub fn compare(a: &str, b: &str) -> Ordering {
    parts(a).cmp(&parts(b))
}

fn parts(version: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    for text in version.to_lowercase().split(['.', '-', '_', '+']) {
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let is_number = first.is_ascii_digit();
            let end = rest.find(|c: char| c.is_ascii_digit() != is_number).unwrap_or(rest.len());
            let (part, more) = rest.split_at(end);
            rest = more;
            if is_number {
                let digits = part.trim_start_matches('0');
                parts.push(Part::Number(digits.len(), digits.to_owned()));
            } else {
                // Zeros before a word say nothing.
                trim_zeros(&mut parts);
                parts.extend(word(part));
            }
        }
    }
    trim_zeros(&mut parts);
    parts.push(Part::End);
    parts
}

fn trim_zeros(parts: &mut Vec<Part>) {
    let zeros = parts.iter().rev().take_while(|part| matches!(part, Part::Number(0, _))).count();
    parts.truncate(parts.len() - zeros);
}

fn word(part: &str) -> Option<Part> {
    if RELEASE.contains(&part) {
        return None;
    }
    let before = BEFORE.iter().position(|words| words.contains(&part));
    Some(before.map_or_else(|| Part::Word(part.to_owned()), Part::Before))
}
