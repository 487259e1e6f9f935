//! `PATCH`: an object is read as `GET` gives it, changed, and put as `PUT` takes it. So whoever may do both may do this, and every rule of
//! `PUT` holds. A patch that names no version is made once more where somebody else wrote meanwhile.

mod strategic;

use axum::body::{Body as HttpBody, to_bytes};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use serde_json::{Value, json};
use tower::Service as _;

use super::Door;
use super::body::whole;
use super::status::{Cause, Status};

/// The ways of saying what is to change, each with its media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// RFC 7396.
    Merge,
    /// The same, with lists whose entries have names. `oc set` writes it.
    Strategic,
    /// RFC 6902.
    Json,
}

const WAYS: [(&str, Way); 3] = [
    ("application/json-patch+json", Way::Json),
    ("application/merge-patch+json", Way::Merge),
    ("application/strategic-merge-patch+json", Way::Strategic),
];
/// So often a patch is tried while others write the same object.
const TRIES: usize = 5;

/// Adds `PATCH` to the methods of an object that has `GET` and `PUT`.
pub fn patched(methods: MethodRouter<Door>, door: &Door) -> MethodRouter<Door> {
    let known = methods.clone().with_state(door.clone());
    methods.patch(move |request: Request| async move { patch(request, known).await.unwrap_or_else(|answer| answer) })
}

async fn patch(request: Request, methods: MethodRouter) -> Result<Response, Response> {
    let (parts, body) = request.into_parts();
    let way = way(&parts.headers).map_err(IntoResponse::into_response)?;
    let mut found = read(&parts, &methods).await?;
    let bytes = whole(body).await.map_err(IntoResponse::into_response)?;
    let patch: Value = serde_json::from_slice(&bytes)
        .map_err(|error| Status::bad_request(format!("the patch is not JSON: {error}")).into_response())?;
    for tries_left in (0..TRIES).rev() {
        let changed = apply(way, &patch, plural(&parts), &found).map_err(IntoResponse::into_response)?;
        let answer = put(&parts, &methods, &changed).await;
        if answer.status() != StatusCode::CONFLICT || names_version(way, &patch) || tries_left == 0 {
            return Ok(answer);
        }
        let newer = read(&parts, &methods).await?;
        if newer["metadata"]["resourceVersion"] == found["metadata"]["resourceVersion"] {
            // It is no other writer that this disagrees with.
            return Ok(answer);
        }
        found = newer;
    }
    Err(Status::conflict("others change this object all the time: try again").into_response())
}

fn way(headers: &HeaderMap) -> Result<Way, Status> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let found = WAYS.iter().find(|(media_type, _)| *media_type == essence);
    found.map(|(_, way)| *way).ok_or_else(|| {
        let accepted: Vec<&str> = WAYS.iter().map(|(media_type, _)| *media_type).collect();
        Status::unsupported_media_type(&essence, &accepted.join(", "))
    })
}

/// The noun of the path: the last but one of its parts.
fn plural(parts: &Parts) -> &str {
    parts.uri.path().rsplit('/').nth(1).unwrap_or_default()
}

/// The object as it is.
async fn read(parts: &Parts, methods: &MethodRouter) -> Result<Value, Response> {
    let mut parts = parts.clone();
    parts.method = Method::GET;
    without_body(&mut parts.headers);
    let answer = run(methods, Request::from_parts(parts, HttpBody::empty())).await;
    if answer.status() != StatusCode::OK {
        return Err(answer);
    }
    // These are our own bytes: there are as many as the object has.
    let bytes = to_bytes(answer.into_body(), usize::MAX).await;
    let bytes = bytes.map_err(|error| Status::internal(&error).into_response())?;
    serde_json::from_slice(&bytes).map_err(|error| Status::from(error).into_response())
}

/// The answer to `PUT` of the object. A patch makes nothing: 201 would say that it did.
async fn put(parts: &Parts, methods: &MethodRouter, object: &Value) -> Response {
    let mut parts = parts.clone();
    parts.method = Method::PUT;
    without_body(&mut parts.headers);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut answer = run(methods, Request::from_parts(parts, HttpBody::from(object.to_string()))).await;
    if answer.status() == StatusCode::CREATED {
        *answer.status_mut() = StatusCode::OK;
    }
    answer
}

async fn run(methods: &MethodRouter, request: Request) -> Response {
    match methods.clone().call(request).await {
        Ok(answer) => answer,
        Err(never) => match never {},
    }
}

/// What headers say of the patch's own bytes, and of answers that must be read here, holds for no other request.
fn without_body(headers: &mut HeaderMap) {
    for name in [
        header::CONTENT_TYPE,
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
        header::TRANSFER_ENCODING,
        header::ACCEPT_ENCODING,
        header::EXPECT,
        header::IF_NONE_MATCH,
    ] {
        headers.remove(name);
    }
}

/// Whether a patch is about one version of its object.
fn names_version(way: Way, patch: &Value) -> bool {
    const FIELD: &str = "/metadata/resourceVersion";
    match way {
        Way::Json => patch.as_array().is_some_and(|steps| steps.iter().any(|step| step["path"] == FIELD)),
        Way::Merge | Way::Strategic => patch.pointer(FIELD).is_some(),
    }
}

/// The object that a patch makes of one.
fn apply(way: Way, patch: &Value, plural: &str, object: &Value) -> Result<Value, Status> {
    let mut changed = object.clone();
    match way {
        Way::Json => {
            let steps: json_patch::Patch = serde_json::from_value(patch.clone())
                .map_err(|error| Status::bad_request(format!("the patch is no JSON patch: {error}")))?;
            json_patch::patch(&mut changed, &steps).map_err(|error| refused(&error.to_string()))?;
        }
        _ if !patch.is_object() => return Err(Status::bad_request("the patch must be a JSON object")),
        Way::Merge => json_patch::merge(&mut changed, patch),
        Way::Strategic => strategic::merge(&mut changed, patch, plural).map_err(|error| refused(&error))?,
    }
    let Some(fields) = changed.as_object_mut() else { return Err(refused("it leaves no object")) };
    // Nobody sets what became of an object, and histories are long.
    fields.remove("status");
    match plural {
        "imagestreamtags" => same_annotations(object, &mut changed, "tag"),
        "imagetags" => same_annotations(object, &mut changed, "spec"),
        _ => {}
    }
    Ok(changed)
}

/// A tag's annotations stand twice, and have to be the same in both places: where only one was changed the other one follows.
fn same_annotations(object: &Value, changed: &mut Value, spec: &str) {
    if !changed[spec].is_object() {
        return;
    }
    let (here, there) = (changed["metadata"]["annotations"].clone(), changed[spec]["annotations"].clone());
    match (here != object["metadata"]["annotations"], there != object[spec]["annotations"]) {
        (true, false) => changed[spec]["annotations"] = if here.is_null() { json!({}) } else { here },
        (false, true) => changed["metadata"]["annotations"] = there,
        _ => {}
    }
}

/// 422: the patch does not fit the object.
fn refused(why: &str) -> Status {
    let (reason, field) = ("FieldValueInvalid", "patch".to_owned());
    Status::invalid(vec![Cause { reason, field, message: format!("it cannot be applied: {why}") }])
}
