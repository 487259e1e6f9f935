//! Manifests and indexes, Docker schema 2 and OCI: read for what they refer to, kept byte for byte.

use std::collections::BTreeMap;

use bytes::Bytes;
use oci_spec::image::{MediaType, ToDockerV2S2};
use serde::{Deserialize, Deserializer, Serialize};

use crate::model::Digest;
use crate::server::hash;

/// The largest manifest that is taken, in bytes (OCI distribution-spec, "Pushing manifests": at least 4 MiB).
pub const MAX_SIZE: usize = 4 * 1024 * 1024;

/// The media types a manifest may have, for `Accept` headers.
pub const ACCEPTED: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// A manifest or an index.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Of `bytes`, by sha256 unless another algorithm was asked for.
    pub digest: Digest,
    pub media_type: String,
    /// As they came.
    pub bytes: Bytes,
    pub kind: Kind,
    pub artifact_type: Option<String>,
    /// The manifest this one is about (OCI's referrers).
    pub subject: Option<Descriptor>,
    pub annotations: BTreeMap<String, String>,
}

/// What a manifest is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// An image for one platform, or an artifact; layers lowest first.
    Image { config: Box<Descriptor>, layers: Vec<Descriptor> },
    /// A list of manifests, commonly one for each platform.
    Index { manifests: Vec<Descriptor> },
}

/// A reference from one content to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

/// What a manifest in an index runs on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    #[serde(default, deserialize_with = "or_default")]
    pub architecture: String,
    #[serde(default, deserialize_with = "or_default")]
    pub os: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    #[serde(rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
}

/// Why bytes are not a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    #[error("the manifest is larger than 4 MiB")]
    TooLarge,
    #[error("the manifest is not valid: {0}")]
    Invalid(String),
    #[error("manifests of Docker schema 1 are not taken: push again with a client of this decade")]
    SchemaOne,
    #[error("media type \"{0}\" is not that of a manifest or index")]
    MediaType(String),
    #[error("the manifest says it is \"{said}\" but was sent as \"{sent}\"")]
    MediaTypeMismatch { said: String, sent: String },
}

