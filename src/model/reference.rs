//! References to images as people type them, `quay.io/org/app:v1`, taken apart and printed again in every form the
//! program needs. It knows names only; talking to the registry named is the business of `server::oci`.

mod grammar;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Digest, LATEST};
use grammar::{check_digest, split};

/// Docker Hub's canonical name, what an omitted registry means.
const HUB: &str = "docker.io";
/// Where Docker Hub's registry answers.
const HUB_V2: &str = "registry-1.docker.io";
/// Docker Hub's other historical name.
const HUB_V1: &str = "index.docker.io";
/// The namespace of Docker Hub's official images.
const LIBRARY: &str = "library";

/// A parsed image reference. A part that was not written is the empty text.
///
/// Tag and id may both be present; the id (a digest) wins in every printed form. Equality (`==`) is of the parts as
/// written; see [`ImageReference::same_image`] for equality of meaning.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageReference {
    /// Host and optional port.
    pub registry: String,
    /// The path's first component, when there are at least two behind the registry.
    pub namespace: String,
    /// The rest of the path; may contain `/`.
    pub name: String,
    pub tag: String,
    /// The digest as written. Its hex may be upper case, which no manifest ever has.
    pub id: String,
}

/// Why a text is not an image reference; the wording is that of Docker's own tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error("repository name must have at least one component")]
    Empty,
    #[error("invalid reference format")]
    Format,
    #[error("repository name must be lowercase")]
    Uppercase,
    #[error("repository name must not be more than 255 characters")]
    TooLong,
    #[error("unsupported digest algorithm")]
    Algorithm,
    #[error("invalid checksum digest length")]
    DigestLength,
}

impl ImageReference {
    /// Reads a reference as Docker and buildah do, for whom a name that stands alone is always that of an image: `python3.12` is one of
    /// Docker Hub's, where OpenShift takes it for a registry.
    pub fn of_engine(text: &str) -> Result<Self, ReferenceError> {
        let found: Self = text.parse()?;
        match split(text).filter(|_| found.name.is_empty()) {
            Some((name, tag, id)) => {
                Ok(Self { name: name.to_owned(), tag: tag.to_owned(), id: id.to_owned(), ..Self::default() })
            }
            None => Ok(found),
        }
    }

    /// The reference as parsed, the digest before the tag, with nothing added. Empty when there is no name.
    pub fn exact(&self) -> String {
        if self.name.is_empty() {
            return String::new();
        }
        let mut text = self.repository_path();
        if !self.registry.is_empty() {
            text = format!("{}/{text}", self.registry);
        }
        if !self.id.is_empty() {
            let separator = if check_digest(&self.id).is_ok() { '@' } else { ':' };
            format!("{text}{separator}{}", self.id)
        } else if !self.tag.is_empty() {
            format!("{text}:{}", self.tag)
        } else {
            text
        }
    }

    /// The path below the registry: `namespace/name`, or `name` alone.
    pub fn repository_path(&self) -> String {
        if self.namespace.is_empty() { self.name.clone() } else { format!("{}/{}", self.namespace, self.name) }
    }

    /// Every omission filled in as the Docker client does: `docker.io`, `library` (on Docker Hub only), `latest`.
    #[must_use]
    pub fn docker_client_defaults(&self) -> Self {
        let mut full = self.clone();
        if full.registry.is_empty() {
            full.registry = HUB.to_owned();
        }
        if full.namespace.is_empty() && full.is_hub() {
            full.namespace = LIBRARY.to_owned();
        }
        if full.tag.is_empty() && full.id.is_empty() {
            full.tag = LATEST.to_owned();
        }
        full
    }

    /// The shortest form the Docker daemon takes for the same image: what `docker_client_defaults` would add is left
    /// out, except that a registry which was written stays.
    #[must_use]
    pub fn daemon_minimal(&self) -> Self {
        let mut short = self.clone();
        if short.registry == HUB_V1 || short.registry == HUB_V2 {
            short.registry = HUB.to_owned();
        }
        // Of `library/a/b` it stays: without it the `a` would become the namespace.
        if short.is_hub() && short.namespace == LIBRARY && !short.name.contains('/') {
            short.namespace.clear();
        }
        if short.tag == LATEST {
            short.tag.clear();
        }
        short
    }

    /// Every omission filled in, and Docker Hub under one name: equal for all ways to write the same.
    #[must_use]
    pub fn canonical(&self) -> Self {
        let full = self.docker_client_defaults();
        let registry = full.daemon_minimal().registry;
        Self { registry, ..full }
    }

