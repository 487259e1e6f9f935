//! `/v2/token`: credentials in, a ticket for some repositories out (Docker's token authentication).
//!
//! Asking for more than one may have is no error: the ticket is for what one may, and the door says the rest.

use axum::Json;
use axum::extract::{RawQuery, Request, State};
use axum::http::header::CACHE_CONTROL;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use secrecy::SecretString;
use serde::Serialize;

use super::Registry;
use super::enter::principal;
use super::error::{Error, Result};
use crate::model::{RepositoryName, now, rfc3339};
use crate::server::auth::extract::{Credentials, address};
use crate::server::auth::ticket::{CATALOG, GOOD_FOR_SECONDS};
use crate::server::auth::{Access, AuthError, Principal, Right};

/// The most scopes one ticket is for.
const MAX_SCOPES: usize = 50;
/// The scope of the list of all repositories.
pub(super) const CATALOG_SCOPE: &str = "registry:catalog:*";
/// The largest form that is read.
const MAX_FORM: usize = 64 * 1024;

/// What comes back; clients of different ages look at different fields.
#[derive(Serialize)]
struct Answer {
    token: String,
    access_token: String,
    expires_in: i64,
    issued_at: String,
    scope: String,
}

/// `GET /v2/token?service=…&scope=…` with Basic credentials.
pub(super) async fn get(
    State(registry): State<Registry>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response> {
    let (parts, _) = request.into_parts();
    let principal = principal(&parts, &registry).await.map_err(refused)?;
    let query = query.unwrap_or_default();
    let scopes = pairs(&query).filter(|(name, _)| name == "scope").map(|(_, scope)| scope);
    answer(&registry, &principal, scopes.collect::<Vec<_>>().join(" ")).await
}

#[derive(Default)]
struct Form {
    grant_type: String,
    scope: String,
    username: String,
    password: Option<SecretString>,
}

impl Form {
    fn read(body: &str) -> Self {
        let mut form = Self::default();
        for (name, value) in pairs(body) {
            match name.as_str() {
                "grant_type" => form.grant_type = value,
                "scope" => form.scope = value,
                "username" => form.username = value,
                "password" => form.password = Some(value.into()),
                _ => {}
            }
        }
        form
    }
}

/// `POST /v2/token`, as OAuth has it, with the password in a form.
pub(super) async fn post(State(registry): State<Registry>, request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, MAX_FORM).await.map_err(|_| Error::size_invalid("the form is too large"))?;
    let form = Form::read(&String::from_utf8_lossy(&body));
    let principal = password_grant(&registry, &parts, &form).await.map_err(refused)?;
    answer(&registry, &principal, form.scope).await
}

async fn password_grant(registry: &Registry, parts: &Parts, form: &Form) -> std::result::Result<Principal, AuthError> {
    let password = form.password.clone().filter(|_| form.grant_type == "password").ok_or(AuthError::Missing)?;
    let credentials = Credentials::Basic { user: form.username.clone(), password };
    registry.auth.sign_in_with(&credentials, &address(parts)).await
}

async fn answer(registry: &Registry, principal: &Principal, scope: String) -> Result<Response> {
    let access = granted(registry, principal, &scope).await?;
    let scope = access.iter().map(|one| match one.repository.as_str() {
        CATALOG => CATALOG_SCOPE.to_owned(),
        repository => format!("repository:{repository}:{}", one.actions.join(",")),
    });
    let scope = scope.collect::<Vec<_>>().join(" ");
    let ticket = registry.auth.issue_ticket(principal, access).await?;
    let ticket = ticket.ok_or_else(|| refused(AuthError::Wrong))?;
    let answer = Answer {
        token: ticket.clone(),
        access_token: ticket,
        expires_in: GOOD_FOR_SECONDS,
        issued_at: rfc3339(now()),
        scope,
    };
    Ok(([(CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

/// Of what is asked for, what one may.
async fn granted(registry: &Registry, principal: &Principal, scope: &str) -> Result<Vec<Access>> {
    let mut granted = Vec::new();
    for one in scope.split_whitespace().take(MAX_SCOPES) {
        if one == CATALOG_SCOPE {
            granted.push(Access { repository: CATALOG.to_owned(), actions: vec!["*".to_owned()] });
            continue;
        }
        let Some((repository, asked)) = parse_scope(one) else { continue };
        let RepositoryName { project, stream } = &repository;
        let (project, stream) = (project.as_str(), stream.as_str());
        let mut actions = Vec::new();
        for (action, right) in [("pull", Right::Pull), ("push", Right::Push), ("delete", Right::Edit)] {
            let wanted = asked.split(',').any(|asked| asked == action || asked == "*");
            if wanted && principal.require_repository(&registry.store, project, stream, right).await.is_ok() {
                actions.push(action.to_owned());
            }
        }
        if !actions.is_empty() {
            granted.push(Access { repository: repository.to_string(), actions });
        }
    }
    Ok(granted)
}

/// `repository:<project>/<stream>:<actions>`; none for anything else.
fn parse_scope(text: &str) -> Option<(RepositoryName, &str)> {
    let (kind, rest) = text.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    // `repository(plugin)` and the like are what Docker asks for things that are not images.
    (kind == "repository").then(|| name.parse().ok().map(|name| (name, actions)))?
}

/// The parameters of a query, which may name one several times.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = value.replace('+', " ");
        Some((name.to_owned(), urlencoding::decode(&value).ok()?.into_owned()))
    })
}

/// Whoever asks for a ticket must say who they are with every question.
fn refused(cause: AuthError) -> Error {
    Error::from_auth(cause, "Basic realm=\"weir\"".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_of_repositories_here() {
        let base = "demo/base".parse().expect("a repository");
        assert_eq!(parse_scope("repository:demo/base:pull,push"), Some((base, "pull,push")));
        for other in
            ["registry:catalog:*", "repository:demo:pull", "repository:a/b/c:pull", "repository:De/mo:pull", "x", ""]
        {
            assert_eq!(parse_scope(other), None, "{other}");
        }
    }

    #[test]
    fn parameters_may_repeat() {
        let found: Vec<_> = pairs("scope=repository%3Aa%2Fb%3Apull&scope=c+d&empty=&odd").collect();
        let expected = [("scope", "repository:a/b:pull"), ("scope", "c d"), ("empty", "")];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
