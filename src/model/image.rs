//! Images as the store keeps them: immutable, named by the digest of their manifest.

use serde::Serialize;

/// A manifest, or an index of manifests, with what is read out of it when it arrives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewImage {
    pub digest: String,
    pub media_type: String,
    pub artifact_type: Option<String>,
    /// Byte for byte as it came.
    pub manifest: String,
    pub config_digest: Option<String>,
    /// The image configuration byte for byte, when there is one and it is JSON.
    pub config: Option<String>,
    /// The manifest this one refers to (OCI image-spec, `subject`).
    pub subject: Option<String>,
    pub architecture: Option<String>,
    pub os: Option<String>,
    pub variant: Option<String>,
    /// The image's own claim, RFC 3339.
    pub created: Option<String>,
    /// JSON object of the manifest's annotations.
    pub annotations: String,
    pub layers: Vec<ImageLayer>,
    pub children: Vec<ImageChild>,
    /// Digests of children that the repository goes without: of platforms that its stream did not choose.
    pub left_out: Vec<String>,
    /// Distinct layers and configuration, in bytes.
    pub size: i64,
}

impl NewImage {
    /// `os/architecture[/variant]`, of an image that has a configuration.
    pub fn platform(&self) -> Option<String> {
        Some(platform(self.os.as_deref()?, self.architecture.as_deref()?, self.variant.as_deref()))
    }
}

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct ImageLayer {
    pub layer_digest: String,
    pub size: i64,
    pub media_type: String,
}

/// A manifest listed in an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct ImageChild {
    pub child_digest: String,
    pub media_type: String,
    pub size: i64,
    pub architecture: Option<String>,
    pub os: Option<String>,
    pub variant: Option<String>,
}

/// The platform that is shown of an image for several, when nobody asks for another.
pub const USUAL_PLATFORM: &str = "linux/amd64";

impl ImageChild {
    /// `os/architecture[/variant]`. Attestations are listed for the platform `unknown`: they are no images.
    pub fn platform(&self) -> Option<String> {
        let platform = platform(self.os.as_deref()?, self.architecture.as_deref()?, self.variant.as_deref());
        Some(platform).filter(|platform| !platform.starts_with("unknown/"))
    }
}

fn platform(os: &str, architecture: &str, variant: Option<&str>) -> String {
    match variant.filter(|variant| !variant.is_empty()) {
        Some(variant) => format!("{os}/{architecture}/{variant}"),
        None => format!("{os}/{architecture}"),
    }
}

/// A stored image without its layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Image {
    pub digest: String,
    pub media_type: String,
    pub artifact_type: Option<String>,
    pub manifest: String,
    pub size: i64,
    pub config_digest: Option<String>,
    pub config: Option<String>,
    pub subject: Option<String>,
    pub architecture: Option<String>,
    pub os: Option<String>,
    pub variant: Option<String>,
    pub created_claimed: Option<String>,
    pub annotations: String,
    pub first_seen_at: i64,
}

impl Image {
    /// `os/architecture[/variant]`, of an image that has a configuration.
    pub fn platform(&self) -> Option<String> {
        Some(platform(self.os.as_deref()?, self.architecture.as_deref()?, self.variant.as_deref()))
    }
}

/// A manifest as the registry serves it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct StoredManifest {
    pub digest: String,
    pub media_type: String,
    pub manifest: String,
}

/// Whether a manifest of this type is an artifact, such as a chart. Container images have the type of their configuration, their indexes have
/// none.
pub fn is_artifact(artifact_type: Option<&str>) -> bool {
    !matches!(
        artifact_type,
        None | Some("application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json")
    )
}
