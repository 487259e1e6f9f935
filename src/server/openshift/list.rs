//! Lists: pages by key, `labelSelector` and `fieldSelector`, and the envelope around the items.

use std::collections::BTreeMap;

use axum::extract::{FromRequestParts, Query, RawPathParams};
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::kind::Kind;
use super::status::Status;
use crate::server::store;

/// Rows read at a time.
const BATCH: usize = 500;

/// What part of a list is wanted.
#[derive(Debug, Clone, Default)]
pub struct ListQuery {
    /// As many items at most; all of them when absent, as Kubernetes has it.
    limit: Option<usize>,
    /// The key of the last item seen.
    after: String,
    labels: Vec<Requirement>,
    /// Field selectors: the key, the value, and whether it is to be that or anything else.
    fields: Vec<(String, String, bool)>,
    /// The project of the path, in which all items are; empty at lists of the site.
    project: String,
}

/// One condition on an object's labels.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    Equals(String, String),
    Differs(String, String),
    Exists(String),
    Absent(String),
    OneOf(String, Vec<String>),
    NoneOf(String, Vec<String>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Raw {
    limit: String,
    r#continue: String,
    label_selector: String,
    field_selector: String,
    watch: String,
}

/// A page of a list.
#[derive(Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// The key to go on from, when there is more.
    pub next: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for ListQuery {
    type Rejection = Status;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Status> {
        let Query(raw) =
            Query::<Raw>::try_from_uri(&parts.uri).map_err(|error| Status::bad_request(error.body_text()))?;
        if matches!(raw.watch.as_str(), "true" | "1") {
            return Err(Status::method_not_allowed("watch is not supported on this list: read it again instead"));
        }
        let params = RawPathParams::from_request_parts(parts, state).await;
        let project = params
            .ok()
            .and_then(|params| params.iter().find(|(key, _)| *key == "project").map(|(_, project)| project.to_owned()));
        Ok(Self { project: project.unwrap_or_default(), ..Self::parse(&raw)? })
    }
}

impl ListQuery {
    fn parse(raw: &Raw) -> Result<Self, Status> {
        let limit = match raw.limit.as_str() {
            "" | "0" => None,
            text => {
                Some(text.parse().map_err(|_| Status::bad_request(format!("limit must be a number, not {text:?}")))?)
            }
        };
        let after = match raw.r#continue.as_str() {
            "" => String::new(),
            token => URL_SAFE_NO_PAD
                .decode(token)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .ok_or_else(|| Status::bad_request("continue key is not valid: take it from the list before"))?,
        };
        let mut query = Self { limit, after, labels: parse_labels(&raw.label_selector)?, ..Self::default() };
        for term in raw.field_selector.split(',').filter(|term| !term.is_empty()) {
            let (key, value, equal) = if let Some((key, value)) = term.split_once("!=") {
                (key, value, false)
            } else {
                let (key, value) = term
                    .split_once('=')
                    .ok_or_else(|| Status::bad_request(format!("invalid field selector: {term:?} is not key=value")))?;
                (key, value.trim_start_matches('='), true)
            };
            query.fields.push((key.to_owned(), value.to_owned(), equal));
        }
        Ok(query)
    }

    /// Refuses field selectors other than `metadata.name`, `metadata.namespace` and those in `known`.
    pub fn check_fields(&self, known: &[&str]) -> Result<(), Status> {
        let is_known = |key: &str| ["metadata.name", "metadata.namespace"].contains(&key) || known.contains(&key);
        match self.fields.iter().find(|(key, ..)| !is_known(key)) {
            Some((key, ..)) => Err(Status::bad_request(format!("field label not supported: {key}"))),
            None => Ok(()),
        }
    }

    /// Whether a field's value is among those wanted.
    pub fn wants_field(&self, key: &str, value: &str) -> bool {
        self.fields.iter().filter(|(wanted, ..)| wanted == key).all(|(_, wanted, equal)| (wanted == value) == *equal)
    }

    /// Whether an object of that name with these labels is wanted.
    pub fn wants(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        self.wants_field("metadata.name", name) && self.labels.iter().all(|requirement| requirement.holds(labels))
    }

    /// Whether any label is asked for: lists that carry none can skip reading them.
    pub fn asks_labels(&self) -> bool {
        !self.labels.is_empty()
    }

    /// Reads batches with `fetch(after, limit)` until the page is full. `key` is what rows are ordered by.
    pub async fn page<T, F>(
        &self,
        fetch: impl Fn(String, i64) -> F,
        key: impl Fn(&T) -> String,
        wanted: impl Fn(&T) -> bool,
    ) -> Result<Page<T>, Status>
    where
        F: Future<Output = store::Result<Vec<T>>>,
    {
        let mut items: Vec<T> = Vec::new();
        if !self.wants_field("metadata.namespace", &self.project) {
            return Ok(Page { items, next: None });
        }
        let mut after = self.after.clone();
        // One more than fits tells whether there is a next page.
        let batch = match self.limit {
            Some(limit) if self.labels.is_empty() && self.fields.is_empty() => limit.saturating_add(1).min(BATCH),
            _ => BATCH,
        };
        loop {
            let rows = fetch(after.clone(), i64::try_from(batch).unwrap_or(i64::MAX)).await?;
            let last = rows.last().map(&key);
            let complete = rows.len() < batch;
            for row in rows {
                if !wanted(&row) {
                    continue;
                }
                if self.limit.is_some_and(|limit| items.len() == limit) {
                    let next = items.last().map(&key);
                    return Ok(Page { items, next });
                }
                items.push(row);
            }
            match last {
                Some(last) if !complete => after = last,
                _ => return Ok(Page { items, next: None }),
            }
        }
    }
}

