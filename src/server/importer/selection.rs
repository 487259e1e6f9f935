//! Which manifests of an index an import takes: one in the mode `Legacy`, else all that the stream's platforms cover.

use std::collections::{BTreeMap, BTreeSet};

use super::ImportError;
use crate::model::{Digest, Platform, Platforms, Stream, Tag};
use crate::server::oci::{Descriptor, Manifest};

/// Annotations of a tag, as OpenShift has them, that say what the mode `Legacy` takes.
const PREFER_OS: &str = "importer.image.openshift.io/prefer-os";
const PREFER_ARCHITECTURE: &str = "importer.image.openshift.io/prefer-arch";
/// What BuildKit says of a manifest that is about another one of the same index, and of which.
const KIND: &str = "vnd.docker.reference.type";
const ABOUT: &str = "vnd.docker.reference.digest";

/// What of an index is taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Selection {
    /// One image instead of the index (`importMode: Legacy`).
    pub is_legacy: bool,
    /// What that one should run on.
    preferred: Option<Platform>,
    platforms: Platforms,
}

impl Selection {
    /// In this mode, for all platforms.
    pub fn of_mode(import_mode: &str) -> Self {
        Self { is_legacy: import_mode == "Legacy", ..Self::default() }
    }

    /// For the platforms that the stream chose.
    pub fn of_stream(stream: &Stream) -> Self {
        // What a stream has was read when it was set.
        Self { platforms: Platforms::of(&stream.annotations).unwrap_or_default(), ..Self::default() }
    }

    /// As the tag and its stream say.
    pub fn of(stream: &Stream, tag: &Tag) -> Self {
        Self { preferred: preferred(&tag.annotations), ..Self::of_stream(stream) }.in_mode(&tag.import_mode)
    }

    /// The same in another mode.
    pub fn in_mode(self, import_mode: &str) -> Self {
        Self { is_legacy: import_mode == "Legacy", ..self }
    }

    /// The one manifest that is taken instead of the index, if so it is: for the platform that the tag prefers, or the stream chose, or
    /// this server runs on, or linux/amd64, whichever there is first; or else the first one listed.
    pub(super) fn only<'a>(&self, index: &'a Manifest) -> Option<&'a Descriptor> {
        if !self.is_legacy || !index.is_index() {
            return None;
        }
        let usual = [Platform::linux(own_architecture()), Platform::linux("amd64")];
        let mut wanted = self.preferred.iter().chain(self.platforms.iter()).chain(&usual);
        let for_platform = |wanted: &Platform| {
            let fits = |child: &&Descriptor| {
                platform(child).is_some_and(|(os, arch, variant)| wanted.covers(os, arch, variant))
            };
            index.children().iter().find(fits)
        };
        wanted.find_map(for_platform).or_else(|| index.children().first())
    }

    /// Refuses an index that has nothing for any platform the stream chose: the tag would point to what cannot run. What a tag prefers in
    /// the mode `Legacy` comes before what the stream chose.
    pub(super) fn check(&self, index: &Manifest) -> Result<(), ImportError> {
        let preferred = self.preferred.as_ref().filter(|_| self.is_legacy);
        let is_wanted = |(os, architecture, variant)| {
            self.platforms.cover(os, architecture, variant)
                || preferred.is_some_and(|preferred| preferred.covers(os, architecture, variant))
        };
        let mut known = index.children().iter().filter_map(platform).peekable();
        if known.peek().is_none() || known.any(is_wanted) {
            return Ok(());
        }
        let shown = |(os, architecture, variant): (&str, &str, Option<&str>)| {
            format!("{os}/{architecture}{}", variant.map(|variant| format!("/{variant}")).unwrap_or_default())
        };
        let has: BTreeSet<_> = index.children().iter().filter_map(platform).map(shown).collect();
        let has = has.into_iter().collect::<Vec<_>>().join(", ");
        Err(ImportError::NoPlatform { chosen: self.platforms.to_string(), has })
    }

    /// What of an index stays where it is: the manifests for platforms that the stream did not choose, and what is about those alone.
    pub(super) fn left_out(&self, index: &Manifest) -> BTreeSet<Digest> {
        if self.platforms.is_all() {
            return BTreeSet::new();
        }
        let is_other = |child: &&Descriptor| {
            platform(child).is_some_and(|(os, arch, variant)| !self.platforms.cover(os, arch, variant))
        };
        let manifests = || index.children().iter().filter(|child| child.is_manifest());
        let digest = |child: &Descriptor| child.digest.clone();
        let mut left: BTreeSet<_> = manifests().filter(is_other).map(digest).collect();
        let is_about_left = |child: &&Descriptor| {
            child.annotations.contains_key(KIND)
                && child.annotations.get(ABOUT).is_some_and(|of| left.iter().any(|other| other.as_str() == of))
        };
        let (about_left, wanted): (Vec<_>, Vec<_>) =
            manifests().filter(|child| !is_other(child)).partition(is_about_left);
        let wanted: BTreeSet<_> = wanted.into_iter().map(digest).collect();
        left.extend(about_left.into_iter().map(digest));
        // One manifest may be listed for several platforms.
        left.retain(|digest| !wanted.contains(digest));
        left
    }
}

/// What a manifest of an index runs on, when it runs at all.
fn platform(child: &Descriptor) -> Option<(&str, &str, Option<&str>)> {
    let known = child.platform.as_ref().filter(|known| !known.os.is_empty() && known.os != "unknown")?;
    Some((&known.os, &known.architecture, known.variant.as_deref()))
}

/// The platform that a tag's annotations (a JSON object of text) prefer; what they leave open is as on this server.
fn preferred(annotations: &str) -> Option<Platform> {
    if !annotations.contains(PREFER_OS) && !annotations.contains(PREFER_ARCHITECTURE) {
        return None;
    }
    let annotations: BTreeMap<String, String> = serde_json::from_str(annotations).unwrap_or_default();
    let said = |key: &str| annotations.get(key).filter(|text| !text.is_empty()).cloned();
    let (os, architecture) = (said(PREFER_OS), said(PREFER_ARCHITECTURE));
    (os.is_some() || architecture.is_some()).then(|| Platform {
        os: os.unwrap_or_else(|| "linux".to_owned()),
        architecture: architecture.unwrap_or_else(|| own_architecture().to_owned()),
        variant: None,
    })
}

/// The architecture of this server, as indexes name it.
fn own_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

#[cfg(test)]
mod tests;
