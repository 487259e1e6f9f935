//! Request bodies: JSON only, bounded, and read field by field so that nothing written is silently ignored.

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponseParts, ResponseParts};
use serde_json::{Value, json};

use super::fields::{self, Field, Remarks};
use super::status::Status;

/// What Kubernetes takes at most.
pub(super) const LIMIT: usize = 3 * 1024 * 1024;

/// A JSON body.
#[derive(Debug, Clone)]
pub struct Body {
    value: Value,
    validation: Validation,
}

/// What becomes of unknown fields (`fieldValidation` in the query).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Validation {
    /// Nothing was said: 422 with a cause for each, and what was probably meant.
    Refuse,
    /// `Strict`: 400 in Kubernetes' own words.
    Strict,
    /// `Warn`: taken, with `Warning` headers.
    Warn,
    /// `Ignore`: dropped in silence.
    Ignore,
}

/// Sentences for the caller that are no errors, sent as `Warning` headers, which clients print.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Warnings(pub Vec<String>);

impl Body {
    /// Reads the document with `read`. What it leaves unread is refused or warned of, as the caller wished.
    pub fn read<T>(&self, read: impl FnOnce(Field<'_>) -> Result<T, Status>) -> Result<(T, Warnings), Status> {
        let (found, remarks) = fields::read(&self.value, read)?;
        Ok((found, self.judge(remarks)?))
    }

    fn judge(&self, remarks: Remarks) -> Result<Warnings, Status> {
        let mut warnings: Vec<String> = remarks
            .without_effect
            .iter()
            .map(|path| format!("{path} has no effect here: Weir does not do that"))
            .collect();
        let unknown = remarks.unknown;
        match self.validation {
            Validation::Refuse if !unknown.is_empty() => {
                return Err(Status::invalid(unknown.iter().map(fields::Unknown::cause).collect()));
            }
            Validation::Strict if !unknown.is_empty() => {
                let words: Vec<String> =
                    unknown.iter().map(|unknown| format!("unknown field \"{}\"", unknown.path)).collect();
                return Err(Status::bad_request(format!("strict decoding error: {}", words.join(", "))));
            }
            Validation::Warn => {
                warnings.extend(unknown.iter().map(|unknown| format!("unknown field \"{}\"", unknown.path)));
            }
            _ => {}
        }
        Ok(Warnings(warnings))
    }
}

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Status;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Status> {
        let validation = validation(request.uri().query().unwrap_or_default())?;
        let media_type = request.headers().get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
        let essence = media_type.map(|value| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        if let Some(essence) = essence.filter(|essence| essence != "application/json" && essence != "text/json") {
            return Err(Status::unsupported_media_type(&essence, "application/json"));
        }
        let bytes = whole(request.into_body()).await?;
        let value = if bytes.iter().all(u8::is_ascii_whitespace) {
            json!({})
        } else {
            serde_json::from_slice(&bytes)
                .map_err(|error| Status::bad_request(format!("the body is not JSON: {error}")))?
        };
        if !value.is_object() {
            return Err(Status::bad_request("the body must be a JSON object"));
        }
        Ok(Self { value, validation })
    }
}

/// The bytes of a body that is no longer than bodies may be.
pub(super) async fn whole(body: axum::body::Body) -> Result<Bytes, Status> {
    to_bytes(body, LIMIT).await.map_err(|error| {
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            if inner.to_string().contains("length limit") {
                return Status::too_large(LIMIT);
            }
            cause = inner.source();
        }
        Status::bad_request(format!("the body did not arrive whole: {error}"))
    })
}

fn validation(query: &str) -> Result<Validation, Status> {
    let word = query.split('&').find_map(|pair| pair.strip_prefix("fieldValidation="));
    match word {
        None | Some("") => Ok(Validation::Refuse),
        Some("Strict") => Ok(Validation::Strict),
        Some("Warn") => Ok(Validation::Warn),
        Some("Ignore") => Ok(Validation::Ignore),
        Some(other) => Err(Status::bad_request(format!("fieldValidation is Strict, Warn or Ignore, not {other:?}"))),
    }
}

impl IntoResponseParts for Warnings {
    type Error = std::convert::Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Self::Error> {
        for sentence in self.0 {
            // A header takes no quotes and nothing beyond ASCII unescaped.
            let sentence: String = sentence
                .chars()
                .map(|c| if c == '"' || c == '\\' { '\'' } else { c })
                .filter(|c| c.is_ascii() && !c.is_ascii_control())
                .collect();
            if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{sentence}\"")) {
                parts.headers_mut().append(HeaderName::from_static("warning"), value);
            }
        }
        Ok(parts)
    }
}
