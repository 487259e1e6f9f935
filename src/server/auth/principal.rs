//! Who makes a request, and what they may do.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderValue};

use crate::model::{Actor, Plan, Role, Token, TokenKind, User};
use crate::server::store::{self, Others, Scope, Store};
use crate::server::telemetry::REQUEST_ID;

use super::roles::Right;
use super::ticket::{Access, CATALOG};

/// How somebody proved who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrincipalKind {
    /// A browser session, or a user's name and password.
    Session,
    /// A user's token.
    Token { token_id: String },
    /// A build's token.
    Build { token_id: String, build_id: String },
    /// An engine's token.
    Pull { token_id: String },
}

/// Who makes a request.
#[derive(Debug, Clone)]
pub struct Principal {
    pub kind: PrincipalKind,
    /// The user; builds and engines have none.
    pub user: Option<User>,
    /// The build's name, the token's name: what stands where a user's name would.
    name: String,
    /// The only project it may touch, by name.
    project_limit: Option<String>,
    /// The most it may do.
    role_limit: Option<Role>,
    /// The only repositories it may touch at the registry, and how.
    access_limit: Option<Vec<Access>>,
    /// What the log calls the request it makes.
    request: Option<HeaderValue>,
}

/// A project somebody may do something in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectAccess {
    pub project_id: String,
    /// The project's name.
    pub project: String,
    /// What they are there; decides which buttons a page shows.
    pub role: Role,
}

impl ProjectAccess {
    /// Whether they may do this, too.
    pub fn may(&self, right: Right) -> bool {
        self.role.may(right)
    }
}

/// Why somebody may not do what they asked. What one may not see answers as if it were not there.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    #[error("projects \"{0}\" not found")]
    NotFound(String),
    #[error("{who} may not {} in project {project}: {}", .right.verb(), remedy(*.right, *.token))]
    Forbidden {
        who: String,
        project: String,
        right: Right,
        /// The role that the token is for, where its user may do more.
        token: Option<Role>,
    },
    #[error("only a site admin may do this")]
    NotSiteAdmin,
    #[error(transparent)]
    Store(#[from] store::Error),
}

fn remedy(right: Right, token: Option<Role>) -> String {
    let needed = right.least_role();
    match token {
        Some(role) => format!("the token is for the role {role}, use one for the role {needed}"),
        None => format!("ask one of its admins for the role {needed}"),
    }
}

impl Principal {
    /// A signed-in user with all their rights.
    pub fn session(user: User) -> Self {
        Self {
            kind: PrincipalKind::Session,
            name: user.name.clone(),
            user: Some(user),
            project_limit: None,
            role_limit: None,
            access_limit: None,
            request: None,
        }
    }

    /// The principal a good token speaks for; `None` when its user may not sign in any more.
    pub async fn from_token(store: &Store, token: &Token) -> store::Result<Option<Self>> {
        let user = match &token.user_id {
            Some(id) => match store.find_user_by_id(id).await? {
                Some((user, _)) if user.disabled_at.is_none() => Some(user),
                _ => return Ok(None),
            },
            None => None,
        };
        let token_id = token.id.clone();
        let (kind, own_limit) = match (token.kind, &user, &token.build_id) {
            (TokenKind::User, Some(_), _) => (PrincipalKind::Token { token_id }, None),
            (TokenKind::Build, None, Some(build_id)) => {
                (PrincipalKind::Build { token_id, build_id: build_id.clone() }, Some(Role::Editor))
            }
            (TokenKind::Pull, None, _) => (PrincipalKind::Pull { token_id }, Some(Role::Viewer)),
            _ => return Ok(None),
        };
        let name = user.as_ref().map_or_else(|| token.name.clone(), |user| user.name.clone());
        let role_limit = token.role_limit().into_iter().chain(own_limit).min();
        let (project_limit, access_limit) = (token.project.clone(), None);
        Ok(Some(Self { kind, user, name, project_limit, role_limit, access_limit, request: None }))
    }

    /// The same principal, limited to some repositories.
    pub(super) fn limited_to(self, access: Vec<Access>) -> Self {
        Self { access_limit: Some(access), ..self }
    }

    /// The same principal, making the request that has these headers.
    pub fn in_request(self, headers: &HeaderMap) -> Self {
        Self { request: headers.get(&REQUEST_ID).cloned(), ..self }
    }

