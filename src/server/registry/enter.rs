//! Who is at the door, and whether they may enter a repository.

use std::borrow::Cow;

use axum::extract::{FromRequestParts, Query};
use axum::http::header::HOST;
use axum::http::request::Parts;
use serde::Deserialize;

use super::Registry;
use super::error::{Error, Result};
use super::memory::Entrance;
use super::token::CATALOG_SCOPE;
use crate::model::{Actor, BuildConfigSpec, ProjectName, RepositoryName, Stream, StreamName, TagName};
use crate::server::auth::extract::{address, credentials};
use crate::server::auth::{AuthError, Badge, Principal, Right};
use crate::server::store::Reading;

/// The name of this service in token requests.
pub(super) const SERVICE: &str = "weir";

/// Somebody with credentials that are good, and the address they reached us at.
pub(super) struct Caller {
    pub(super) principal: Principal,
    badge: Badge,
    base: String,
}

impl FromRequestParts<Registry> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, registry: &Registry) -> Result<Self> {
        let base = base_url(parts, &registry.settings.public_url);
        let recognised = registry.auth.recognise(&parts.headers, &address(parts)).await;
        let (badge, principal) =
            recognised.map_err(|cause| Error::from_auth(cause, challenge(&base, scope_of(parts).as_deref(), None)))?;
        tracing::Span::current().record("user.id", principal.id());
        Ok(Self { principal: principal.in_request(&parts.headers), badge, base })
    }
}

/// Whom the `Authorization` header speaks for. Cookies do not count here.
pub(super) async fn principal(parts: &Parts, registry: &Registry) -> std::result::Result<Principal, AuthError> {
    let credentials = credentials(&parts.headers)?.ok_or(AuthError::Missing)?;
    registry.auth.sign_in_with(&credentials, &address(parts)).await
}

/// A repository somebody has entered.
pub(super) struct Entered {
    pub(super) project: ProjectName,
    pub(super) name: StreamName,
    pub(super) principal: Principal,
    base: String,
    /// The only tag a build may move.
    only_tag: Option<TagName>,
    stream: FoundStream,
}

/// What is known of a repository's stream when it is entered.
enum FoundStream {
    /// It was there a moment ago, and so was the right to enter.
    Remembered(Stream),
    /// Still to be looked for; to be remembered under this from then on.
    Unknown(Option<(Entrance, Reading)>),
}

impl Caller {
    /// Lets those pass who may ask which repositories there are.
    pub(super) fn enter_catalog(self) -> Result<Principal> {
        if self.principal.may_list_repositories() {
            return Ok(self.principal);
        }
        let challenge = challenge(&self.base, Some(CATALOG_SCOPE), Some("insufficient_scope"));
        Err(Error::unauthorized("the token is not for this: ask for one that is", challenge))
    }

    /// Enters a repository to do something in it.
    pub(super) async fn enter(self, registry: &Registry, project: &str, stream: &str, right: Right) -> Result<Entered> {
        let (project, name) = repository(project, stream)?;
        // A build's rights and tag follow from more than its token.
        let entrance = self.principal.build_id().is_none().then(|| Entrance::new(self.badge, &project, &name, right));
        let stream = match entrance.as_ref().and_then(|entrance| registry.memory.entered(entrance)) {
            Some(stream) => {
                let stream = FoundStream::Remembered(stream);
                return Ok(Entered {
                    project,
                    name,
                    principal: self.principal,
                    base: self.base,
                    only_tag: None,
                    stream,
                });
            }
            None => FoundStream::Unknown(entrance.map(|entrance| (entrance, registry.memory.moment()))),
        };
        // Rights before tickets: whoever has no right is denied, whoever has only too narrow a ticket may fetch another.
        self.principal.rights_at(&registry.store, project.as_str(), name.as_str(), right).await?;
        if !self.principal.is_ticket_for(project.as_str(), name.as_str(), right) {
            let scope = scope(project.as_str(), name.as_str(), right);
            let challenge = challenge(&self.base, Some(&scope), Some("insufficient_scope"));
            return Err(Error::unauthorized("the token is not for this: ask for one that is", challenge));
        }
        let mut only_tag = None;
        if let (Right::Push, Some(build_id)) = (right, self.principal.build_id()) {
            let build = registry.store.build_by_id(build_id).await?;
            let spec: BuildConfigSpec = serde_json::from_str(&build.spec).map_err(crate::server::store::Error::from)?;
            if build.project != project.as_str() || spec.output_stream != name {
                let output = format!("{}/{}:{}", build.project, spec.output_stream, spec.output_tag);
                return Err(Error::denied(format!("this build may push to its output {output} only")));
            }
            only_tag = Some(spec.output_tag);
        }
        Ok(Entered { project, name, principal: self.principal, base: self.base, only_tag, stream })
    }
}

