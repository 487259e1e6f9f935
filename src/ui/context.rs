//! What a page is given: who looks, at which address, with which settings; and the checks that stand before it.
//!
//! Pages get a [`Cx`] from `page()` (see `app.rs`), `post_*` handlers take it as an axum extractor. Both ask it for the project with the
//! role they need and get a refusal that says who can help.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts, Query, RawPathParams};
use axum::http::header::COOKIE;
use axum::http::request::Parts;
use leptos::config::LeptosOptions;
use leptos::prelude::*;
use leptos_router::params::ParamsMap;

use super::error::UiError;
use super::form::FormState;
use crate::model::{Action, Actor, Plan, Project, Role};
use crate::server::auth::{Auth, Denied, Principal, Right};
use crate::server::packages::Views;
use crate::server::state::{AppState, Settings};
use crate::server::store::Store;

/// All that the console's routes share.
#[derive(Clone)]
pub struct UiState {
    pub app: AppState,
    pub leptos: LeptosOptions,
}

impl FromRef<UiState> for Auth {
    fn from_ref(state: &UiState) -> Self {
        state.app.auth.clone()
    }
}

impl FromRef<UiState> for LeptosOptions {
    fn from_ref(state: &UiState) -> Self {
        state.leptos.clone()
    }
}

/// How this reader wants pages to look; from cookies, so that the first paint is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Look {
    /// `light` or `dark`; absent follows the system.
    pub theme: Option<&'static str>,
    pub compact: bool,
    pub absolute_times: bool,
}

impl Look {
    /// Reads the cookies that `/settings/look` sets.
    pub fn of(parts: &Parts) -> Self {
        let cookies =
            parts.headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join("; ");
        let cookie = |name: &str| cookies.split("; ").find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        Self {
            theme: match cookie("weir-theme") {
                Some("light") => Some("light"),
                Some("dark") => Some("dark"),
                _ => None,
            },
            compact: cookie("weir-density") == Some("compact"),
            absolute_times: cookie("weir-times") == Some("absolute"),
        }
    }
}

/// A request to the console. Clones share it.
#[derive(Clone)]
pub struct Cx(Arc<Request>);

/// What a [`Cx`] holds.
pub struct Request {
    pub state: UiState,
    pub parts: Parts,
    pub look: Look,
    /// What was typed and why it was refused, when a form is shown again.
    pub form: Arc<FormState>,
    /// Tells this request in the log and on error pages.
    pub request_id: String,
    viewer: Option<Principal>,
    params: BTreeMap<String, String>,
    query: Vec<(String, String)>,
}

impl std::ops::Deref for Cx {
    type Target = Request;

    fn deref(&self) -> &Request {
        &self.0
    }
}

/// A project and what the viewer may do in it.
#[derive(Clone)]
pub struct InProject {
    pub project: Project,
    pub role: Role,
}

impl InProject {
    /// May change streams, builds and apps.
    pub fn can_edit(&self) -> bool {
        self.role.may(Right::Edit)
    }

    /// May change who may what.
    pub fn can_admin(&self) -> bool {
        self.role.may(Right::Admin)
    }
}

impl std::ops::Deref for InProject {
    type Target = Project;

    fn deref(&self) -> &Project {
        &self.project
    }
}