    /// Who it is in histories and in the ledger.
    pub fn actor(&self) -> Actor {
        let actor = match self.kind {
            PrincipalKind::Session | PrincipalKind::Token { .. } => Actor::person(&self.name),
            PrincipalKind::Build { .. } => Actor::build(&self.name),
            PrincipalKind::Pull { .. } => Actor::system(&self.name),
        };
        let request = self.request.as_ref().and_then(|id| id.to_str().ok()).map(str::to_owned);
        Actor { request, ..actor }
    }

    /// User name, build name or token name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The build it speaks for.
    pub fn build_id(&self) -> Option<&str> {
        match &self.kind {
            PrincipalKind::Build { build_id, .. } => Some(build_id),
            _ => None,
        }
    }

    /// Whether it may do everything, everywhere. A limited token of a site admin may not.
    pub fn is_site_admin(&self) -> bool {
        self.is_unlimited() && self.acts_for_site_admin()
    }

    /// Whether it is a user with all their rights: no limited token, no build, no engine.
    pub fn is_unlimited(&self) -> bool {
        let limited = self.project_limit.is_some() || self.role_limit.is_some() || self.access_limit.is_some();
        self.user.is_some() && !limited
    }

    fn acts_for_site_admin(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.site_admin == 1)
    }

    /// Only site admins pass.
    pub fn require_site_admin(&self) -> Result<(), Denied> {
        if self.is_site_admin() { Ok(()) } else { Err(Denied::NotSiteAdmin) }
    }

    /// Which user's projects a list shows: all for `None`. Names of projects still have to pass [`Principal::may_see`].
    pub fn list_for(&self) -> Option<&str> {
        if self.acts_for_site_admin() {
            None
        } else {
            Some(self.user.as_ref().map_or("nobody", |user| user.id.as_str()))
        }
    }

    /// The only project that a list may show, by name, when its token is limited to one.
    pub fn project_limit(&self) -> Option<&str> {
        self.project_limit.as_deref()
    }

    /// What lists and searches show it: of the projects it may see all, of others nothing.
    pub fn scope(&self) -> Scope<'_> {
        let others = match (self.project_limit(), self.list_for()) {
            (Some(_), _) => Others::Hidden,
            (None, Some(user_id)) => Others::SeenBy(user_id),
            (None, None) => Others::All,
        };
        Scope { user_id: self.list_for(), project: self.project_limit(), others }
    }

    /// Whether it may ask which repositories there are; it is told of those it may see. A ticket must be for that.
    pub fn may_list_repositories(&self) -> bool {
        let is_somebody = self.user.is_some() || self.project_limit.is_some();
        is_somebody && self.access_limit.as_ref().is_none_or(|list| list.iter().any(|one| one.repository == CATALOG))
    }

    /// Whether the token's own limit lets it near this project.
    pub fn may_see(&self, project: &str) -> bool {
        self.project_limit.as_deref().is_none_or(|limit| limit == project)
    }

    /// The project, if this principal may do this in it. A ticket is for repositories, and so for nothing here.
    pub async fn require(&self, store: &Store, project: &str, right: Right) -> Result<ProjectAccess, Denied> {
        if self.access_limit.is_some() {
            return Err(self.forbidden(project, right));
        }
        self.rights_in(store, project, right).await
    }

    /// The plan with the steps veiled that are in projects which this principal may not see.
    pub async fn veil(&self, store: &Store, mut plan: Plan) -> Plan {
        let mut seen: BTreeMap<String, bool> = BTreeMap::new();
        for step in &mut plan.steps {
            let is_seen = match seen.get(&step.project) {
                Some(is_seen) => *is_seen,
                None => {
                    let is_seen = self.require(store, &step.project, Right::View).await.is_ok();
                    seen.insert(step.project.clone(), is_seen);
                    is_seen
                }
            };
            if !is_seen {
                step.veil();
            }
        }
        plan
    }

    /// [`Principal::require`] for a repository at the registry: a ticket's list of repositories counts, too, and a build may pull what it
    /// takes in from other projects.
    pub async fn require_repository(
        &self,
        store: &Store,
        project: &str,
        stream: &str,
        right: Right,
    ) -> Result<ProjectAccess, Denied> {
        let access = self.rights_at(store, project, stream, right).await?;
        if self.is_ticket_for(project, stream, right) { Ok(access) } else { Err(self.forbidden(project, right)) }
    }

    /// Whether the ticket, if it came by one, is for this. The right itself is another question: [`Principal::rights_at`].
    pub fn is_ticket_for(&self, project: &str, stream: &str, right: Right) -> bool {
        let Some(access) = &self.access_limit else { return true };
        let repository = format!("{project}/{stream}");
        access.iter().any(|one| one.allows(&repository, right))
    }

    /// What [`Principal::require_repository`] asks, whatever the ticket says: whoever passes this may fetch a wider one.
    pub async fn rights_at(
        &self,
        store: &Store,
        project: &str,
        stream: &str,
        right: Right,
    ) -> Result<ProjectAccess, Denied> {
        if let (Right::Pull, Some(build_id), false) = (right, self.build_id(), self.may_see(project)) {
            let base = store.find_foreign_base(build_id, project, stream).await?;
            let project_id = base.ok_or_else(|| Denied::NotFound(project.to_owned()))?;
            return Ok(ProjectAccess { project_id, project: project.to_owned(), role: Role::Viewer });
        }
        self.rights_in(store, project, right).await
    }

    async fn rights_in(&self, store: &Store, project: &str, right: Right) -> Result<ProjectAccess, Denied> {
        let not_found = || Denied::NotFound(project.to_owned());
        if !self.may_see(project) {
            return Err(not_found());
        }
        let user_id = self.user.as_ref().map(|user| user.id.as_str()).unwrap_or_default();
        let membership = store.find_membership(project, user_id).await?.ok_or_else(not_found)?;
        let own = match self.kind {
            PrincipalKind::Session | PrincipalKind::Token { .. } if self.acts_for_site_admin() => Some(Role::Admin),
            PrincipalKind::Session | PrincipalKind::Token { .. } => membership.role(),
            // Made for this project: `may_see` has said so.
            PrincipalKind::Build { .. } | PrincipalKind::Pull { .. } => {
                self.project_limit.as_ref().and(self.role_limit)
            }
        };
        let own = own.ok_or_else(not_found)?;
        let role = self.role_limit.map_or(own, |limit| own.min(limit));
        // Builds and engines are here for images alone.
        let about_images = matches!(right, Right::View | Right::Pull | Right::Push);
        if !role.may(right) || (self.user.is_none() && !about_images) {
            let token = self.role_limit.filter(|limit| own.may(right) && !limit.may(right));
            return Err(Denied::Forbidden { who: self.name.clone(), project: project.to_owned(), right, token });
        }
        Ok(ProjectAccess { project_id: membership.project_id, project: membership.project, role })
    }

    fn forbidden(&self, project: &str, right: Right) -> Denied {
        Denied::Forbidden { who: self.name.clone(), project: project.to_owned(), right, token: None }
    }

    /// The id of the user or token, for logs.
    pub fn id(&self) -> &str {
        match (&self.user, &self.kind) {
            (Some(user), _) => &user.id,
            (
                None,
                PrincipalKind::Token { token_id }
                | PrincipalKind::Build { token_id, .. }
                | PrincipalKind::Pull { token_id },
            ) => token_id,
            (None, PrincipalKind::Session) => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BuildConfigSpec, EventKind, NewImage, Source};
    use crate::server::builder::dockerfile;
    use crate::server::store::testing::{each_store, project};
    use crate::server::store::{BuildRequest, ConfigFields, NewToken, TagMove};

    async fn rights(principal: &Principal, store: &Store, project: &str) -> String {
        let mut said = String::new();
        for (right, letter) in
            [(Right::View, 'v'), (Right::Pull, 'l'), (Right::Push, 's'), (Right::Edit, 'e'), (Right::Admin, 'a')]
        {
            match principal.require(store, project, right).await {
                Ok(_) => said.push(letter),
                Err(Denied::NotFound(_)) => return "not found".to_owned(),
                Err(Denied::Forbidden { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        said
    }

    #[tokio::test]
    async fn roles_and_limits_decide() {
        let actor = Actor::system("test");
        for store in each_store().await {
            let demo = project(&store, "demo").await;
            project(&store, "other").await;
            let root = store.create_user("root", "", None, true, &actor).await.unwrap();
            let ada = store.create_user("ada", "", None, false, &actor).await.unwrap();
            store.grant_role("demo", "ada", Role::Editor, &actor).await.unwrap();

            assert_eq!(rights(&Principal::session(root.clone()), &store, "other").await, "vlsea");
            assert_eq!(rights(&Principal::session(root.clone()), &store, "none").await, "not found");
            assert_eq!(rights(&Principal::session(ada.clone()), &store, "demo").await, "vlse");
            assert_eq!(rights(&Principal::session(ada.clone()), &store, "other").await, "not found");

            let principal = async |new: NewToken<'_>| {
                let (token, _) = store.create_token(new, &actor).await.unwrap();
                Principal::from_token(&store, &token).await.unwrap()
            };
            let mut capped = NewToken::user("t", &root.id);
            (capped.project_id, capped.role) = (Some(demo.as_str()), Some(Role::Viewer));
            let capped = principal(capped).await.unwrap();
            assert_eq!(rights(&capped, &store, "demo").await, "vl");
            assert_eq!(rights(&capped, &store, "other").await, "not found");
            assert!(!capped.is_site_admin());
            let mut more = NewToken::user("t", &ada.id);
            more.role = Some(Role::Admin);
            assert_eq!(rights(&principal(more).await.unwrap(), &store, "demo").await, "vlse", "a token adds nothing");

            let mut less = NewToken::user("t", &ada.id);
            less.role = Some(Role::Viewer);
            let less = principal(less).await.unwrap();
            for (who, right, remedy) in [
                (&less, Right::Push, "the token is for the role viewer, use one for the role editor"),
                (&less, Right::Admin, "ask one of its admins for the role admin"),
                (&Principal::session(ada.clone()), Right::Admin, "ask one of its admins for the role admin"),
            ] {
                let refused = who.require(&store, "demo", right).await.unwrap_err().to_string();
                assert_eq!(refused, format!("ada may not {} in project demo: {remedy}", right.verb()));
            }

            let pull = principal(NewToken::pull("demo", &demo)).await.unwrap();
            assert_eq!(rights(&pull, &store, "demo").await, "vl");
            assert_eq!(rights(&pull, &store, "other").await, "not found");

            store.disable_user("ada", &actor).await.unwrap();
            assert!(principal(NewToken::user("t", &ada.id)).await.is_none());
        }
    }

    #[tokio::test]
    async fn a_build_pulls_from_other_projects_what_it_takes_in_while_its_author_may() {
        let root = Actor::system("test");
        for store in each_store().await {
            for name in ["demo", "bases"] {
                project(&store, name).await;
            }
            for stream in ["httpd", "secret"] {
                store.ensure_stream("bases", &stream.parse().unwrap(), &root).await.unwrap();
            }
            store.create_user("ada", "", None, false, &root).await.unwrap();
            let ada = Actor::person("ada");
            let source = Source { dockerfile: Some("FROM weir:80/bases/httpd:1".to_owned()), ..Source::default() };
            let spec = BuildConfigSpec::new(source, "app".parse().unwrap(), "latest".parse().unwrap());
            let inputs = dockerfile::known_inputs(&spec, "demo", &["weir:80".to_owned()]).unwrap();
            let fields = ConfigFields::new(spec, inputs);
            let name = "app".parse().unwrap();
            let refused = store.create_config("demo", &name, &fields, &ada).await.unwrap_err();
            assert!(refused.to_string().contains("ada, who wrote app last, has no role in project bases"), "{refused}");

            store.grant_role("bases", "ada", Role::Viewer, &root).await.unwrap();
            store.create_config("demo", &name, &fields, &ada).await.unwrap();
            let httpd = store.stream("bases", "httpd").await.unwrap();
            let tag = "1".parse().unwrap();
            let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
            let base =
                NewImage { digest: format!("sha256:{:064}", 1), manifest: "{}".to_owned(), ..NewImage::default() };
            store.put_manifest(&httpd, &base, Some(to), &root).await.unwrap();
            let build = store.start_build("demo", "app", BuildRequest::manual(ada)).await.unwrap();
            let new = NewToken::build("app-1", &build.project_id, &build.id, i64::MAX);
            let (token, _) = store.create_token(new, &root).await.unwrap();
            let principal = Principal::from_token(&store, &token).await.unwrap().unwrap();
            let may = async |stream, right| principal.require_repository(&store, "bases", stream, right).await.is_ok();
            assert!(may("httpd", Right::Pull).await);
            assert!(!may("httpd", Right::Push).await);
            assert!(!may("secret", Right::Pull).await);
            assert!(principal.require(&store, "bases", Right::View).await.is_err());

            store.revoke_role("bases", "ada", &root).await.unwrap();
            assert!(!may("httpd", Right::Pull).await);
        }
    }
}
