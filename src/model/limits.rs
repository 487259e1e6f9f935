//! What a project's streams may grow to, as OpenShift's `LimitRange` says it of images and image streams.

use super::{counted, size_words};

/// The limits of a project's streams; absent: as much as there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "ssr", derive(sqlx::FromRow))]
pub struct ProjectLimits {
    /// The most bytes of one image (`openshift.io/Image`, `storage`).
    pub image_bytes: Option<i64>,
    /// The most different images in the histories of a stream's tags (`openshift.io/ImageStream`, `openshift.io/images`).
    pub stream_images: Option<i64>,
    /// The most tags of a stream that somebody said what they should be (`openshift.io/ImageStream`, `openshift.io/image-tags`).
    pub stream_tags: Option<i64>,
}

impl ProjectLimits {
    /// Each limit with its name in REST and in the ledger.
    pub fn named(&self) -> [(&'static str, Option<i64>); 3] {
        [("imageBytes", self.image_bytes), ("streamImages", self.stream_images), ("streamTags", self.stream_tags)]
    }

    /// `imageBytes 1000, streamTags 5`; nothing where there is no limit.
    pub fn words(&self) -> Option<String> {
        let set: Vec<String> =
            self.named().into_iter().filter_map(|(name, most)| Some(format!("{name} {}", most?))).collect();
        (!set.is_empty()).then(|| set.join(", "))
    }
}

/// A project's limit that something would go beyond.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BeyondLimit {
    #[error(
        "the image has {} and images of the project {project} may have {}: make it smaller or ask for a larger limit",
        size_words(*.bytes),
        size_words(*.most)
    )]
    ImageBytes { project: String, bytes: i64, most: i64 },
    #[error(
        "the stream {stream} may have {} in the histories of its tags: delete tags or ask for a larger limit",
        counted(*.most, "different image")
    )]
    StreamImages { stream: String, most: i64 },
    #[error(
        "the stream {stream} may have {}: delete some or ask for a larger limit",
        counted(*.most, "following tag")
    )]
    StreamTags { stream: String, most: i64 },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_told_in_words() {
        let some = ProjectLimits { image_bytes: Some(1000), stream_images: None, stream_tags: Some(5) };
        assert_eq!(some.words().as_deref(), Some("imageBytes 1000, streamTags 5"));
        assert_eq!(ProjectLimits::default().words(), None);
        let beyond = BeyondLimit::ImageBytes { project: "demo".to_owned(), bytes: 2_000_000, most: 1_500_000 };
        assert_eq!(
            beyond.to_string(),
            "the image has 2.0 MB and images of the project demo may have 1.5 MB: make it smaller or ask for a larger limit"
        );
    }
}
