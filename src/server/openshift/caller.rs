//! Who calls, and whether they may: the door's words around the principal.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use secrecy::ExposeSecret as _;

use super::Door;
use super::kind::{self, Kind};
use super::status::Status;
use crate::model::Actor;
use crate::server::auth::extract::{Credentials, credentials};
use crate::server::auth::ticket::looks_like_ticket;
use crate::server::auth::{AuthError, Denied, Principal, Right};

/// Who makes the request.
#[derive(Debug, Clone)]
pub struct Caller(Principal);

impl Caller {
    /// Who it is in histories and in the ledger.
    pub fn actor(&self) -> Actor {
        self.0.actor()
    }

    /// The principal itself.
    pub fn principal(&self) -> &Principal {
        &self.0
    }

    /// Passes when the caller may do `verb`, Kubernetes' word, to `kind` in the project. `name` is empty for lists.
    ///
    /// A project one may not see answers 403 as OpenShift's does, so that nobody learns which projects there are; one who sees them all
    /// is told that it does not exist.
    pub async fn may(&self, door: &Door, verb: &str, kind: &Kind, project: &str, name: &str) -> Result<(), Status> {
        match self.0.require(&door.store, project, right(verb, kind)).await {
            Ok(_) => Ok(()),
            Err(Denied::NotFound(project)) if self.0.is_site_admin() => {
                Err(Status::not_found(&kind::NAMESPACES, &project))
            }
            Err(Denied::NotFound(_) | Denied::Forbidden { .. } | Denied::NotSiteAdmin) => {
                Err(Status::forbidden(self.0.name(), verb, kind, project, name))
            }
            Err(Denied::Store(error)) => Err(error.into()),
        }
    }

    /// Whether the caller is an admin of the project, who may overrule what binds others.
    pub async fn is_admin(&self, door: &Door, project: &str) -> Result<bool, Status> {
        match self.0.require(&door.store, project, Right::Admin).await {
            Ok(_) => Ok(true),
            Err(Denied::Store(error)) => Err(error.into()),
            Err(_) => Ok(false),
        }
    }

    /// Passes when the caller may make projects: users may, unless what they showed is a token with limits.
    pub fn may_request_projects(&self, verb: &str) -> Result<(), Status> {
        if self.0.is_unlimited() {
            return Ok(());
        }
        Err(Status::forbidden(self.0.name(), verb, &kind::PROJECT_REQUESTS, "", ""))
    }

    /// Passes when the caller may see the project's images; a stream may follow only what its author could pull.
    pub async fn may_pull_from(&self, door: &Door, project: &str) -> Result<(), Status> {
        match self.can_pull_from(door, project).await? {
            true => Ok(()),
            false => Err(Status::forbidden(self.0.name(), "get", &kind::STREAM_LAYERS, project, "")),
        }
    }

    /// Whether the caller may see the project's images.
    pub async fn can_pull_from(&self, door: &Door, project: &str) -> Result<bool, Status> {
        match self.0.require(&door.store, project, Right::Pull).await {
            Ok(_) => Ok(true),
            Err(Denied::Store(error)) => Err(error.into()),
            Err(_) => Ok(false),
        }
    }
}

/// What a verb on a kind takes.
fn right(verb: &str, kind: &Kind) -> Right {
    match (verb, kind.plural) {
        (_, "secrets" | "notices") | ("update", "tagrules") => Right::Admin,
        ("get", "imagestreams/layers") => Right::Pull,
        ("get", "imagestreams/secrets") => Right::Edit,
        ("get" | "list" | "watch", _) => Right::View,
        (_, "projects" | "retentionrules") => Right::Admin,
        _ => Right::Edit,
    }
}

impl FromRequestParts<Door> for Caller {
    type Rejection = Status;

    async fn from_request_parts(parts: &mut Parts, door: &Door) -> Result<Self, Status> {
        // A registry's ticket is good for the repositories it names, and for nothing here.
        if let Ok(Some(Credentials::Bearer(text))) = credentials(&parts.headers)
            && looks_like_ticket(text.expose_secret())
        {
            return Err(Status::unauthorized());
        }
        match <Principal as FromRequestParts<Door>>::from_request_parts(parts, door).await {
            Ok(principal) => Ok(Self(principal)),
            Err(AuthError::Missing | AuthError::Wrong) => Err(Status::unauthorized()),
            Err(AuthError::Limited { retry_after_seconds }) => Err(Status::too_many_requests(retry_after_seconds)),
            Err(AuthError::Store(error)) => Err(error.into()),
        }
    }
}
