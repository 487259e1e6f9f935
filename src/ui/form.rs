//! Forms: what was typed, what was wrong with it, and the one way every `post_*` handler answers.
//!
//! A handler does its work in [`Cx::submit`]. What it gives on success is where to go (303); on a refusal the page with the form is rendered
//! again, with the typed values, the message at its field and the right status.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use axum::Form;
use axum::body::Body;
use axum::extract::rejection::FormRejection;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};

use super::app;
use super::context::{Cx, UiState};
use super::error::UiError;

/// A submitted form's fields by name; of repeated ones all, in order.
#[derive(Debug, Clone, Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// The field's value without white space around it; empty when it was not sent.
    pub fn get(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// The field's value as typed.
    pub fn raw(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str())
    }

    /// The value, or `None` when nothing was typed.
    pub fn some(&self, name: &str) -> Option<&str> {
        Some(self.get(name)).filter(|value| !value.is_empty())
    }

    /// The value, empty as it may be, or `None` when the field was not sent.
    pub fn sent(&self, name: &str) -> Option<&str> {
        self.ticked(name).then(|| self.get(name))
    }

    /// Whether a checkbox was ticked.
    pub fn ticked(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// The field read as `T`, or a refusal at it. `T`'s own error is the message.
    pub fn parse<T>(&self, name: &str) -> Result<T, UiError>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
    {
        self.get(name).parse().map_err(|error| UiError::field(name, format!("{error}")))
    }

    /// The field, which must not be empty.
    pub fn required(&self, name: &str, message: &str) -> Result<&str, UiError> {
        self.some(name).ok_or_else(|| UiError::field(name, message))
    }
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = FormRejection;

    async fn from_request(request: Request, state: &S) -> Result<Self, FormRejection> {
        Ok(Self(Form::<Vec<(String, String)>>::from_request(request, state).await?.0))
    }
}

/// A form shown again: after a refusal, or because it was only tried.
#[derive(Debug, Clone, Default)]
pub struct FormState {
    values: BTreeMap<String, String>,
    /// At which field, when it is one's.
    field: Option<String>,
    message: Option<String>,
    is_again: bool,
}

impl FormState {
    /// A form that is shown again as it was typed, with nothing wrong in it.
    pub fn of(fields: &Fields) -> Self {
        // Secrets do not travel back.
        let values = fields.0.iter().filter(|(key, _)| !key.contains("password")).cloned().collect();
        Self { values, is_again: true, ..Self::default() }
    }

    /// What was typed into the field; `None` when the form is fresh or did not send it.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// What is wrong with the field.
    pub fn error(&self, name: &str) -> Option<&str> {
        self.message.as_deref().filter(|_| self.field.as_deref() == Some(name))
    }

    /// Why the form was refused.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// Whether the form is shown again, so that unticked boxes stay unticked.
    pub fn is_again(&self) -> bool {
        self.is_again
    }
}

impl Cx {
    /// Does `work` and answers: 303 to the address it gives, or `page` (a path of this console) with the refusal in it.
    pub async fn submit(
        &self,
        fields: &Fields,
        page: &str,
        work: impl Future<Output = Result<String, UiError>>,
    ) -> Response {
        match work.await {
            Ok(to) => Redirect::to(&to).into_response(),
            Err(error) => self.refuse(fields, page, &error).await,
        }
    }

    /// Renders `page` again with what was typed and why it was refused.
    pub async fn refuse(&self, fields: &Fields, page: &str, error: &UiError) -> Response {
        if let UiError::SignIn = error {
            return Redirect::to(&super::error::sign_in_path(page)).into_response();
        }
        error.log(&self.request_id);
        let form = FormState {
            field: error.field_name().map(str::to_owned),
            message: Some(error.message(&self.request_id)),
            ..FormState::of(fields)
        };
        self.render(page, form, error.status()).await
    }

    /// Renders the page at `path` as an answer to this request.
    pub async fn render(&self, path: &str, form: FormState, status: StatusCode) -> Response {
        let mut request = Request::new(Body::empty());
        *request.headers_mut() = self.parts.headers.clone();
        *request.extensions_mut() = self.parts.extensions.clone();
        request.extensions_mut().insert(Arc::new(form));
        if let Ok(uri) = path.parse() {
            *request.uri_mut() = uri;
        }
        let mut response = app::render(&self.state, request).await;
        if response.status() == StatusCode::OK {
            *response.status_mut() = status;
        }
        response
    }
}

/// The whole state is the console's; this keeps handlers' signatures short.
pub type Router = axum::Router<UiState>;