    /// With the part that decides alone: a valid digest drops the tag; an id that is no digest becomes the tag when
    /// there is none.
    #[must_use]
    pub fn most_specific(&self) -> Self {
        let mut specific = self.clone();
        if check_digest(&self.id).is_ok() {
            specific.tag.clear();
        } else if specific.tag.is_empty() {
            specific.tag = std::mem::take(&mut specific.id);
        }
        specific
    }

    /// The repository alone, without tag and digest.
    #[must_use]
    pub fn as_repository(&self) -> Self {
        Self { tag: String::new(), id: String::new(), ..self.clone() }
    }

    /// With the host that answers on the network: Docker Hub's names become `registry-1.docker.io`.
    #[must_use]
    pub fn as_v2(&self) -> Self {
        let mut reference = self.clone();
        if reference.registry == HUB || reference.registry == HUB_V1 {
            reference.registry = HUB_V2.to_owned();
        }
        reference
    }

    /// In full, for those who pull it: what a short name means must not depend on their own configuration. None when no image is named,
    /// only a registry.
    pub fn pull_spec(&self) -> Option<String> {
        let named = !self.name.is_empty();
        named.then(|| self.docker_client_defaults().exact())
    }

    /// Host and port to connect to, with the scheme's port where none is written.
    pub fn registry_host_port(&self, insecure: bool) -> String {
        let registry = self.docker_client_defaults().as_v2().registry;
        match registry.contains(':') {
            true => registry,
            false => format!("{registry}:{}", if insecure { 80 } else { 443 }),
        }
    }

    /// Whether both mean the same image once the Docker client's defaults are filled in.
    pub fn same_image(&self, other: &Self) -> bool {
        self.docker_client_defaults() == other.docker_client_defaults()
    }

    /// Whether the registry written is one of Docker Hub's names. An omitted registry is not; `docker.io:443` is not.
    pub fn is_hub(&self) -> bool {
        [HUB, HUB_V1, HUB_V2].contains(&self.registry.as_str())
    }

    /// The digest, when one was written and it is one.
    pub fn digest(&self) -> Option<Digest> {
        self.id.parse().ok()
    }

    /// The same repository at this digest, without tag.
    #[must_use]
    pub fn at_digest(&self, digest: &Digest) -> Self {
        Self { tag: String::new(), id: digest.to_string(), ..self.clone() }
    }

    /// The same repository at this tag, without digest.
    #[must_use]
    pub fn at_tag(&self, tag: &str) -> Self {
        Self { tag: tag.to_owned(), id: String::new(), ..self.clone() }
    }
}

impl fmt::Display for ImageReference {
    /// As [`ImageReference::exact`], with `library/` inserted for Docker Hub's official images.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_hub() && self.namespace.is_empty() {
            return f.write_str(&Self { namespace: LIBRARY.to_owned(), ..self.clone() }.exact());
        }
        f.write_str(&self.exact())
    }
}

impl FromStr for ImageReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let Some((name, tag, id)) = split(text) else {
            return Err(match text {
                "" => ReferenceError::Empty,
                _ if split(&text.to_lowercase()).is_some() => ReferenceError::Uppercase,
                _ => ReferenceError::Format,
            });
        };
        if name.len() > 255 {
            return Err(ReferenceError::TooLong);
        }
        if !id.is_empty() {
            check_digest(id)?;
        }
        let mut reference = Self { tag: tag.to_owned(), id: id.to_owned(), ..Self::default() };
        match name.split_once('/') {
            None if name.contains('.') || name.starts_with("localhost") => {
                return Ok(Self { registry: text.to_owned(), ..Self::default() });
            }
            None => reference.name = name.to_owned(),
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
                reference.registry = first.to_owned();
                (reference.namespace, reference.name) = namespace_and_name(rest);
            }
            Some((first, rest)) => {
                reference.namespace = first.to_owned();
                reference.name = rest.to_owned();
            }
        }
        Ok(reference)
    }
}

impl TryFrom<String> for ImageReference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ImageReference> for String {
    fn from(reference: ImageReference) -> Self {
        // A registry alone has no exact form, but must survive being written and read.
        if reference.name.is_empty() { reference.registry } else { reference.exact_with_tag() }
    }
}

impl ImageReference {
    /// All parts, tag and digest both, for storing without loss.
    fn exact_with_tag(&self) -> String {
        if self.tag.is_empty() || self.id.is_empty() {
            return self.exact();
        }
        format!("{}@{}", Self { id: String::new(), ..self.clone() }.exact(), self.id)
    }
}

fn namespace_and_name(path: &str) -> (String, String) {
    match path.split_once('/') {
        Some((namespace, name)) => (namespace.to_owned(), name.to_owned()),
        None => (String::new(), path.to_owned()),
    }
}

#[cfg(test)]
mod tests;