/// The list as it goes over the wire.
pub fn envelope(kind: &Kind, version: i64, next: Option<&str>, items: Vec<Value>) -> Value {
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if let Some(next) = next {
        metadata["continue"] = URL_SAFE_NO_PAD.encode(next).into();
    }
    json!({"kind": format!("{}List", kind.kind), "apiVersion": kind.api_version(), "metadata": metadata, "items": items})
}

/// `a=b,c!=d,e,!f,g in (h,i),j notin (k)`
fn parse_labels(text: &str) -> Result<Vec<Requirement>, Status> {
    split_terms(text).into_iter().map(parse_term).collect()
}

/// Splits at commas outside parentheses.
fn split_terms(text: &str) -> Vec<&str> {
    let (mut terms, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms.into_iter().map(str::trim).filter(|term| !term.is_empty()).collect()
}

fn parse_term(term: &str) -> Result<Requirement, Status> {
    let refused = || Status::bad_request(format!("unable to parse requirement: {term:?} is no label selector"));
    let set = |rest: &str| -> Result<Vec<String>, Status> {
        let values = rest.trim().strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).ok_or_else(refused)?;
        Ok(values.split(',').map(|value| value.trim().to_owned()).collect())
    };
    let requirement = if let Some((key, rest)) = term.split_once(" notin ") {
        Requirement::NoneOf(key.trim().to_owned(), set(rest)?)
    } else if let Some((key, rest)) = term.split_once(" in ") {
        Requirement::OneOf(key.trim().to_owned(), set(rest)?)
    } else if let Some((key, value)) = term.split_once("!=") {
        Requirement::Differs(key.trim().to_owned(), value.trim().to_owned())
    } else if let Some((key, value)) = term.split_once('=') {
        Requirement::Equals(key.trim().to_owned(), value.strip_prefix('=').unwrap_or(value).trim().to_owned())
    } else if let Some(key) = term.strip_prefix('!') {
        Requirement::Absent(key.trim().to_owned())
    } else {
        Requirement::Exists(term.to_owned())
    };
    let (prefix, name) = requirement.key().split_once('/').unwrap_or(("x", requirement.key()));
    let is_good = is_label_word(prefix)
        && is_label_word(name)
        && requirement.values().iter().all(|value| value.is_empty() || is_label_word(value));
    if is_good { Ok(requirement) } else { Err(refused()) }
}