impl Entered {
    /// The stream, if there is one.
    pub(super) async fn find_stream(&self, registry: &Registry) -> Result<Option<Stream>> {
        let entrance = match &self.stream {
            FoundStream::Remembered(stream) => return Ok(Some(stream.clone())),
            FoundStream::Unknown(entrance) => entrance,
        };
        let found = registry.store.find_stream(self.project.as_str(), self.name.as_str()).await?;
        if let (Some(stream), Some((entrance, before))) = (&found, entrance) {
            registry.memory.remember_entrance(entrance.clone(), stream.clone(), *before);
        }
        Ok(found)
    }

    /// The stream, for what reads.
    pub(super) async fn stream(&self, registry: &Registry) -> Result<Stream> {
        let stream = self.find_stream(registry).await?;
        stream.ok_or_else(|| Error::name_unknown(format!("project {} has no stream \"{}\"", self.project, self.name)))
    }

    /// The stream, made if this is the first push to it.
    pub(super) async fn stream_to_push(&self, registry: &Registry) -> Result<Stream> {
        if let Some(stream) = self.find_stream(registry).await? {
            return Ok(stream);
        }
        Ok(registry.store.ensure_stream(self.project.as_str(), &self.name, &self.actor()).await?)
    }

    /// Refuses tags other than a build's own output.
    pub(super) fn check_tag(&self, tag: &TagName) -> Result<()> {
        match &self.only_tag {
            Some(only) if only != tag => {
                Err(Error::denied(format!("this build may push to its output tag {only} only")))
            }
            _ => Ok(()),
        }
    }

    /// Passes when the ticket, if the caller came by one, is for pulling from that other repository, too. Whether they may pull there at
    /// all is to be asked before: only then does a wider ticket help.
    pub(super) fn check_ticket(&self, project: &str, stream: &str) -> Result<()> {
        if self.principal.is_ticket_for(project, stream, Right::Pull) {
            return Ok(());
        }
        let own = scope(self.project.as_str(), self.name.as_str(), Right::Push);
        let both = format!("{own} {}", scope(project, stream, Right::Pull));
        let challenge = challenge(&self.base, Some(&both), Some("insufficient_scope"));
        Err(Error::unauthorized(
            "the token is not for the repository that has this blob: ask for one for both",
            challenge,
        ))
    }

    pub(super) fn actor(&self) -> Actor {
        self.principal.actor()
    }

    /// `/v2/<project>/<stream>`
    pub(super) fn path(&self) -> String {
        format!("/v2/{}/{}", self.project, self.name)
    }
}

/// Both halves of a repository's name.
pub(super) fn repository(project: &str, stream: &str) -> Result<(ProjectName, StreamName)> {
    let invalid = |what: &str, name: &str, why: &dyn std::fmt::Display| {
        Error::name_invalid(format!("\"{name}\" cannot be the name of a {what}: {why}"))
    };
    let project = project.parse().map_err(|e| invalid("project", project, &e))?;
    let name = stream.parse().map_err(|e| invalid("stream", stream, &e))?;
    let RepositoryName { project, stream } =
        RepositoryName::new(project, name).map_err(|e| invalid("stream", stream, &e))?;
    Ok((project, stream))
}

/// What a token must be for to do this in a repository, in the words of token scopes.
fn scope(project: &str, stream: &str, right: Right) -> String {
    let actions = match right {
        Right::View | Right::Pull => "pull",
        Right::Push => "pull,push",
        Right::Edit | Right::Admin => "delete",
    };
    format!("repository:{project}/{stream}:{actions}")
}