impl Manifest {
    /// Reads a manifest. `sent_as` is its `Content-Type`; what the manifest says of itself must not contradict it.
    pub fn parse(sent_as: Option<&str>, bytes: Bytes) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_SIZE {
            return Err(ManifestError::TooLarge);
        }
        let invalid = |e: serde_json::Error| ManifestError::Invalid(e.to_string());
        let wire: Wire = serde_json::from_slice(&bytes).map_err(invalid)?;
        if wire.schema_version == Some(1) {
            return Err(ManifestError::SchemaOne);
        }
        // Parameters such as `; charset=utf-8` say nothing here; generic types say less.
        let sent = sent_as.and_then(|sent| sent.split(';').next()).map(str::trim).filter(|sent| is_specific(sent));
        let media_type = match (wire.media_type.as_deref(), sent) {
            (Some(said), Some(sent)) if said != sent => {
                return Err(ManifestError::MediaTypeMismatch { said: said.to_owned(), sent: sent.to_owned() });
            }
            (Some(one), _) | (None, Some(one)) => one.to_owned(),
            (None, None) if wire.manifests.is_some() => MediaType::ImageIndex.to_string(),
            (None, None) => MediaType::ImageManifest.to_string(),
        };
        let kind = if is_index(&media_type) {
            Kind::Index { manifests: wire.manifests.unwrap_or_default() }
        } else if is_image(&media_type) {
            let config = wire.config.ok_or_else(|| ManifestError::Invalid("it has no config".to_owned()))?;
            Kind::Image { config: Box::new(config), layers: wire.layers }
        } else {
            return Err(ManifestError::MediaType(media_type));
        };
        let manifest = Self {
            digest: hash::sha256(&bytes),
            media_type,
            bytes,
            kind,
            artifact_type: wire.artifact_type,
            subject: wire.subject,
            annotations: wire.annotations,
        };
        // PostgreSQL keeps none, and no type or platform has one.
        if manifest.kept_texts().any(|text| text.contains('\0')) {
            return Err(ManifestError::Invalid("a type or a platform in it has a NUL character".to_owned()));
        }
        Ok(manifest)
    }

    /// What of it is kept as text of its own.
    fn kept_texts(&self) -> impl Iterator<Item = &String> {
        let parts = || self.blobs().chain(self.children());
        let platforms = parts().filter_map(|part| part.platform.as_ref());
        let platforms = platforms.flat_map(|known| [&known.architecture, &known.os].into_iter().chain(&known.variant));
        self.artifact_type.iter().chain(parts().map(|part| &part.media_type)).chain(platforms)
    }

    /// Whether this is an index.
    pub fn is_index(&self) -> bool {
        matches!(self.kind, Kind::Index { .. })
    }

    /// The config and layers of an image, in this order; nothing for an index.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        let (config, layers) = match &self.kind {
            Kind::Image { config, layers } => (Some(config.as_ref()), layers.as_slice()),
            Kind::Index { .. } => (None, [].as_slice()),
        };
        config.into_iter().chain(layers)
    }

    /// The manifests of an index; nothing for an image.
    pub fn children(&self) -> &[Descriptor] {
        match &self.kind {
            Kind::Image { .. } => &[],
            Kind::Index { manifests } => manifests,
        }
    }

    /// The artifact's type as the referrers list tells it: its own word, else that of its config.
    pub fn effective_artifact_type(&self) -> Option<&str> {
        match (&self.artifact_type, &self.kind) {
            (Some(own), _) if !own.is_empty() => Some(own),
            (_, Kind::Image { config, .. }) => Some(&config.media_type),
            (_, Kind::Index { .. }) => None,
        }
    }
}

impl Descriptor {
    /// Whether the content is a container image's configuration, which [`crate::model::ImageConfig`] reads.
    pub fn is_image_config(&self) -> bool {
        names(&MediaType::ImageConfig, &self.media_type)
    }

    /// Whether the content is itself a manifest or index.
    pub fn is_manifest(&self) -> bool {
        is_index(&self.media_type) || is_image(&self.media_type)
    }

    /// Whether the content may lie elsewhere and need not be here (OCI's non-distributable, Docker's foreign layers).
    pub fn is_foreign(&self) -> bool {
        const DOCKER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar";
        const OCI: &str = "application/vnd.oci.image.layer.nondistributable.";
        self.media_type.starts_with(OCI) || self.media_type.starts_with(DOCKER)
    }
}

/// Whether a media type is that of an index or manifest list.
pub fn is_index(media_type: &str) -> bool {
    names(&MediaType::ImageIndex, media_type)
}

/// Whether a media type is that of an image manifest.
pub fn is_image(media_type: &str) -> bool {
    names(&MediaType::ImageManifest, media_type)
}

fn names(oci: &MediaType, media_type: &str) -> bool {
    oci.as_ref() == media_type || oci.to_docker_v2s2().is_ok_and(|docker| docker == media_type)
}

fn is_specific(media_type: &str) -> bool {
    !matches!(media_type, "" | "application/json" | "application/octet-stream" | "text/plain")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    #[serde(default, deserialize_with = "or_default")]
    layers: Vec<Descriptor>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "or_default")]
    annotations: BTreeMap<String, String>,
}