/// A name or a value of a label, as Kubernetes has them ("Labels and Selectors", "Syntax and character set"), but of any length.
fn is_label_word(text: &str) -> bool {
    let ends =
        text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.ends_with(|c: char| c.is_ascii_alphanumeric());
    ends && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

impl Requirement {
    fn key(&self) -> &str {
        match self {
            Self::Equals(key, _)
            | Self::Differs(key, _)
            | Self::Exists(key)
            | Self::Absent(key)
            | Self::OneOf(key, _)
            | Self::NoneOf(key, _) => key,
        }
    }

    fn values(&self) -> &[String] {
        match self {
            Self::Equals(_, value) | Self::Differs(_, value) => std::slice::from_ref(value),
            Self::Exists(_) | Self::Absent(_) => &[],
            Self::OneOf(_, values) | Self::NoneOf(_, values) => values,
        }
    }

    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(self.key());
        match self {
            Self::Equals(_, wanted) => value == Some(wanted),
            Self::Differs(_, wanted) => value != Some(wanted),
            Self::Exists(_) => value.is_some(),
            Self::Absent(_) => value.is_none(),
            Self::OneOf(_, wanted) => value.is_some_and(|value| wanted.contains(value)),
            Self::NoneOf(_, wanted) => value.is_none_or(|value| !wanted.contains(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let query = ListQuery { labels: parse_labels(selector).unwrap(), ..ListQuery::default() };
        query.wants("x", &labels)
    }

    #[test]
    fn label_selectors_select() {
        let labels = [("app", "a"), ("tier", "web")];
        for yes in ["", "app=a", "app==a,tier", "app!=b", "!gone", "tier in (db, web)", "gone!=x", "app notin (b,c)"] {
            assert!(selects(yes, &labels), "{yes}");
        }
        for no in ["app=b", "gone", "!app", "tier in (db)", "app notin (a)", "app=a,tier=db"] {
            assert!(!selects(no, &labels), "{no}");
        }
        assert!(selects("example.com/tier=", &[("example.com/tier", "")]));
        for bad in
            ["a b", "=x", "!!", "a=b=c", "a===b", "x in (", "a in b", "-bad-=1", "a/b/c", "a=b c", "a > 1", "/a", "a=-"]
        {
            assert!(parse_labels(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn section_3_8_every_term_of_a_field_selector_holds() {
        let names = ["a", "b", "c"];
        for (selector, expected) in [
            ("metadata.name=b", vec!["b"]),
            ("metadata.name==b", vec!["b"]),
            ("metadata.name!=b", vec!["a", "c"]),
            ("metadata.name!=b,metadata.name!=c", vec!["a"]),
            ("metadata.name=a,metadata.name=b", vec![]),
            ("metadata.namespace=demo", vec!["a", "b", "c"]),
            ("metadata.namespace!=other,metadata.name=c", vec!["c"]),
            ("metadata.namespace=other", vec![]),
            ("metadata.namespace!=demo", vec![]),
        ] {
            let raw = Raw { field_selector: selector.to_owned(), ..Raw::default() };
            let query = ListQuery { project: "demo".to_owned(), ..ListQuery::parse(&raw).unwrap() };
            assert!(query.check_fields(&[]).is_ok(), "{selector}");
            let fetch = |after: String, _| async move {
                Ok(names.into_iter().filter(|name| *name > after.as_str()).collect::<Vec<&str>>())
            };
            let page = query.page(fetch, |name| (*name).to_owned(), |name| query.wants(name, &BTreeMap::new())).await;
            assert_eq!(page.unwrap().items, expected, "{selector}");
        }
    }

    #[tokio::test]
    async fn pages_continue_where_they_ended() {
        let names: Vec<String> = (0..1200).map(|number| format!("n{number:04}")).collect();
        let fetch = |after: String, limit: i64| {
            let rows: Vec<String> = names.iter().filter(|name| **name > after).take(limit as usize).cloned().collect();
            async move { Ok(rows) }
        };
        let all = ListQuery::default().page(fetch, Clone::clone, |_| true).await.unwrap();
        assert_eq!((all.items.len(), all.next), (1200, None));
        let mut query = ListQuery { limit: Some(700), ..ListQuery::default() };
        let first = query.page(fetch, Clone::clone, |_| true).await.unwrap();
        assert_eq!((first.items.len(), first.next.as_deref()), (700, Some("n0699")));
        query.after = first.next.unwrap();
        let second = query.page(fetch, Clone::clone, |_| true).await.unwrap();
        assert_eq!((second.items.len(), second.next), (500, None));
        let none = query.page(fetch, Clone::clone, |name: &String| name == "n0000").await.unwrap();
        assert!(none.items.is_empty() && none.next.is_none());
    }
}
