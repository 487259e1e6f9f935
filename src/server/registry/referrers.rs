//! The list of manifests that are about another one: signatures, bills of materials, attestations.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::HeaderName;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::Registry;
use super::blobs::{header, parse_digest};
use super::enter::Caller;
use super::error::{Error, Result};
use super::paging::{link, next};
use crate::model::Stream;
use crate::server::auth::Right;
use crate::server::oci::Descriptor;
use crate::server::oci::manifest::{ACCEPTED, MAX_SIZE};
use crate::server::store::{self, Referrer};

/// `OCI-Filters-Applied`
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
/// The media type of an image index.
pub(super) const INDEX: &str = ACCEPTED[0];
/// Referrers read at once. Their annotations may be large, so not all are.
const BATCH: i64 = 16;
/// The most referrers in one answer; the rest is behind its `Link`.
const MOST: usize = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Filter {
    artifact_type: Option<String>,
    last: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    pub schema_version: u8,
    pub media_type: &'static str,
    pub manifests: Vec<Descriptor>,
}

/// `GET /v2/<name>/referrers/<digest>`. A subject, or a repository, that is not there has no referrers: that is no error.
pub(super) async fn list(
    State(registry): State<Registry>,
    Path((project, name, digest)): Path<(String, String, String)>,
    Query(filter): Query<Filter>,
    caller: Caller,
) -> Result<Response> {
    let entered = caller.enter(&registry, &project, &name, Right::Pull).await?;
    let digest = parse_digest(&digest)?;
    let artifact_type = filter.artifact_type.as_deref().unwrap_or_default();
    let last = filter.last.unwrap_or_default();
    let (manifests, last) = match entered.find_stream(&registry).await? {
        Some(stream) => page(&registry, &stream, digest.as_str(), artifact_type, last).await?,
        None => (Vec::new(), None),
    };
    let mut response = Json(Index { schema_version: 2, media_type: INDEX, manifests }).into_response();
    response.headers_mut().insert(CONTENT_TYPE, header(INDEX));
    let mut query = Vec::new();
    if !artifact_type.is_empty() {
        response.headers_mut().insert(FILTERS_APPLIED, header("artifactType"));
        query.push(("artifactType", artifact_type));
    }
    if let Some(last) = &last {
        query.push(("last", last));
        link(&mut response, Some(next(&format!("{}/referrers/{digest}", entered.path()), &query)));
    }
    Ok(response)
}

/// As many referrers as fit into one manifest, and the last of them if there are more.
async fn page(
    registry: &Registry,
    stream: &Stream,
    subject: &str,
    artifact_type: &str,
    mut last: String,
) -> Result<(Vec<Descriptor>, Option<String>)> {
    let (mut page, mut size) = (Vec::new(), 0);
    loop {
        let batch = registry.store.list_referrers(&stream.id, subject, artifact_type, &last, BATCH).await?;
        let is_end = (batch.len() as i64) < BATCH;
        for referrer in batch {
            size += referrer.annotations.len() + 512;
            // One that is too large alone is told all the same, or nobody would ever get past it.
            if !page.is_empty() && (size > MAX_SIZE || page.len() == MOST) {
                return Ok((page, Some(last)));
            }
            last.clone_from(&referrer.digest);
            page.push(descriptor(referrer)?);
        }
        if is_end {
            return Ok((page, None));
        }
    }
}

fn descriptor(referrer: Referrer) -> Result<Descriptor> {
    let annotations: BTreeMap<String, String> =
        serde_json::from_str(&referrer.annotations).map_err(|cause| Error::from(store::Error::from(cause)))?;
    Ok(Descriptor {
        media_type: referrer.media_type,
        digest: parse_digest(&referrer.digest)?,
        size: u64::try_from(referrer.size).unwrap_or_default(),
        urls: Vec::new(),
        annotations,
        platform: None,
        artifact_type: referrer.artifact_type,
    })
}
