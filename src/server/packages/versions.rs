//! Which of two versions is newer, by the rules of whoever wrote them. The rules of dpkg, rpm and apk are short and settled, and the crates
//! that have them bring much else: they are here. Versions of Python and Node have crates of their own.

mod maven;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::str::FromStr as _;

use crate::model::PackageKind;

/// Compares two versions of a package. Every text is a version of some sort: none is refused.
pub fn compare_versions(kind: PackageKind, a: &str, b: &str) -> Ordering {
    match kind {
        PackageKind::Dpkg => dpkg(a, b),
        PackageKind::Rpm => rpm(a, b),
        PackageKind::Apk => apk(a, b),
        PackageKind::Python => match (pep440_rs::Version::from_str(a), pep440_rs::Version::from_str(b)) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            (Err(_), Err(_)) => rpm_part(a.as_bytes(), b.as_bytes()),
            // What is no version by the rules is older than all that are.
            (a, b) => a.is_ok().cmp(&b.is_ok()),
        },
        PackageKind::Npm | PackageKind::Cargo => semantic(a, b),
        PackageKind::Java => maven::compare(a, b),
        // `v1.2.3` and `1.2.3` are one.
        PackageKind::Composer | PackageKind::Go => {
            semantic(a.strip_prefix('v').unwrap_or(a), b.strip_prefix('v').unwrap_or(b))
        }
        PackageKind::Gem => gem(a, b),
    }
}

/// By Semantic Versioning, and by the numbers in front where one of them does not follow it.
fn semantic(a: &str, b: &str) -> Ordering {
    release_numbers(a, b).then_with(|| match (semver::Version::parse(a), semver::Version::parse(b)) {
        (Ok(a), Ok(b)) => a.cmp_precedence(&b),
        (Err(_), Err(_)) => rpm_part(a.as_bytes(), b.as_bytes()),
        // Whichever comes first, it has to be always the same: versions are sorted.
        (a, b) => a.is_ok().cmp(&b.is_ok()),
    })
}

/// Compares the numbers between dots that two versions begin with; zeros at the end say nothing.
fn release_numbers(a: &str, b: &str) -> Ordering {
    let [a, b] = [a, b].map(|version| {
        let end = version.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(version.len());
        version[..end].split('.').map(str::as_bytes).collect::<Vec<_>>()
    });
    let parts = |at: usize| [&a, &b].map(|parts| parts.get(at).copied().unwrap_or_default());
    let mut orders = (0..a.len().max(b.len())).map(|at| {
        let [x, y] = parts(at);
        numbers(x, y)
    });
    orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// The name by which packages of a kind are told apart: Python takes `Ruamel.YAML` and `ruamel-yaml` for one (PEP 503).
pub(super) fn same_name(kind: PackageKind, name: &str) -> Cow<'_, str> {
    let is_plain = |c: char| !c.is_ascii_uppercase() && !matches!(c, '.' | '_');
    if kind != PackageKind::Python || (name.chars().all(is_plain) && !name.contains("--")) {
        return Cow::Borrowed(name);
    }
    let words = name.split(['-', '_', '.']).filter(|word| !word.is_empty());
    Cow::Owned(words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-"))
}

/// `Gem::Version` of Ruby: parts between dots, each of digits or of letters; letters tell a prerelease, and zeros at the end say nothing.
fn gem(a: &str, b: &str) -> Ordering {
    let (a, b) = (gem_parts(a), gem_parts(b));
    for at in 0..a.len().max(b.len()) {
        let (x, y) = (a.get(at).copied().unwrap_or("0"), b.get(at).copied().unwrap_or("0"));
        let is_number = |part: &str| part.starts_with(|c: char| c.is_ascii_digit());
        let order = match (is_number(x), is_number(y)) {
            (true, true) => numbers(x.as_bytes(), y.as_bytes()),
            (false, false) => x.cmp(y),
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
        };
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// Zeros before the first letters say nothing either.
fn gem_parts(version: &str) -> Vec<&str> {
    let (mut parts, mut has_letters) = (Vec::<&str>::new(), false);
    for mut part in version.split(['.', '-']) {
        while !part.is_empty() {
            let digit = part.starts_with(|c: char| c.is_ascii_digit());
            let end = part.find(|c: char| c.is_ascii_digit() != digit).unwrap_or(part.len());
            if !digit && !has_letters {
                let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
                parts.truncate(parts.iter().rposition(|part| !is_zero(part)).map_or(0, |last| last + 1));
                has_letters = true;
            }
            parts.push(&part[..end]);
            part = &part[end..];
        }
    }
    parts
}

/// `[epoch:]upstream[-revision]`
fn parts(version: &str) -> (u64, &str, &str) {
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch.trim().parse().unwrap_or(0), upstream, revision)
}

/// deb-version(7), "Sorting algorithm".
fn dpkg(a: &str, b: &str) -> Ordering {
    let (a, b) = (parts(a), parts(b));
    let part = |a: &str, b: &str| dpkg_part(a.as_bytes(), b.as_bytes());
    a.0.cmp(&b.0).then_with(|| part(a.1, b.1)).then_with(|| part(a.2, b.2))
}

fn dpkg_part(mut a: &[u8], mut b: &[u8]) -> Ordering {
    // A tilde sorts before the end, letters before everything else.
    let weight = |text: &[u8]| match text.first() {
        None | Some(b'0'..=b'9') => 0,
        Some(b'~') => -1,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    };
    while !a.is_empty() || !b.is_empty() {
        while [a, b].iter().any(|text| text.first().is_some_and(|byte| !byte.is_ascii_digit())) {
            let order = weight(a).cmp(&weight(b));
            if order.is_ne() {
                return order;
            }
            (a, b) = (a.get(1..).unwrap_or_default(), b.get(1..).unwrap_or_default());
        }
        let ((x, rest_a), (y, rest_b)) = (digits(a), digits(b));
        let order = numbers(x, y);
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    Ordering::Equal
}

/// rpm-version(7).
fn rpm(a: &str, b: &str) -> Ordering {
    let (a, b) = (parts(a), parts(b));
    let part = |a: &str, b: &str| rpm_part(a.as_bytes(), b.as_bytes());
    a.0.cmp(&b.0).then_with(|| part(a.1, b.1)).then_with(|| part(a.2, b.2))
}

fn rpm_part(mut a: &[u8], mut b: &[u8]) -> Ordering {
    loop {
        (a, b) = (from_next_part(a), from_next_part(b));
        match (a.first(), b.first()) {
            (Some(b'~'), Some(b'~')) | (Some(b'^'), Some(b'^')) => (a, b) = (&a[1..], &b[1..]),
            (Some(b'~'), _) => return Ordering::Less,
            (_, Some(b'~')) => return Ordering::Greater,
            // A caret is more than the end, and less than anything else.
            (Some(b'^'), None) => return Ordering::Greater,
            (None, Some(b'^')) => return Ordering::Less,
            (Some(b'^'), _) => return Ordering::Less,
            (_, Some(b'^')) => return Ordering::Greater,
            (None, _) | (_, None) => return a.len().min(1).cmp(&b.len().min(1)),
            (Some(first), Some(other)) if first.is_ascii_digit() => {
                if !other.is_ascii_digit() {
                    return Ordering::Greater;
                }
                let ((x, rest_a), (y, rest_b)) = (digits(a), digits(b));
                let order = numbers(x, y);
                if order.is_ne() {
                    return order;
                }
                (a, b) = (rest_a, rest_b);
            }
            _ => {
                let ((x, rest_a), (y, rest_b)) = (letters(a), letters(b));
                // Letters are less than a number.
                let order = if y.is_empty() { Ordering::Less } else { x.cmp(y) };
                if order.is_ne() {
                    return order;
                }
                (a, b) = (rest_a, rest_b);
            }
        }
    }
}

fn from_next_part(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'~' | b'^'));
    &text[start.unwrap_or(text.len())..]
}

fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().take_while(|byte| byte.is_ascii_digit()).count())
}

