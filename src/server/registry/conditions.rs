//! Conditional pushes (RFC 9110, 13.1): `If-Match` and `If-None-Match` against where the tag points, whose digest is its `ETag`.

use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName};

use super::error::{Error, Result};
use crate::server::store::Expected;

/// Where the tag has to point for the push to take place.
pub(super) fn read(headers: &HeaderMap) -> Result<Expected> {
    let (matching, other) = (list(headers, IF_MATCH), list(headers, IF_NONE_MATCH));
    match (matching.as_slice(), other.as_slice()) {
        ([], []) => Ok(Expected::Anywhere),
        ([any], []) if any == "*" => Ok(Expected::Somewhere),
        (digests, []) => Ok(Expected::OneOf(digests.to_vec())),
        ([], [any]) if any == "*" => Ok(Expected::Nowhere),
        // A push that should take place unless the tag points to one certain image has no use that anybody named.
        _ => Err(Error::manifest_invalid("a push takes If-Match with digests or *, or If-None-Match: *, and not both")),
    }
}

/// The entity tags of a header, without quotes. A weak one never matches what is to be the very same (RFC 9110, 13.1.1).
fn list(headers: &HeaderMap, name: HeaderName) -> Vec<String> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let tags = values.flat_map(|value| value.split(',')).map(|tag| tag.trim().trim_matches('"').to_owned());
    tags.filter(|tag| !tag.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn expected(headers: &[(HeaderName, &'static str)]) -> Option<Expected> {
        let headers = headers.iter().map(|&(ref name, value)| (name.clone(), HeaderValue::from_static(value)));
        read(&HeaderMap::from_iter(headers)).ok()
    }

    #[test]
    fn conditions_are_read_as_rfc_9110_has_them() {
        assert_eq!(expected(&[]), Some(Expected::Anywhere));
        assert_eq!(expected(&[(IF_MATCH, "*")]), Some(Expected::Somewhere));
        assert_eq!(expected(&[(IF_NONE_MATCH, "*")]), Some(Expected::Nowhere));
        let two = vec!["sha256:a".to_owned(), "sha256:b".to_owned()];
        assert_eq!(expected(&[(IF_MATCH, "\"sha256:a\", \"sha256:b\"")]), Some(Expected::OneOf(two)));
        assert_eq!(expected(&[(IF_MATCH, "W/\"sha256:a\"")]), Some(Expected::OneOf(vec!["W/\"sha256:a".to_owned()])));
        assert_eq!(expected(&[(IF_NONE_MATCH, "\"sha256:a\"")]), None);
        assert_eq!(expected(&[(IF_MATCH, "*"), (IF_NONE_MATCH, "*")]), None);
    }
}
