//! The past (`?as_of=`): the moment that is asked for, and which routes know it. The objects of then are in `past/`, builds in `builds/past.rs`.
//!
//! What things should have been, labels and conditions are not kept, so these objects have less than those of now; their annotation says
//! which moment it is.

mod apps;
mod configs;
mod streams;

use axum::extract::{FromRequestParts, MatchedPath, Query, Request};
use axum::http::Method;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::Door;
use super::list::ListQuery;
use super::metadata::ObjectMeta;
use super::status::Status;
use crate::model::{Moment, rfc3339};

pub use apps::{app, apps};
pub use configs::{config, configs};
pub use streams::{reference_of, stream, stream_meta, streams, tag, tags};

/// The annotation that tells the moment.
pub const AS_OF: &str = "weir.dev/as-of";

/// The ends of the routes that know the past.
const KEPT: [&str; 28] = [
    "/imagestreams",
    "/imagestreams/{name}",
    "/imagestreams/{name}/layers",
    "/imagestreamtags",
    "/imagestreamtags/{name}",
    "/imagetags",
    "/imagetags/{name}",
    "/imagestreamimages/{name}",
    "/deployments",
    "/deployments/{name}",
    "/buildconfigs",
    "/buildconfigs/{name}",
    "/builds",
    "/builds/{name}",
    "/projects",
    "/projects/{name}",
    "/tags/{tag}",
    "/tags/{tag}/history",
    "/images/{id}",
    "/images/{id}/packages",
    "/compare",
    "/apps/{app}",
    "/apps/{app}/rollouts",
    "/cascades",
    "/cascades/{number}",
    "/freezes",
    "/freezes/{number}",
    "/activity",
];

/// Why others have none, by what their routes end with.
const NOT_KEPT: [(&str, &str); 13] = [
    ("/secrets", "a secret is replaced by the one after it, and nobody is to have the one before"),
    ("/registries", "what other registries answered is remembered as long as it is of use"),
    ("/search", "the index knows what is there now; lists of streams and tags can be read as of a moment"),
    ("/usage", "what is held is counted as it comes and goes, and no former sum stays"),
    ("/traffic", "it is told by days already: ask for it without as_of"),
    ("/retention", "a rule is replaced by the one after it; the activity has a row of each change"),
    ("/tag-rules", "rules are replaced by those after them; the activity has a row of each change"),
    ("/import-rules", "a rule is replaced by the one after it; the activity has a row of each change"),
    ("/import-rules/{name}", "a rule is replaced by the one after it; the activity has a row of each change"),
    ("/notices", "who is told is replaced by what comes after it; the activity has a row of each change"),
    ("/deliveries", "each delivery has its own times: ask for them without as_of"),
    (
        "/graph",
        "what followed and fed what is not kept; which images builds took in and apps ran is in the builds and apps",
    ),
    ("/resolve", "what a name would have come to is not kept; where a tag pointed is"),
];

/// Why all others have none.
const ONLY: &str = "only projects, streams, tags with their histories, images, builds, apps with their rollouts, cascades, freezes and the \
     activity can be read as of a moment";

/// The moment that a request asks for.
#[derive(Debug, Clone)]
pub struct AsOf(pub Option<Moment>);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Raw {
    as_of: String,
    #[serde(rename = "as-of")]
    dashed: String,
}

impl<S: Send + Sync> FromRequestParts<S> for AsOf {
    type Rejection = Status;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Status> {
        let Query(raw) =
            Query::<Raw>::try_from_uri(&parts.uri).map_err(|error| Status::bad_request(error.body_text()))?;
        let text = if raw.as_of.is_empty() { raw.dashed } else { raw.as_of };
        if text.is_empty() {
            return Ok(Self(None));
        }
        text.parse().map(|moment| Self(Some(moment))).map_err(|error| Status::bad_request(format!("as_of: {error}")))
    }
}

/// Whether a query has a field for a moment, well written or not.
pub fn names_a_moment(query: &str) -> bool {
    query.split('&').any(|pair| ["as_of=", "as-of="].iter().any(|name| pair.starts_with(name)))
}

/// Passes on what asks for the past only where that is kept: nobody is to take the present for it.
pub async fn refuse_elsewhere(request: Request, next: Next) -> Response {
    // One that cannot be read, or is there twice, asks as well.
    let asks = Query::<Raw>::try_from_uri(request.uri()).map_or_else(
        |_| request.uri().query().is_some_and(names_a_moment),
        |Query(raw)| !raw.as_of.is_empty() || !raw.dashed.is_empty(),
    );
    if !asks {
        return next.run(request).await;
    }
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Status::bad_request("as_of is for reading: what was cannot be changed").into_response();
    }
    if KEPT.iter().any(|end| route.ends_with(end)) {
        return next.run(request).await;
    }
    let why = NOT_KEPT.iter().find(|(end, _)| route.ends_with(end)).map_or(ONLY, |(_, why)| *why);
    Status::bad_request(format!("the past of this is not kept: {why}")).into_response()
}

/// The project's id, and the version that lists carry.
async fn begin(door: &Door, project: &str, query: &ListQuery) -> Result<(String, i64), Status> {
    refuse_labels(query)?;
    query.check_fields(&[])?;
    Ok((door.store.project(project).await?.id, door.store.last_sequence().await?))
}

/// Nobody knows by which labels things could have been chosen.
pub fn refuse_labels(query: &ListQuery) -> Result<(), Status> {
    if query.asks_labels() {
        return Err(Status::bad_request("labels are not kept: labelSelector cannot be used with as_of"));
    }
    Ok(())
}

/// The metadata of a past object, which cannot be written back.
pub fn past(meta: ObjectMeta, moment: &Moment, deleted_at: Option<i64>, held_by: Option<&str>) -> ObjectMeta {
    let mut meta = ObjectMeta { resource_version: String::new(), ..meta };
    let notes = [
        (AS_OF, Some(moment.words.clone())),
        ("weir.dev/deleted-at", deleted_at.map(rfc3339)),
        ("weir.dev/held-by", held_by.map(str::to_owned)),
    ];
    meta.annotations.extend(notes.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    meta
}
