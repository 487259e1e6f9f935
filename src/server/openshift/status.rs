//! Errors as Kubernetes' `Status` objects: the one place of this door where HTTP codes are chosen.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::kind::Kind;
use crate::model::NameError;
use crate::server::store::{self, Outage};

/// An error, as clients of Kubernetes read it.
#[derive(Debug, Clone, PartialEq)]
pub struct Status(Box<Inner>);

#[derive(Debug, Clone, PartialEq)]
struct Inner {
    code: StatusCode,
    reason: &'static str,
    message: String,
    /// Plural noun for most reasons, the kind for `Invalid`.
    kind: String,
    group: &'static str,
    name: String,
    causes: Vec<Cause>,
    /// Seconds.
    retry_after: Option<u64>,
}

/// One thing wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    pub reason: &'static str,
    /// Path into the object, for instance `spec.tags[1].from.name`.
    pub field: String,
    pub message: String,
}

impl Cause {
    /// A value that cannot be what it is. `value` is shown, shortened when it is long.
    pub fn invalid_value(field: impl Into<String>, value: &str, message: impl std::fmt::Display) -> Self {
        let mut shown: String = value.chars().take(80).collect();
        if shown.len() < value.len() {
            shown.push('…');
        }
        let message = format!("Invalid value: {shown:?}: {message}");
        Self { reason: "FieldValueInvalid", field: field.into(), message }
    }

    /// A value that the site's rules forbid.
    pub fn forbidden(field: impl Into<String>, message: impl std::fmt::Display) -> Self {
        Self { reason: "FieldValueForbidden", field: field.into(), message: format!("Forbidden: {message}") }
    }

    /// A field that is missing.
    pub fn required(field: impl Into<String>, message: &str) -> Self {
        let message = format!("Required value: {message}").trim_end_matches(": ").to_owned();
        Self { reason: "FieldValueRequired", field: field.into(), message }
    }
}