impl Cx {
    fn new(state: UiState, parts: Parts, params: BTreeMap<String, String>) -> Self {
        let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).map(|query| query.0).unwrap_or_default();
        let request_id = parts.headers.get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or("-").to_owned();
        Self(Arc::new(Request {
            look: Look::of(&parts),
            form: parts.extensions.get::<Arc<FormState>>().cloned().unwrap_or_default(),
            viewer: parts.extensions.get::<Principal>().cloned(),
            request_id,
            state,
            params,
            query,
            parts,
        }))
    }

    /// The request that is being rendered. `None` only while the routes are listed at start.
    pub fn of_page() -> Option<Self> {
        let (state, parts) = (use_context::<UiState>()?, use_context::<Parts>()?);
        // A path that no route knows has no parameters at all.
        let params = use_context::<ArcMemo<ParamsMap>>().map(|params| params.read_untracked().clone());
        let params = params.into_iter().flatten().map(|(name, value)| (name.into_owned(), value)).collect();
        Some(Self::new(state, parts, params))
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.0.state.app.store
    }

    /// What images hold and how they differ.
    pub fn views(&self) -> &Views {
        &self.0.state.app.views
    }

    /// What was configured.
    pub fn settings(&self) -> &Settings {
        &self.0.state.app.settings
    }

    /// What stands in the path for `:name`; empty when the route has none of that name.
    pub fn param(&self, name: &str) -> &str {
        self.params.get(name).map_or("", String::as_str)
    }

    /// The query's value of that name; empty when it has none.
    pub fn query(&self, name: &str) -> &str {
        self.query.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str())
    }

    /// All the query's values of that name.
    pub fn query_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.query.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The path being looked at, without the query.
    pub fn path(&self) -> &str {
        self.parts.uri.path()
    }

    /// The present address with some of the query's values replaced; an empty value takes the name out.
    pub fn with_query(&self, changes: &[(&str, &str)]) -> String {
        let kept =
            self.query.iter().filter(|(key, value)| !value.is_empty() && !changes.iter().any(|(name, _)| name == key));
        let kept = kept.map(|(key, value)| (key.as_str(), value.as_str()));
        address(self.path(), kept.chain(changes.iter().copied()))
    }

    /// Who looks, or a refusal that leads to the sign-in page.
    pub fn viewer(&self) -> Result<&Principal, UiError> {
        self.viewer.as_ref().ok_or(UiError::SignIn)
    }

    /// Who looks, if signed in.
    pub fn find_viewer(&self) -> Option<&Principal> {
        self.viewer.as_ref()
    }

    /// Who acts, as the ledger writes it.
    pub fn actor(&self) -> Result<Actor, UiError> {
        Ok(self.viewer()?.actor())
    }

    /// The same request with something more for the page that answers it.
    pub fn with_extension<T: Clone + Send + Sync + 'static>(&self, extension: T) -> Self {
        let mut parts = self.parts.clone();
        parts.extensions.insert(extension);
        Self::new(self.state.clone(), parts, self.params.clone())
    }

    /// What an action would do, as far as the viewer may see it.
    pub async fn plan(&self, action: &Action<'_>) -> Result<Plan, UiError> {
        Ok(self.viewer()?.veil(self.store(), self.store().plan(action).await?).await)
    }

    /// The project of the path, when the viewer has the right in it. A project the viewer may not see is not there.
    pub async fn project(&self, right: Right) -> Result<InProject, UiError> {
        self.project_named(self.param("project"), right).await
    }

    /// The same for a project that is not the path's own.
    pub async fn project_named(&self, name: &str, right: Right) -> Result<InProject, UiError> {
        let access = match self.viewer()?.require(self.store(), name, right).await {
            Ok(access) => access,
            Err(Denied::NotFound(name)) => return Err(UiError::not_found("Project", &name)),
            Err(Denied::Forbidden { project, right, .. }) => {
                let members = self.store().list_members(&project).await?;
                let owners = members.into_iter().filter(|member| member.role == Role::Admin).map(|member| member.name);
                return Err(UiError::Forbidden { owners: owners.collect(), project, needs: right.least_role() });
            }
            Err(Denied::NotSiteAdmin) => return Err(UiError::SiteAdmin),
            Err(Denied::Store(error)) => return Err(error.into()),
        };
        Ok(InProject { project: self.store().project(name).await?, role: access.role })
    }
}

/// `path?name=value&…`, escaped; pairs without a value are left out.
pub fn address<'a>(path: &str, query: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let pairs: Vec<String> = query
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| format!("{}={}", urlencoding::encode(key), urlencoding::encode(value)))
        .collect();
    if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
}

impl FromRequestParts<UiState> for Cx {
    type Rejection = UiError;

    async fn from_request_parts(parts: &mut Parts, state: &UiState) -> Result<Self, UiError> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| UiError::NotFound { what: "This page".to_owned() })?
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Ok(Self::new(state.clone(), parts.clone(), params))
    }
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn addresses_escape_and_leave_out_what_is_empty() {
        let query = [("q", "a b&c"), ("after", ""), ("f", "health:failed")];
        assert_eq!(address("/p/demo", query.into_iter()), "/p/demo?q=a%20b%26c&f=health%3Afailed");
        assert_eq!(address("/p/demo", std::iter::empty()), "/p/demo");
    }
}
