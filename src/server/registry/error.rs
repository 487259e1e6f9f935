//! The registry's errors on the wire: codes of the OCI distribution-spec, statuses, and texts that say what to do.
//! The only place where the door chooses statuses.

use std::io::ErrorKind;
use std::sync::Arc;

use axum::http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tracing::error;

use crate::server::auth::{AuthError, Denied};
use crate::server::importer::ImportError;
use crate::server::oci::ManifestError;
use crate::server::store::Outage;
use crate::server::{blobs, store};

/// The result of every handler.
pub type Result<T> = std::result::Result<T, Error>;

/// An answer that is a refusal.
#[derive(Debug)]
pub struct Error {
    status: StatusCode,
    code: &'static str,
    message: String,
    detail: Value,
    headers: Vec<(HeaderName, String)>,
}

impl Error {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), detail: Value::Null, headers: Vec::new() }
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn with_detail(mut self, detail: Value) -> Self {
        self.detail = detail;
        self
    }

    pub(super) fn blob_unknown(digest: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "this repository has no such blob")
            .with_detail(json!({ "digest": digest }))
    }

    pub(super) fn upload_unknown() -> Self {
        let message =
            "there is no such upload in this repository: it was finished, cancelled, or forgotten; begin anew";
        Self::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", message)
    }

    pub(super) fn upload_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", message)
    }

    /// What comes next does not start where the upload ends.
    pub(super) fn out_of_order(offset: u64) -> Self {
        let message = format!("the upload has {offset} bytes: the next chunk must start there");
        Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID", message)
    }

    pub(super) fn range(size: u64) -> Self {
        let message = format!("the range lies outside of the blob's {size} bytes");
        let range = HeaderName::from_static("content-range");
        Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "SIZE_INVALID", message)
            .with_header(range, format!("bytes */{size}"))
    }

    pub(super) fn digest_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message)
    }

    pub(super) fn size_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "SIZE_INVALID", message)
    }

    pub(super) fn manifest_unknown(reference: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "this repository has no such manifest")
            .with_detail(json!({ "reference": reference }))
    }

    /// [`Error::manifest_unknown`] for what was there once, or will be.
    pub(super) fn manifest_unknown_because(reference: &str, message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::manifest_unknown(reference) }
    }

    pub(super) fn manifest_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", message)
    }

    /// A manifest that names what this repository does not have.
    fn manifest_blob_unknown(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN", message)
    }

    /// Parameters of a list that do not read. The specification has no code for them.
    pub(super) fn paging(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, ..Self::unsupported(message) }
    }

    /// More tags at once than one request may name.
    pub(super) fn too_many_tags(most: usize) -> Self {
        let message = format!("a request may name {most} tags at most: push again for the others");
        Self { status: StatusCode::URI_TOO_LONG, ..Self::manifest_invalid(message) }
    }

    pub(super) fn name_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "NAME_INVALID", message)
    }

    pub(super) fn name_unknown(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", message)
    }

    pub(super) fn denied(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "DENIED", message)
    }

    pub(super) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message)
    }

    /// A question of this server's own has come back to it.
    pub(super) fn loop_detected() -> Self {
        let message = "this server asks itself for this image: let the tag follow the tag here (ImageStreamTag) instead of importing it";
        Self::new(StatusCode::LOOP_DETECTED, "UNSUPPORTED", message)
    }

    /// Nobody, or somebody whose ticket does not reach this far; `challenge` says where to get one that does.
    pub(super) fn unauthorized(message: impl Into<String>, challenge: String) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message).with_header(WWW_AUTHENTICATE, challenge)
    }

    /// Credentials that are missing, wrong, or tried too often.
    pub(super) fn from_auth(cause: AuthError, challenge: String) -> Self {
        match cause {
            AuthError::Missing => Self::unauthorized("authentication required: log in first", challenge),
            AuthError::Wrong => Self::unauthorized(cause.to_string(), challenge),
            AuthError::Limited { retry_after_seconds } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", cause.to_string())
                    .with_header(RETRY_AFTER, retry_after_seconds.to_string())
            }
            AuthError::Store(cause) => cause.into(),
        }
    }

    /// `UNAVAILABLE` is Docker's word (distribution's `errcode`); the specification has none for it.
    fn outage(outage: Outage, cause: &store::Error) -> Self {
        error!("The registry cannot answer: {cause}");
        let status = match outage {
            Outage::Away => StatusCode::SERVICE_UNAVAILABLE,
            Outage::Full => StatusCode::INSUFFICIENT_STORAGE,
        };
        Self::new(status, "UNAVAILABLE", outage.message()).with_header(RETRY_AFTER, Outage::RETRY_AFTER.to_string())
    }

    /// A manifest that did not come whole.
    pub(super) fn broken_off(cause: std::io::Error) -> Self {
        let status =
            if cause.kind() == ErrorKind::TimedOut { StatusCode::REQUEST_TIMEOUT } else { StatusCode::BAD_REQUEST };
        Self { status, ..Self::manifest_invalid(format!("the manifest broke off: {cause}")) }
    }

    /// A sender of whom nothing was heard any more.
    fn silent() -> Self {
        let message = "nothing came any more: what had come is kept, GET the upload's address to learn where to go on";
        Self { status: StatusCode::REQUEST_TIMEOUT, ..Self::upload_invalid(message) }
    }

    fn internal(cause: &dyn std::fmt::Display) -> Self {
        error!("The registry cannot answer: {cause}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", "the server failed; its log says why")
    }
}