/// Go writes `null` for what is empty.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
    const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
    const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

    fn hex(c: char) -> String {
        format!("sha256:{}", c.to_string().repeat(64))
    }

    fn image(media_type: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,{media_type}"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":7}},
            "layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{}","size":9,"data":"eA=="}}],"x-unknown":[1]}}"#,
            hex('a'),
            hex('b')
        )
    }

    fn parse(sent_as: Option<&str>, text: &str) -> Result<Manifest, ManifestError> {
        Manifest::parse(sent_as, Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn reads_images_of_both_families() {
        let text = image("");
        let manifest = parse(Some(OCI), &text).expect("an image");
        assert_eq!(manifest.media_type, OCI);
        assert_eq!(manifest.bytes, text.as_bytes());
        assert_eq!(manifest.digest, hash::sha256(text.as_bytes()));
        let blobs: Vec<_> = manifest.blobs().map(|d| (d.digest.to_string(), d.size)).collect();
        assert_eq!(blobs, [(hex('a'), 7), (hex('b'), 9)]);
        assert!(manifest.blobs().next().is_some_and(Descriptor::is_image_config));

        let docker = parse(None, &image(&format!(r#""mediaType":"{DOCKER}","#))).expect("an image");
        assert_eq!(docker.media_type, DOCKER);
        assert!(!docker.is_index());
    }

    #[test]
    fn reads_indexes_with_platforms() {
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{DOCKER_LIST}","manifests":[
                {{"mediaType":"{DOCKER}","digest":"{}","size":1,"platform":{{"architecture":"arm","os":"linux","variant":"v7"}}}}]}}"#,
            hex('c')
        );
        let index = parse(Some(&format!("{DOCKER_LIST}; charset=utf-8")), &text).expect("an index");
        assert!(index.is_index() && index.blobs().next().is_none());
        let platform = index.children()[0].platform.clone().expect("a platform");
        assert_eq!((&*platform.architecture, &*platform.os, platform.variant.as_deref()), ("arm", "linux", Some("v7")));
        let bare = parse(None, r#"{"schemaVersion":2,"manifests":[]}"#).expect("an empty index");
        assert_eq!(bare.media_type, ACCEPTED[0]);
        assert!(parse(Some(DOCKER_LIST), r#"{"schemaVersion":2,"manifests":null}"#).is_ok());
    }

    #[test]
    fn reads_artifacts() {
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI}","artifactType":"application/vnd.example","config":{{"mediaType":"application/vnd.oci.empty.v1+json",
            "digest":"{}","size":2}},"layers":null,"subject":{{"mediaType":"{OCI}","digest":"{}","size":5}},"annotations":{{"a":"b"}}}}"#,
            hex('a'),
            hex('d')
        );
        let artifact = parse(Some(OCI), &text).expect("an artifact");
        assert_eq!(artifact.effective_artifact_type(), Some("application/vnd.example"));
        assert_eq!(artifact.subject.as_ref().map(|s| s.digest.to_string()), Some(hex('d')));
        assert!(!artifact.blobs().next().is_some_and(Descriptor::is_image_config));
    }

    #[test]
    fn refuses_what_is_none() {
        let invalid = |result| matches!(result, Err(ManifestError::Invalid(_)));
        assert!(invalid(parse(Some(OCI), "")));
        assert!(invalid(parse(Some(OCI), "[]")));
        assert!(invalid(parse(Some(OCI), "{}")), "an image needs a config");
        assert!(invalid(parse(Some(OCI), &image("").replace("sha256:a", "sha256:x"))));
        assert!(invalid(parse(Some(OCI), &"[".repeat(100_000))), "deep nesting is refused, not recursed into");
        assert_eq!(parse(None, r#"{"schemaVersion":1,"name":"x"}"#), Err(ManifestError::SchemaOne));
        assert!(matches!(parse(Some("text/html"), &image("")), Err(ManifestError::MediaType(_))));
        let contradicting = image(&format!(r#""mediaType":"{DOCKER}","#));
        assert!(matches!(parse(Some(OCI), &contradicting), Err(ManifestError::MediaTypeMismatch { .. })));
        let huge = Bytes::from(vec![b' '; MAX_SIZE + 1]);
        assert_eq!(Manifest::parse(None, huge), Err(ManifestError::TooLarge));
    }
}
