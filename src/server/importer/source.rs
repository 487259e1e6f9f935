//! Where images come from, and where they are asked for: in the mirrors that the operator named, then in the registry that the reference
//! names. What comes of it is recorded as from that registry.

use secrecy::ExposeSecret as _;
use tracing::debug;

use super::turns::Wait;
use super::{ImportError, Importer};
use crate::model::{ImageReference, Mirrors};
use crate::server::oci::{Access, Credentials};
use crate::server::store::BudgetKey;

/// Where an image comes from, and as whom to ask.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) reference: ImageReference,
    pub(super) access: Access,
    /// What the registry allows, and the name of the project that asks.
    pub(super) budget: BudgetKey,
    pub(super) project: String,
    /// The project's secret that the credentials come from, if they come from one.
    pub(super) secret_id: Option<String>,
    /// How its questions come to their turns.
    pub(super) wait: Wait,
}

impl Source {
    /// The same, with questions that come to their turns like this.
    pub(super) fn waiting(self, wait: Wait) -> Self {
        Self { wait, ..self }
    }
}

/// The mirrors of other registries.
#[derive(Debug, Clone, Default)]
pub struct MirrorSets {
    /// For what is named by its digest, which is checked wherever it comes from.
    pub digests: Mirrors,
    /// For what tags mean, in which a mirror may be behind.
    pub tags: Mirrors,
}

impl Importer {
    /// As [`Importer::source`], for what is asked while a client waits: this server never waits for itself. An import may take from
    /// another of its repositories, as it takes only what is there.
    pub(super) async fn source_elsewhere(
        &self,
        project: &str,
        reference: &str,
        insecure: bool,
    ) -> Result<Source, ImportError> {
        let source = self.source(project, reference, insecure).await?;
        if self.shared.around.own_hosts.contains(&source.reference.docker_client_defaults().registry) {
            return Err(ImportError::OwnRegistry { reference: reference.to_owned() });
        }
        Ok(source)
    }

    pub(super) async fn source(&self, project: &str, reference: &str, insecure: bool) -> Result<Source, ImportError> {
        let parsed: ImageReference =
            reference.parse().map_err(|cause| ImportError::Reference { reference: reference.to_owned(), cause })?;
        self.asked_by(project, parsed, insecure).await
    }

    /// A place to ask, with the project's credentials for it, or else the site's.
    async fn asked_by(&self, project: &str, reference: ImageReference, insecure: bool) -> Result<Source, ImportError> {
        let hub = reference.docker_client_defaults();
        let (host, path) = (&hub.registry, hub.repository_path());
        let found = self.store.registry_credentials(project, host, &path).await?;
        let secret_id = found.as_ref().map(|found| found.id.clone());
        let own = found.map(|found| Credentials { username: found.username, password: found.password });
        let credentials = match own {
            Some(own) => Some(own),
            None => self.shared.around.logins.find(host, &path).await,
        };
        let budget = self.budget(&reference.canonical().registry, credentials.as_ref());
        let insecure = insecure || self.shared.around.insecure.has(host);
        let (project, access) = (project.to_owned(), Access { credentials, insecure });
        Ok(Source { reference, access, budget, project, secret_id, wait: Wait::default() })
    }

    /// What the registry allows is counted for each account.
    pub(super) fn budget(&self, host: &str, credentials: Option<&Credentials>) -> BudgetKey {
        // PostgreSQL keeps no NUL.
        let account = credentials.map_or_else(String::new, |known| known.username.replace('\0', "\u{fffd}"));
        let host = host.to_owned();
        let id = match credentials {
            None => host.clone(),
            Some(Credentials { username, password }) => {
                let text = format!("{username}\0{}", password.expose_secret());
                format!("{host} {}", self.store.fingerprint("registry account", &text))
            }
        };
        BudgetKey { id, host, account }
    }

    /// Where else content of the source's repository is had by its digest.
    pub(super) async fn mirrors_of_digests(&self, source: &Source) -> Result<Vec<Source>, ImportError> {
        self.mirrors(source, &self.shared.around.mirrors.digests).await
    }

    /// Where else it is asked what the source's reference means.
    pub(super) async fn mirrors_of_tag(&self, source: &Source) -> Result<Vec<Source>, ImportError> {
        let mirrors = &self.shared.around.mirrors;
        self.mirrors(source, if source.reference.id.is_empty() { &mirrors.tags } else { &mirrors.digests }).await
    }

    async fn mirrors(&self, source: &Source, mirrors: &Mirrors) -> Result<Vec<Source>, ImportError> {
        let mut places = Vec::new();
        for mirrored in mirrors.of(&source.reference) {
            let ImageReference { tag, id, .. } = source.reference.clone();
            let reference = ImageReference { tag, id, ..mirrored.repository };
            let place = self.asked_by(&source.project, reference, mirrored.is_insecure).await?;
            places.push(place.waiting(source.wait.elsewhere()));
        }
        Ok(places)
    }
}

/// What a mirror answered. What it does not have, or cannot tell, the next place may.
pub(super) fn heard<T>(mirror: &Source, answer: Result<T, ImportError>) -> Option<T> {
    answer.inspect_err(|cause| debug!("The mirror {} did not help: {cause}", mirror.reference.exact())).ok()
}
