//! What an image is built on, and how that is known.

use serde::Serialize;

use super::StreamTag;

/// How a base is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BaseKnown {
    /// It was built here: the build took it in.
    Provenance,
    /// The image's annotations or labels say so.
    Annotation,
    /// Its lowest layers are all the layers of the base.
    Layers,
}

impl BaseKnown {
    /// In words for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Provenance => "its build took it in",
            Self::Annotation => "its annotations or labels say so",
            Self::Layers => "its lowest layers are those of the base",
        }
    }
}

/// What an image is built on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Base {
    pub known: BaseKnown,
    /// As the build or the image names it.
    pub name: Option<String>,
    pub digest: Option<String>,
    /// The tag of this server it came from.
    pub tag: Option<StreamTag>,
    /// How many moves that tag made since it pointed there.
    pub behind: Option<i64>,
}