impl Status {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code,
            reason,
            message: message.into(),
            kind: String::new(),
            group: "",
            name: String::new(),
            causes: Vec::new(),
            retry_after: None,
        }))
    }

    fn of(mut self, kind: &Kind, name: &str) -> Self {
        self.0.kind = kind.plural.to_owned();
        self.0.group = kind.group;
        self.0.name = name.to_owned();
        self
    }

    /// 404: there is no such object.
    pub fn not_found(kind: &Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", kind.qualified());
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).of(kind, name)
    }

    /// 409: an object of that name is there.
    pub fn already_exists(kind: &Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", kind.qualified());
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message).of(kind, name)
    }

    /// [`Status::already_exists`] with the singular noun, which OpenShift writes for some kinds.
    pub fn already_exists_singular(kind: &Kind, name: &str) -> Self {
        let message = format!("{}.{} \"{name}\" already exists", kind.singular, kind.group);
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message).of(kind, name)
    }

    /// 409: the state is not what the caller believed, or does not allow what it asked.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "Conflict", message)
    }

    /// 400: the request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 401: nobody knows who asks.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    /// 403, with Kubernetes' sentence about who may not do what.
    pub fn forbidden(user: &str, verb: &str, kind: &Kind, project: &str, name: &str) -> Self {
        let object = if name.is_empty() { kind.qualified() } else { format!("{} \"{name}\"", kind.qualified()) };
        let place = if project.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace \"{project}\"")
        };
        let message = format!(
            "{object} is forbidden: User \"{user}\" cannot {verb} resource \"{}\" in API group \"{}\" {place}",
            kind.plural, kind.group
        );
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).of(kind, name)
    }

    /// 403: an object may not say what it says, at these fields.
    pub fn forbidden_fields(kind: &Kind, name: &str, causes: Vec<Cause>) -> Self {
        let mut status = Self::new(StatusCode::FORBIDDEN, "Forbidden", "").of(kind, name);
        status.0.causes = causes;
        let words = status.causes_in_words();
        status.0.message = format!("{} \"{name}\" is forbidden: {words}", kind.qualified());
        status
    }

    /// 404 for an image of another registry.
    pub fn image_not_found(reference: &str) -> Self {
        let message = format!("dockerimage.image.openshift.io \"{reference}\" not found");
        let mut status = Self::new(StatusCode::NOT_FOUND, "NotFound", message);
        (status.0.kind, status.0.group) = ("dockerimage".to_owned(), "image.openshift.io");
        status.0.name = reference.to_owned();
        status
    }

    /// Why another registry gave nothing: 401, 403 or else 500.
    pub fn import_refused(code: u16, message: String) -> Self {
        match code {
            401 => Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", message),
            403 => Self::new(StatusCode::FORBIDDEN, "Forbidden", message),
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message),
        }
    }

    /// 403, with OpenShift's own reason: the other registry speaks an older protocol.
    pub fn not_v2_registry(message: String) -> Self {
        Self::new(StatusCode::FORBIDDEN, "NotV2Registry", message)
    }

    /// Some images of a repository were not to be had (OpenShift's `ImportFailed`).
    pub fn import_failed(message: String) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "ImportFailed", message)
    }

    /// 405: this kind of object does not take that.
    pub fn method_not_allowed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    /// 429: too many attempts to sign in.
    pub fn too_many_requests(retry_after_seconds: u64) -> Self {
        let message = format!("too many attempts to sign in: try again in {retry_after_seconds} seconds");
        let mut status = Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message);
        status.0.retry_after = Some(retry_after_seconds);
        status
    }

    /// 413: the body is too long.
    pub fn too_large(limit: usize) -> Self {
        let message = format!("the body is longer than {limit} bytes, which is the most this takes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    /// 415: the body's type is none that is read here.
    pub fn unsupported_media_type(found: &str, accepted: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted} (not {found:?})"
        );
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    /// 422: the object cannot be as it is written. [`Status::about`] adds which object it is.
    pub fn invalid(causes: Vec<Cause>) -> Self {
        let mut status = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", "");
        status.0.causes = causes;
        status.0.message = status.causes_in_words();
        status
    }

    /// 422 because of one name.
    pub fn bad_name(field: &str, name: &str, error: &NameError) -> Self {
        Self::invalid(vec![match error {
            NameError::Empty => Cause::required(field, &error.to_string()),
            _ => Cause::invalid_value(field, name, error),
        }])
    }

    /// 503: it may work again soon.
    fn unavailable(outage: Outage, error: &store::Error) -> Self {
        tracing::error!(error = %error, "A REST request failed");
        let mut status = Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", outage.message());
        status.0.retry_after = Some(Outage::RETRY_AFTER);
        status
    }

    /// 500. What went wrong is for the log, not for the client.
    pub fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(error = %error, "A REST request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalError",
            "Internal error occurred: the server could not do this; its log says why",
        )
    }

    /// The same with fields below `path` told as below `name`, where that is how clients know it.
    #[must_use]
    pub fn renamed(mut self, path: &str, name: &str) -> Self {
        for cause in &mut self.0.causes {
            if let Some(rest) = cause.field.strip_prefix(path) {
                cause.field = format!("{name}{rest}");
            }
        }
        self
    }

    /// Says of which object an `Invalid` speaks; other errors stay as they are.
    #[must_use]
    pub fn about(mut self, kind: &Kind, name: &str) -> Self {
        if self.0.reason == "Invalid" && self.0.kind.is_empty() {
            let words = self.causes_in_words();
            let qualified =
                if kind.group.is_empty() { kind.kind.to_owned() } else { format!("{}.{}", kind.kind, kind.group) };
            self.0.message = format!("{qualified} \"{name}\" is invalid: {words}");
            self.0.kind = kind.kind.to_owned();
            self.0.group = kind.group;
            self.0.name = name.to_owned();
        }
        self
    }

    /// Where a name was made here and is there already: another one may be free, so the client may try again.
    #[must_use]
    pub fn of_generated_name(mut self) -> Self {
        if self.0.reason == "AlreadyExists" {
            self.0.message.push_str(", the server was not able to generate a unique name for the object");
            self.0.retry_after = Some(1);
        }
        self
    }

    /// The HTTP status code.
    pub fn code(&self) -> StatusCode {
        self.0.code
    }

    fn causes_in_words(&self) -> String {
        let mut words: Vec<String> =
            self.0.causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        match words.len() {
            0 => String::new(),
            1 => words.remove(0),
            _ => format!("[{}]", words.join(", ")),
        }
    }

    /// The object as it goes over the wire.
    pub fn to_json(&self) -> Value {
        let inner = &self.0;
        let mut details = Map::new();
        for (key, value) in [("name", &*inner.name), ("group", inner.group), ("kind", &inner.kind)] {
            if !value.is_empty() {
                details.insert(key.to_owned(), value.into());
            }
        }
        if !inner.causes.is_empty() {
            let causes = inner
                .causes
                .iter()
                .map(|cause| json!({"reason": cause.reason, "message": cause.message, "field": cause.field}));
            details.insert("causes".to_owned(), causes.collect());
        }
        if let Some(seconds) = inner.retry_after {
            details.insert("retryAfterSeconds".to_owned(), seconds.into());
        }
        json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": inner.message,
            "reason": inner.reason,
            "details": details,
            "code": inner.code.as_u16(),
        })
    }
}

