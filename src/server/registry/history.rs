//! The history of a tag as other registries may tell it one day: `_oci/tag-history`, as proposed for the distribution-spec (pull request 606),
//! and `_oci/ext/discover`, which says whether it is there (distribution-spec 1.1, extensions). Off until asked for, as it may still change.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Registry;
use super::blobs::{header, parse_digest};
use super::enter::Caller;
use super::error::{Error, Result};
use super::paging::{Page, link, next};
use super::referrers::{INDEX, Index};
use crate::model::{Digest, Outcome, TagName};
use crate::server::auth::Right;
use crate::server::oci::Descriptor;
use crate::server::store::{Assigned, HistoryPart};

/// Where it is told what a registry does beyond the specification.
const DISCOVER: &str = "_oci/ext/discover";
const TAG_HISTORY: &str = "_oci/tag-history";
const TIMESTAMP: &str = "org.opencontainers.distribution.tag.timestamp";
const EVENT: &str = "org.opencontainers.distribution.tag.event";
const SPECIFICATION: &str = "https://github.com/opencontainers/distribution-spec/blob/main/extensions/_oci.md";

/// `GET /v2/_oci/ext/discover`
pub(super) async fn discover(State(registry): State<Registry>, _caller: Caller) -> Json<Value> {
    Json(extensions(&registry))
}

/// `GET /v2/<name>/_oci/ext/discover`
pub(super) async fn discover_there(
    State(registry): State<Registry>,
    Path((project, name)): Path<(String, String)>,
    caller: Caller,
) -> Result<Json<Value>> {
    caller.enter(&registry, &project, &name, Right::Pull).await?.stream(&registry).await?;
    Ok(Json(extensions(&registry)))
}

fn extensions(registry: &Registry) -> Value {
    let mut endpoints = vec![DISCOVER];
    endpoints.extend(registry.settings.tag_history.then_some(TAG_HISTORY));
    let description = "What this registry does beyond the specification";
    json!({"extensions": [{"name": "_oci", "description": description, "url": SPECIFICATION, "endpoints": endpoints}]})
}

/// What part of a history is wanted.
#[derive(Deserialize)]
pub(super) struct Wanted {
    before: Option<String>,
    since: Option<String>,
    digest: Option<String>,
}

/// `GET /v2/<name>/_oci/tag-history/<tag>`: an index of what the tag pointed to and when it was deleted, newest first, be the tag and its
/// manifests there or not. What automations were kept from is not told: it never was what the tag meant.
pub(super) async fn list(
    State(registry): State<Registry>,
    Path((project, name, tag)): Path<(String, String, String)>,
    Query(page): Query<Page>,
    Query(wanted): Query<Wanted>,
    caller: Caller,
) -> Result<Response> {
    let entered = caller.enter(&registry, &project, &name, Right::Pull).await?;
    if !registry.settings.tag_history {
        return Err(Error::name_unknown(
            "histories of tags are not told here: the server was started without --tag-history",
        ));
    }
    let stream = entered.stream(&registry).await?;
    let tag: TagName = tag.parse().map_err(|error| Error::paging(format!("\"{tag}\" is no tag: {error}")))?;
    let n = page.size()?;
    let part = HistoryPart {
        // Ours alone: of rows of one moment the time does not tell which comes next.
        after: page.last().parse().unwrap_or(i64::MAX),
        before: moment("before", wanted.before.as_deref())?.unwrap_or(i64::MAX),
        since: moment("since", wanted.since.as_deref())?.unwrap_or(i64::MIN),
        digest: wanted.digest.as_deref().map(parse_digest).transpose()?,
    };
    let mut rows = registry.store.list_assigned(&stream.id, tag.as_str(), &part, n + 1).await?;
    let more = i64::try_from(rows.len()).is_ok_and(|found| found > n && n > 0);
    rows.truncate(usize::try_from(n).unwrap_or_default());
    let further = rows.last().filter(|_| more).map(|last| {
        let (number, time) = (last.number.to_string(), timestamp(last.sorted_at));
        let n = n.to_string();
        let mut query = vec![("n", n.as_str()), ("before", time.as_str()), ("last", number.as_str())];
        query.extend(wanted.since.as_deref().map(|since| ("since", since)));
        query.extend(wanted.digest.as_deref().map(|digest| ("digest", digest)));
        next(&format!("{}/{TAG_HISTORY}/{tag}", entered.path()), &query)
    });
    let manifests = rows.iter().filter_map(descriptor).collect();
    let mut response = Json(Index { schema_version: 2, media_type: INDEX, manifests }).into_response();
    response.headers_mut().insert(CONTENT_TYPE, header(INDEX));
    link(&mut response, further);
    Ok(response)
}

fn descriptor(row: &Assigned) -> Option<Descriptor> {
    let digest: Digest = row.digest.parse().ok()?;
    let event = if row.outcome == Outcome::Deleted { "deleted" } else { "created" };
    let annotations =
        BTreeMap::from([(TIMESTAMP.to_owned(), timestamp(row.sorted_at)), (EVENT.to_owned(), event.to_owned())]);
    let size = u64::try_from(row.size).unwrap_or_default();
    let media_type = row.media_type.clone();
    Some(Descriptor { media_type, digest, size, urls: Vec::new(), annotations, platform: None, artifact_type: None })
}

fn moment(name: &str, text: Option<&str>) -> Result<Option<i64>> {
    let Some(text) = text else { return Ok(None) };
    let moment: Timestamp = text.parse().map_err(|_| {
        Error::paging(format!("{name} must be a time as RFC 3339 has it: ?{name}=2026-01-31T12:00:00Z"))
    })?;
    Ok(Some(moment.as_millisecond()))
}

/// To the millisecond: it is what the next page is asked for by.
fn timestamp(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| String::new(), |time| time.to_string())
}
