//! The grammar of image references (`github.com/distribution/reference`), read in one pass and without regular expressions: time is
//! bounded by the text's length.

use super::ReferenceError;
use crate::model::name::is_tag;

/// Name, tag and digest by the grammar of `github.com/distribution/reference`; none when the text does not match it.
pub(super) fn split(text: &str) -> Option<(&str, &str, &str)> {
    let (rest, id) = match text.split_once('@') {
        Some((rest, id)) if is_digest_shaped(id) => (rest, id),
        Some(_) => return None,
        None => (text, ""),
    };
    let last = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest[last..].split_once(':') {
        Some((_, tag)) if is_tag(tag) => (&rest[..rest.len() - tag.len() - 1], tag),
        Some(_) => return None,
        None => (rest, ""),
    };
    is_name(name).then_some((name, tag, id))
}

fn is_name(name: &str) -> bool {
    match name.split_once('/') {
        None => is_path_component(name),
        Some((first, rest)) => (is_path_component(first) || is_domain(first)) && rest.split('/').all(is_path_component),
    }
}

/// `[a-z0-9]+(?:(?:[._]|__|[-]*)[a-z0-9]+)*`
fn is_path_component(text: &str) -> bool {
    let word = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let framed = bytes.first().is_some_and(word) && bytes.last().is_some_and(word);
    framed
        && bytes
            .split(word)
            .filter(|separator| !separator.is_empty())
            .all(|separator| matches!(separator, b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-'))
}

/// Labels of letters, digits and inner dashes joined by dots, and an optional port.
fn is_domain(text: &str) -> bool {
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    host.split('.').all(label) && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

/// `[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}`
fn is_digest_shaped(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    let word = |word: &str| {
        word.bytes().next().is_some_and(|b| b.is_ascii_alphabetic()) && word.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    algorithm.split(['-', '_', '+', '.']).all(word) && hex.len() >= 32 && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

pub(super) fn check_digest(text: &str) -> Result<(), ReferenceError> {
    let (algorithm, hex) = text.split_once(':').ok_or(ReferenceError::Format)?;
    let expected = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return Err(ReferenceError::Algorithm),
    };
    match hex.len() == expected && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        true => Ok(()),
        false => Err(ReferenceError::DigestLength),
    }
}
