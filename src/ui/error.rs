//! Why a page or an action is refused, in the reader's words. The only place of the console where statuses are chosen.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use crate::model::Role;
use crate::server::store::{self, Outage};

/// A refusal.
#[derive(Debug, thiserror::Error)]
pub enum UiError {
    /// Nobody is signed in.
    #[error("sign in first")]
    SignIn,
    /// Not there, or not for this reader to know of. `what` begins a sentence: `Stream base`.
    #[error("{what} does not exist here")]
    NotFound { what: String },
    /// The reader sees it but may not do this.
    #[error("this needs the role {needs} in project {project}, and yours is less")]
    Forbidden { project: String, needs: Role, owners: Vec<String> },
    /// Only a site admin may do this.
    #[error("only a site admin may do this")]
    SiteAdmin,
    /// A field does not say what it has to.
    #[error("{message}")]
    Field { field: String, message: String },
    /// The state is not what the reader saw.
    #[error("{0}")]
    Conflict(String),
    /// Too many tries.
    #[error("{0}")]
    TooMany(String),
    /// The database cannot work at the moment.
    #[error("{}", .0.message())]
    Outage(Outage),
    /// Our fault. The text is logged, not shown.
    #[error("{0}")]
    Internal(String),
}

impl UiError {
    /// `message` is wrong with the field of that name.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Field { field: field.into(), message: message.into() }
    }

    /// That thing is not there; `kind` begins a sentence: `Stream`.
    pub fn not_found(kind: &str, name: &str) -> Self {
        Self::NotFound { what: format!("{kind} {name}") }
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::SignIn => StatusCode::SEE_OTHER,
            Self::NotFound { .. } => StatusCode::NOT_FOUND,
            Self::Forbidden { .. } | Self::SiteAdmin => StatusCode::FORBIDDEN,
            Self::Field { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Outage(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What the reader is told, in sentences.
    pub fn message(&self, request_id: &str) -> String {
        match self {
            Self::Forbidden { owners, .. } => sentence(&format!("{self}. {}", ask(owners))),
            Self::Internal(_) => {
                format!(
                    "The server failed and nothing was changed. Try again; if it stays so, tell your administrator request {request_id}."
                )
            }
            other => sentence(&other.to_string()),
        }
    }

    /// The field it belongs to.
    pub fn field_name(&self) -> Option<&str> {
        match self {
            Self::Field { field, .. } => Some(field),
            _ => None,
        }
    }

    /// Writes what the reader is not told into the log.
    pub fn log(&self, request_id: &str) {
        match self {
            Self::Internal(cause) => tracing::error!(request.id = request_id, "A page failed: {cause}"),
            Self::Outage(outage) => tracing::error!(request.id = request_id, "A page failed: {}", outage.message()),
            _ => {}
        }
    }
}

/// Who can give the right that is missing.
pub fn ask(owners: &[String]) -> String {
    match owners {
        [] => "Ask the site's administrators.".to_owned(),
        owners => format!("Ask {}.", owners.join(", ")),
    }
}

/// Starts with a capital, unless that is a name that has none, and ends with a stop.
fn sentence(text: &str) -> String {
    let first = text.split(char::is_whitespace).next().unwrap_or_default().trim_end_matches([',', ':', ';', '.']);
    let is_word = first.chars().all(char::is_alphabetic);
    let mut letters = text.chars();
    let begins = letters.next().filter(|_| is_word);
    let mut sentence: String = match begins {
        Some(letter) => letter.to_uppercase().chain(letters).collect(),
        None => text.to_owned(),
    };
    if !sentence.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    sentence
}

/// The sign-in page that leads back to `next`.
pub fn sign_in_path(next: &str) -> String {
    super::context::address("/login", [("next", next)].into_iter())
}

impl From<store::Error> for UiError {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::NotFound { kind, name } => Self::not_found(noun(kind), &name),
            store::Error::Exists { kind, name } => {
                Self::Field { field: "name".to_owned(), message: format!("{} {name} exists already", noun(kind)) }
            }
            store::Error::Conflict(what) => Self::Conflict(what),
            error @ (store::Error::Quota { .. } | store::Error::Limit(_)) => Self::Conflict(error.to_string()),
            store::Error::Invalid { field, message } => Self::Field { field, message },
            store::Error::Forbidden { field, cause } => Self::Field { field, message: cause.to_string() },
            error => match error.outage() {
                Some(outage) => Self::Outage(outage),
                None => Self::Internal(error.to_string()),
            },
        }
    }
}

/// The console's word for the REST door's plural nouns.
fn noun(kind: &str) -> &str {
    match kind {
        "projects" => "Project",
        "imagestreams" => "Stream",
        "imagestreamtags" => "Tag",
        "imagestreamimages" | "images" => "Image",
        "buildconfigs" => "Build config",
        "builds" => "Build",
        "deployments" | "apps" => "App",
        "rollouts" => "Rollout",
        "cascades" => "Cascade",
        "freezes" => "Freeze",
        "secrets" => "Secret",
        "notices" => "Target",
        "importrules" => "Import rule",
        "notice deliveries" => "Notice",
        "users" => "User",
        "tokens" => "Token",
        other => other,
    }
}

/// For extractors only: pages and forms render their refusals themselves.
impl IntoResponse for UiError {
    fn into_response(self) -> Response {
        match self {
            Self::SignIn => Redirect::to("/login").into_response(),
            error => (error.status(), error.message("-")).into_response(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_and_who_can_help() {
        let error =
            UiError::Forbidden { project: "demo".to_owned(), needs: Role::Editor, owners: vec!["admin".to_owned()] };
        assert_eq!(error.message("7"), "This needs the role editor in project demo, and yours is less. Ask admin.");
        assert_eq!(error.status(), StatusCode::FORBIDDEN);
        assert_eq!(
            UiError::from(store::Error::not_found("imagestreams", "x")).message(""),
            "Stream x does not exist here."
        );
        for (text, expected) in [
            ("shop:1.0 points to it", "shop:1.0 points to it."),
            ("httpd-base is deleted", "httpd-base is deleted."),
            ("limit: too much!", "Limit: too much!"),
            ("", "."),
        ] {
            assert_eq!(sentence(text), expected);
        }
        assert!(!UiError::Internal("secret".to_owned()).message("7").contains("secret"));
        assert_eq!(sign_in_path("/p/demo?q=a"), "/login?next=%2Fp%2Fdemo%3Fq%3Da");
    }
}
