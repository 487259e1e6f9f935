//! `PATCH`: an object is read as `GET` gives it, changed, and put as `PUT` takes it. So whoever may do both may do this, and every rule of
//! `PUT` holds. A patch that names no version is made once more where somebody else wrote meanwhile.

mod steps;
mod strategic;

use axum::RequestPartsExt as _;
use axum::body::{Body as HttpBody, to_bytes};
use axum::extract::{Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use serde_json::{Value, json};
use tower::Service as _;

use super::Door;
use super::body::{LIMIT, whole};
use super::caller::Caller;
use super::kind::Kind;
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
pub fn patched(methods: MethodRouter<Door>, door: &Door, kind: &'static Kind) -> MethodRouter<Door> {
    let (known, door) = (methods.clone().with_state(door.clone()), door.clone());
    methods.patch(move |request: Request| async move {
        patch(request, known, door, kind).await.unwrap_or_else(|answer| answer)
    })
}

async fn patch(request: Request, methods: MethodRouter, door: Door, kind: &'static Kind) -> Result<Response, Response> {
    let (mut parts, body) = request.into_parts();
    let patch = begin(&mut parts, body, &door, kind).await.map_err(IntoResponse::into_response)?;
    let mut found = read(&parts, &methods).await?;
    let names_version = patch.names_version();
    let mut tries = 1;
    loop {
        let version = found["metadata"]["resourceVersion"].clone();
        let changed = patch.apply(found).await.map_err(IntoResponse::into_response)?;
        let answer = put(&parts, &methods, changed).await;
        if answer.status() != StatusCode::CONFLICT || names_version || tries == TRIES {
            return Ok(answer);
        }
        tries += 1;
        found = read(&parts, &methods).await?;
        if found["metadata"]["resourceVersion"] == version {
            // It is no other writer that this disagrees with.
            return Ok(answer);
        }
    }
}

/// What is to be changed, once it is known that the caller may: a patch is much work for few bytes.
async fn begin(parts: &mut Parts, body: HttpBody, door: &Door, kind: &'static Kind) -> Result<Patch, Status> {
    let way = way(&parts.headers)?;
    let caller: Caller = parts.extract_with_state(door).await?;
    let Path((project, name)): Path<(String, String)> =
        parts.extract().await.map_err(|error| Status::internal(&error))?;
    caller.may(door, "update", kind, &project, &name).await?;
    let bytes = whole(body).await?;
    let said = serde_json::from_slice(&bytes)
        .map_err(|error| Status::bad_request(format!("the patch is not JSON: {error}")))?;
    Ok(Patch { way, said, plural: kind.plural })
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
async fn put(parts: &Parts, methods: &MethodRouter, object: String) -> Response {
    let mut parts = parts.clone();
    parts.method = Method::PUT;
    without_body(&mut parts.headers);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut answer = run(methods, Request::from_parts(parts, HttpBody::from(object))).await;
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

/// What is to be changed of an object.
#[derive(Debug, Clone)]
struct Patch {
    way: Way,
    said: Value,
    /// The noun of the object.
    plural: &'static str,
}

impl Patch {
    /// Whether it is about one version of its object.
    fn names_version(&self) -> bool {
        const FIELD: &str = "/metadata/resourceVersion";
        match self.way {
            Way::Json => self.said.as_array().is_some_and(|steps| steps.iter().any(|step| step["path"] == FIELD)),
            Way::Merge | Way::Strategic => self.said.pointer(FIELD).is_some(),
        }
    }

    /// The object that it makes of one, as `PUT` takes it. Much of that may be work, which nobody else is to wait for.
    async fn apply(&self, object: Value) -> Result<String, Status> {
        let patch = self.clone();
        let applied = tokio::task::spawn_blocking(move || patch.change(&object)).await;
        let text = applied.map_err(|error| Status::internal(&error))??.to_string();
        // As long as a body may be: what cannot be put must not come about by patches.
        if text.len() > LIMIT { Err(Status::too_large(LIMIT)) } else { Ok(text) }
    }

    fn change(&self, object: &Value) -> Result<Value, Status> {
        let Self { way, said, plural } = self;
        let mut changed = object.clone();
        match way {
            Way::Json => steps::take(&mut changed, said)?,
            _ if !said.is_object() => return Err(Status::bad_request("the patch must be a JSON object")),
            Way::Merge => json_patch::merge(&mut changed, said),
            Way::Strategic => strategic::merge(&mut changed, said, plural).map_err(|error| refused(&error))?,
        }
        let Some(fields) = changed.as_object_mut() else { return Err(refused("it leaves no object")) };
        // Nobody sets what became of an object, and histories are long. That a build is to be cancelled is said there all the same.
        let status = fields.remove("status").unwrap_or_default();
        if *plural == "builds" && status["cancelled"] == true && object["status"]["cancelled"] != true {
            fields.insert("status".to_owned(), json!({"cancelled": true}));
        }
        match *plural {
            "imagestreamtags" => same_annotations(object, &mut changed, "tag"),
            "imagetags" => same_annotations(object, &mut changed, "spec"),
            _ => {}
        }
        Ok(changed)
    }
}

/// A tag's annotations stand twice, and have to be the same in both places: where only one was changed the other one follows.
fn same_annotations(object: &Value, changed: &mut Value, spec: &str) {
    if !changed[spec].is_object() || !changed["metadata"].is_object() {
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