impl IntoResponse for Status {
    fn into_response(self) -> Response {
        let mut response = (self.0.code, Json(self.to_json())).into_response();
        if let Some(seconds) = self.0.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.0.code == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"weir\""));
        }
        response
    }
}

impl From<store::Error> for Status {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::NotFound { kind, name } => match Kind::of_plural(kind) {
                Some(kind) => Self::not_found(kind, &name),
                None => Self::new(StatusCode::NOT_FOUND, "NotFound", format!("{kind} \"{name}\" not found")),
            },
            store::Error::Exists { kind, name } => match Kind::of_plural(kind) {
                Some(kind) => Self::already_exists(kind, &name),
                None => Self::new(StatusCode::CONFLICT, "AlreadyExists", format!("{kind} \"{name}\" already exists")),
            },
            store::Error::Conflict(message) => Self::conflict(message),
            error @ (store::Error::Quota { .. } | store::Error::Limit(_)) => {
                Self::new(StatusCode::FORBIDDEN, "Forbidden", error.to_string())
            }
            store::Error::Invalid { field, message } => {
                Self::invalid(vec![Cause { reason: "FieldValueInvalid", field, message }])
            }
            store::Error::Forbidden { field, cause } => Self::invalid(vec![Cause::forbidden(field, &cause)]),
            error @ (store::Error::Db(_) | store::Error::Json(_)) => match error.outage() {
                Some(outage) => Self::unavailable(outage, &error),
                None => Self::internal(&error),
            },
        }
    }
}

impl From<serde_json::Error> for Status {
    fn from(error: serde_json::Error) -> Self {
        Self::internal(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::super::kind::IMAGE_STREAMS;
    use super::*;

    #[test]
    fn says_what_oc_prints() {
        let status = Status::from(store::Error::not_found("imagestreams", "x"));
        assert_eq!(status.to_json()["message"], "imagestreams.image.openshift.io \"x\" not found");
        assert_eq!(
            status.to_json()["details"],
            json!({"name": "x", "group": "image.openshift.io", "kind": "imagestreams"})
        );
        let status =
            Status::invalid(vec![Cause::invalid_value("metadata.name", "Foo", "no")]).about(&IMAGE_STREAMS, "Foo");
        let json = status.to_json();
        assert_eq!(
            json["message"],
            "ImageStream.image.openshift.io \"Foo\" is invalid: metadata.name: Invalid value: \"Foo\": no"
        );
        assert_eq!(json["details"]["kind"], "ImageStream");
        assert_eq!(json["code"], 422);
    }

    #[test]
    fn the_database_is_not_quoted() {
        let status = Status::from(store::Error::Db(sqlx::Error::PoolTimedOut));
        assert_eq!(status.code(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(!status.to_json().to_string().contains("pool"));
        assert_eq!(status.into_response().headers()["retry-after"], "5");
        let status = Status::from(store::Error::Db(sqlx::Error::RowNotFound));
        assert_eq!(status.code(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!status.to_json().to_string().contains("row"));
    }
}