/// The scope a request will need, told to those who come without credentials so that their first token fits.
fn scope_of(parts: &Parts) -> Option<String> {
    // Within the nested routes the path has lost its beginning.
    let uri = parts.extensions.get::<axum::extract::OriginalUri>().map_or(&parts.uri, |original| &original.0);
    let mut path = uri.path().strip_prefix("/v2/")?.splitn(3, '/');
    if uri.path() == "/v2/_catalog" {
        return Some(CATALOG_SCOPE.to_owned());
    }
    let (project, stream) = repository(path.next()?, path.next()?).ok()?;
    path.next()?;
    let right = match parts.method.as_str() {
        "GET" | "HEAD" if !uri.path().contains("/blobs/uploads/") => Right::Pull,
        "DELETE" if !uri.path().contains("/blobs/uploads/") => Right::Edit,
        _ => Right::Push,
    };
    let own = scope(project.as_str(), stream.as_str(), right);
    // A mount pulls from elsewhere, too.
    let from =
        Query::<Mount>::try_from_uri(uri).ok().and_then(|Query(mount)| mount.from?.parse::<RepositoryName>().ok());
    Some(match from.filter(|_| right == Right::Push) {
        Some(from) => format!("{own} {}", scope(from.project.as_str(), from.stream.as_str(), Right::Pull)),
        None => own,
    })
}

/// Where the blob of an upload may be had without one.
#[derive(Deserialize)]
struct Mount {
    from: Option<String>,
}

/// The `WWW-Authenticate` header of Docker's token authentication.
pub(super) fn challenge(base: &str, scope: Option<&str>, error: Option<&str>) -> String {
    let mut challenge = format!("Bearer realm=\"{base}/v2/token\",service=\"{SERVICE}\"");
    for (name, value) in [("scope", scope), ("error", error)] {
        if let Some(value) = value {
            challenge.push_str(&format!(",{name}=\"{value}\""));
        }
    }
    challenge
}

/// The address the client used: builders and engines beside us may not reach the public one.
pub(super) fn base_url(parts: &Parts, public_url: &str) -> String {
    let public_url = public_url.trim_end_matches('/');
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let host = parts.uri.authority().map(|authority| Cow::from(authority.as_str()));
    let host = host.or_else(|| header(HOST.as_str()).map(Cow::from));
    let is_host = |host: &str| host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    let Some(host) = host.filter(|host| !host.is_empty() && is_host(host)) else { return public_url.to_owned() };
    if public_url.split_once("://").is_some_and(|(_, public_host)| public_host == host) {
        return public_url.to_owned();
    }
    let scheme = if header("x-forwarded-proto") == Some("https") { "https" } else { "http" };
    format!("{scheme}://{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = axum::http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn clients_are_sent_back_to_where_they_came_from() {
        let base = |headers: &[(&str, &str)]| base_url(&parts("GET", "/v2/", headers), "https://weir.example.com/");
        assert_eq!(base(&[("host", "weir.example.com")]), "https://weir.example.com");
        assert_eq!(base(&[("host", "127.0.0.1:8080")]), "http://127.0.0.1:8080");
        assert_eq!(base(&[("host", "other.example.com"), ("x-forwarded-proto", "https")]), "https://other.example.com");
        assert_eq!(base(&[("host", "x\",evil=\"")]), "https://weir.example.com", "nothing is smuggled in");
        assert_eq!(base(&[]), "https://weir.example.com");
    }

    #[test]
    fn the_challenge_names_the_scope_that_will_be_needed() {
        let scope = |method, uri| scope_of(&parts(method, uri, &[]));
        assert_eq!(scope("GET", "/v2/demo/base/manifests/1").as_deref(), Some("repository:demo/base:pull"));
        assert_eq!(scope("PUT", "/v2/demo/base/manifests/1").as_deref(), Some("repository:demo/base:pull,push"));
        assert_eq!(scope("POST", "/v2/demo/base/blobs/uploads/").as_deref(), Some("repository:demo/base:pull,push"));
        assert_eq!(scope("DELETE", "/v2/demo/base/manifests/1").as_deref(), Some("repository:demo/base:delete"));
        assert_eq!(scope("GET", "/v2/"), None);
        assert_eq!(scope("GET", "/v2/De\"mo/base/manifests/1"), None);
    }
}
