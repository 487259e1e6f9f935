//! Lists in pages: `n`, `last`, and the `Link` to what comes next (RFC 8288).

use axum::http::header::LINK;
use axum::response::Response;
use serde::Deserialize;

use super::blobs::header;
use super::error::{Error, Result};
use crate::model::Moment;

/// The most entries in one answer; the rest is behind its `Link`.
const MOST: i64 = 1000;

/// What a client says of the page it wants.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Page {
    n: Option<String>,
    last: Option<String>,
    /// The moment that the list is wanted of; `as-of` is taken, too, as everywhere.
    as_of: String,
    #[serde(rename = "as-of")]
    dashed: String,
}

impl Page {
    /// How many entries to answer with.
    pub(super) fn size(&self) -> Result<i64> {
        let Some(n) = self.n.as_deref().filter(|n| !n.is_empty()) else { return Ok(MOST) };
        let digits = n.bytes().all(|b| b.is_ascii_digit());
        // A number too large to read is larger than the most, too.
        if digits { Ok(n.parse().unwrap_or(MOST).min(MOST)) } else { Err(Error::paging("n must be a number: ?n=100")) }
    }

    /// What the page begins after.
    pub(super) fn last(&self) -> &str {
        self.last.as_deref().unwrap_or_default()
    }

    /// The moment as it was written; empty for now.
    pub(super) fn moment_text(&self) -> &str {
        if self.as_of.is_empty() { &self.dashed } else { &self.as_of }
    }

    /// The moment that the list is wanted of; `None` for now.
    pub(super) fn moment(&self) -> Result<Option<Moment>> {
        match self.moment_text() {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|error| Error::paging(format!("as_of: {error}"))),
        }
    }
}

/// Cuts a list, read with one more entry than asked for, to what was asked for; tells the link to the rest, if there is one. It keeps the
/// moment.
pub(super) fn cut(entries: &mut Vec<String>, n: i64, page: &Page, path: &str) -> Option<String> {
    let n = usize::try_from(n).unwrap_or_default();
    let more = entries.len() > n;
    entries.truncate(n);
    let last = entries.last().filter(|_| more)?;
    let n = n.to_string();
    let mut query = vec![("n", n.as_str()), ("last", last)];
    query.extend(Some(("as_of", page.moment_text())).filter(|(_, text)| !text.is_empty()));
    Some(next(path, &query))
}

/// The value of a `Link` header to the next page.
pub(super) fn next(path: &str, query: &[(&str, &str)]) -> String {
    let query: Vec<_> = query.iter().map(|(name, value)| format!("{name}={}", urlencoding::encode(value))).collect();
    format!("<{path}?{}>; rel=\"next\"", query.join("&"))
}

/// Adds a link to an answer.
pub(super) fn link(response: &mut Response, link: Option<String>) {
    if let Some(link) = link {
        response.headers_mut().insert(LINK, header(&link));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_up_to_the_most() {
        let size = |n: &str| Page { n: Some(n.to_owned()), ..Page::default() }.size().map_err(|_| ());
        assert_eq!((size("0"), size("7"), size("")), (Ok(0), Ok(7), Ok(MOST)));
        assert_eq!((size("5000"), size("99999999999999999999")), (Ok(MOST), Ok(MOST)));
        assert_eq!((size("-1"), size("many")), (Err(()), Err(())));
    }

    #[test]
    fn links_lead_to_the_rest() {
        let mut list = vec!["a".to_owned(), "b".to_owned(), "c".to_owned()];
        let (now, then) = (Page::default(), Page { as_of: "2026-11-01T14:03Z".to_owned(), ..Page::default() });
        let link = cut(&mut list.clone(), 2, &then, "/v2/_catalog").expect("a link");
        assert_eq!(link, "</v2/_catalog?n=2&last=b&as_of=2026-11-01T14%3A03Z>; rel=\"next\"");
        let link = cut(&mut list, 2, &now, "/v2/_catalog").expect("a link");
        assert_eq!((list.len(), link.as_str()), (2, "</v2/_catalog?n=2&last=b>; rel=\"next\""));
        assert_eq!(cut(&mut list, 2, &now, "/"), None);
        assert_eq!((cut(&mut list, 0, &now, "/"), list.len()), (None, 0));
    }
}