fn letters(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().take_while(|byte| byte.is_ascii_alphabetic()).count())
}

/// Compares digits as numbers, however many they are.
fn numbers(a: &[u8], b: &[u8]) -> Ordering {
    let [a, b] = [a, b].map(|text| &text[text.iter().take_while(|byte| **byte == b'0').count()..]);
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// What apk takes a version apart into (apk-package(5)): numbers, a letter, suffixes with numbers, a revision.
#[derive(Default)]
struct ApkVersion<'a> {
    numbers: Vec<&'a [u8]>,
    letter: u8,
    suffixes: Vec<(i8, &'a [u8])>,
    revision: &'a [u8],
}

/// Suffixes in their order; those below none stand before the release.
const SUFFIXES: [(&[u8], i8); 9] = [
    (b"alpha", -4),
    (b"beta", -3),
    (b"pre", -2),
    (b"rc", -1),
    (b"cvs", 1),
    (b"svn", 2),
    (b"git", 3),
    (b"hg", 4),
    (b"p", 5),
];

impl<'a> ApkVersion<'a> {
    fn of(text: &'a str) -> Self {
        let mut version = Self::default();
        let mut text = text.as_bytes();
        if let Some(at) = text.windows(2).rposition(|two| two == b"-r") {
            version.revision = digits(&text[at + 2..]).0;
            text = &text[..at];
        }
        // A commit's hash may follow: it orders nothing.
        text = text.split(|byte| *byte == b'~').next().unwrap_or_default();
        let mut words = text.split(|byte| *byte == b'_');
        let mut rest = words.next().unwrap_or_default();
        loop {
            let (number, more) = digits(rest);
            version.numbers.push(number);
            match more {
                [b'.', more @ ..] => rest = more,
                [letter, ..] => {
                    version.letter = *letter;
                    break;
                }
                [] => break,
            }
        }
        for word in words {
            let (name, more) = letters(word);
            let rank = SUFFIXES.iter().find(|(known, _)| *known == name).map_or(0, |(_, rank)| *rank);
            version.suffixes.push((rank, digits(more).0));
        }
        version
    }
}

fn apk(a: &str, b: &str) -> Ordering {
    let (a, b) = (ApkVersion::of(a), ApkVersion::of(b));
    for (at, (x, y)) in a.numbers.iter().zip(&b.numbers).enumerate() {
        // Behind the first dot a number that begins with a zero is a fraction.
        let is_fraction = at > 0 && [x, y].iter().any(|number| number.starts_with(b"0") && number.len() > 1);
        let order = if is_fraction { x.cmp(y) } else { numbers(x, y) };
        if order.is_ne() {
            return order;
        }
    }
    let longest = a.suffixes.len().max(b.suffixes.len());
    let suffixes = || {
        let orders = (0..longest).map(|at| {
            let [(x, number), (y, other)] = [&a, &b].map(|it| it.suffixes.get(at).copied().unwrap_or_default());
            x.cmp(&y).then_with(|| numbers(number, other))
        });
        orders.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    };
    (a.numbers.len().cmp(&b.numbers.len()))
        .then_with(|| a.letter.cmp(&b.letter))
        .then_with(suffixes)
        .then_with(|| numbers(a.revision, b.revision))
}

#[cfg(test)]
mod tests;