impl From<store::Error> for Error {
    fn from(cause: store::Error) -> Self {
        Self::from(&cause)
    }
}

impl From<&store::Error> for Error {
    fn from(cause: &store::Error) -> Self {
        match cause {
            store::Error::NotFound { kind: "imagestreams" | "projects", .. } => Self::name_unknown(cause.to_string()),
            store::Error::NotFound { .. } => Self::manifest_unknown("").with_message(cause.to_string()),
            store::Error::Conflict(_) | store::Error::Exists { .. } => {
                Self { status: StatusCode::CONFLICT, ..Self::denied(cause.to_string()) }
            }
            store::Error::Quota { .. } | store::Error::Limit(_) => Self::denied(cause.to_string()),
            store::Error::Invalid { field, .. } if field == store::MANIFEST_PARTS => {
                Self::manifest_blob_unknown(cause.to_string())
            }
            store::Error::Invalid { field, .. } if field == store::TAG_PRECONDITION => {
                Self { status: StatusCode::PRECONDITION_FAILED, ..Self::denied(cause.to_string()) }
            }
            store::Error::Invalid { .. } | store::Error::Forbidden { .. } => Self::manifest_invalid(cause.to_string()),
            store::Error::Db(_) | store::Error::Json(_) => match cause.outage() {
                Some(outage) => Self::outage(outage, cause),
                None => Self::internal(cause),
            },
        }
    }
}

impl From<blobs::Error> for Error {
    fn from(cause: blobs::Error) -> Self {
        match &cause {
            blobs::Error::NotFound => Self::upload_unknown(),
            blobs::Error::DigestMismatch { .. } => Self::digest_invalid(cause.to_string()),
            blobs::Error::RangeNotSatisfiable { size } => Self::range(*size),
            blobs::Error::OffsetMismatch { expected } => Self::out_of_order(*expected),
            blobs::Error::Body(broken) if broken.kind() == ErrorKind::TimedOut => Self::silent(),
            blobs::Error::Body(_) => Self::upload_invalid(cause.to_string()),
            blobs::Error::NoSpace => {
                error!("The registry cannot store: {cause}");
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "UNAVAILABLE", cause.to_string())
            }
            blobs::Error::Io { .. } => Self::internal(&cause),
        }
    }
}

impl From<Arc<ImportError>> for Error {
    fn from(cause: Arc<ImportError>) -> Self {
        Self::from(&*cause)
    }
}

/// What another registry, or the way to it, did to a pull.
impl From<&ImportError> for Error {
    fn from(cause: &ImportError) -> Self {
        match cause {
            ImportError::Shared(cause) => return Self::from(&**cause),
            ImportError::Blobs(blobs::Error::NoSpace) => return blobs::Error::NoSpace.into(),
            ImportError::Store(cause) => return cause.into(),
            _ => {}
        }
        let (status, code) = match &*cause.cause() {
            "not-found" => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
            "quota" | "limit" => (StatusCode::FORBIDDEN, "DENIED"),
            "rate-limit" | "abuse-limit" | "asked-too-much" => (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
            "timeout" | "too-slow" => (StatusCode::GATEWAY_TIMEOUT, "UNKNOWN"),
            "stopping" | "paused" | "unavailable" => (StatusCode::SERVICE_UNAVAILABLE, "UNKNOWN"),
            "storage" => return Self::internal(cause),
            _ => (StatusCode::BAD_GATEWAY, "UNKNOWN"),
        };
        let refused = Self::new(status, code, cause.to_string());
        match cause.retry_after() {
            Some(wait) => refused.with_header(RETRY_AFTER, wait.as_secs().max(1).to_string()),
            None => refused,
        }
    }
}

impl From<Denied> for Error {
    fn from(cause: Denied) -> Self {
        match cause {
            Denied::NotFound(_) => Self::name_unknown(cause.to_string()),
            Denied::Forbidden { .. } | Denied::NotSiteAdmin => Self::denied(cause.to_string()),
            Denied::Store(cause) => cause.into(),
        }
    }
}

impl From<ManifestError> for Error {
    fn from(cause: ManifestError) -> Self {
        match cause {
            ManifestError::TooLarge => {
                Self { status: StatusCode::PAYLOAD_TOO_LARGE, ..Self::manifest_invalid(cause.to_string()) }
            }
            other => Self::manifest_invalid(other.to_string()),
        }
    }
}

impl Error {
    fn with_message(mut self, message: String) -> Self {
        self.message = message;
        self.detail = Value::Null;
        self
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut error = json!({ "code": self.code, "message": self.message });
        if !self.detail.is_null() {
            error["detail"] = self.detail;
        }
        let body = json!({ "errors": [error] }).to_string();
        let mut response = (self.status, [(CONTENT_TYPE, "application/json")], body).into_response();
        for (name, value) in self.headers {
            // What cannot be a header value came from the client's own names; the body has it all the same.
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}
