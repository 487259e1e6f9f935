//! How what is in a stream is named: `stream:tag`, `stream@digest`, `project/stream`, and digests that are written in part.
//!
//! Creating takes checked names; reading and deleting take any, since tags of old may have names that could not be given any more.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Digest, NameError, ProjectName, StreamName, TagName};

/// The tag that is meant when none is written.
pub const LATEST: &str = "latest";

/// A stream's tag by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamTag {
    pub project: String,
    pub stream: String,
    pub tag: String,
}

impl StreamTag {
    /// `[project/]stream[:tag]` as it is written in `project`; without a tag it is `latest`.
    pub fn parse(text: &str, project: &str) -> Result<Self, NameError> {
        let found = Self::split(text, project);
        if found.project != project {
            found.project.parse::<ProjectName>()?;
        }
        found.stream.parse::<StreamName>()?;
        found.tag.parse::<TagName>()?;
        Ok(found)
    }

    /// [`StreamTag::parse`] for what was checked before.
    pub fn split(text: &str, project: &str) -> Self {
        let (project, rest) = text.split_once('/').unwrap_or((project, text));
        let (stream, tag) = split_title(rest);
        Self { project: project.to_owned(), stream: stream.to_owned(), tag: tag.to_owned() }
    }

    /// `<stream>:<tag>`
    pub fn title(&self) -> String {
        format!("{}:{}", self.stream, self.tag)
    }

    /// As it is written in `project`: with its own project only when that is another one.
    pub fn title_in(&self, project: &str) -> String {
        if self.project == project { self.title() } else { self.to_string() }
    }
}

impl fmt::Display for StreamTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.project, self.stream, self.tag)
    }
}

/// The first colon parts stream and tag; a missing or empty tag is `latest`.
fn split_title(text: &str) -> (&str, &str) {
    match text.split_once(':') {
        Some((stream, "")) => (stream, LATEST),
        Some((stream, tag)) => (stream, tag),
        None => (text, LATEST),
    }
}

/// `<stream>:<tag>` as somebody makes it or means it; without a tag it is `latest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagTitle {
    pub stream: StreamName,
    pub tag: TagName,
}

impl TagTitle {
    /// Both halves of a title that is looked up or deleted: neither is missing, and no check of what may be given today.
    pub fn halves(text: &str) -> Option<(&str, &str)> {
        let (stream, tag) = text.split_once(':')?;
        (!stream.is_empty() && !tag.is_empty() && !tag.contains(':')).then_some((stream, tag))
    }
}

impl FromStr for TagTitle {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (stream, tag) = split_title(text);
        Ok(Self { stream: stream.parse()?, tag: tag.parse()? })
    }
}

impl fmt::Display for TagTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.stream, self.tag)
    }
}

/// `<stream>@<id>`, both halves there; the id may be a digest written in part.
pub fn image_halves(text: &str) -> Option<(&str, &str)> {
    let (stream, id) = text.split_once('@')?;
    (!stream.is_empty() && !id.is_empty() && !id.contains('@')).then_some((stream, id))
}

/// The name of a repository of this registry, `<project>/<stream>`, at most 255 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryName {
    pub project: ProjectName,
    pub stream: StreamName,
}

/// The longest `<project>/<stream>` that can be pushed to.
const MAX_REPOSITORY: usize = 255;

impl RepositoryName {
    /// Of names that were checked each by itself.
    pub fn new(project: ProjectName, stream: StreamName) -> Result<Self, NameError> {
        check_repository(project.as_str(), stream.as_str())?;
        Ok(Self { project, stream })
    }
}

/// Refuses a stream's name that is too long for its project.
pub fn check_repository(project: &str, stream: &str) -> Result<(), NameError> {
    if project.len() + 1 + stream.len() > MAX_REPOSITORY { Err(NameError::StreamTooLong) } else { Ok(()) }
}

impl FromStr for RepositoryName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (project, stream) = text.split_once('/').unwrap_or((text, ""));
        Self::new(project.parse()?, stream.parse()?)
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.project, self.stream)
    }
}

/// A digest, or its beginning: of the whole, `sha256:3c87` or `sha`, or of its hexadecimal part, `3c87`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestPrefix {
    algorithm: Algorithm,
    hex: String,
}

/// What an abbreviated digest says of its algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Algorithm {
    /// Nothing: only hexadecimal digits were written.
    Any,
    /// Its beginning, and no more than that.
    Begins(String),
    Is(String),
}

impl Algorithm {
    fn covers(&self, algorithm: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Begins(beginning) => algorithm.starts_with(beginning),
            Self::Is(known) => algorithm == known,
        }
    }
}

/// Why a text is not the beginning of a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not the beginning of a digest: write its first hexadecimal digits, with or without sha256: before them"
)]
pub struct DigestPrefixError(String);

const ALGORITHMS: [&str; 3] = ["sha256", "sha384", "sha512"];

impl DigestPrefix {
    /// So many digits are enough to look for an image by them among others.
    pub const DISTINCT: usize = 7;

    /// Whether it is long enough to be looked for by itself.
    pub fn is_distinct(&self) -> bool {
        self.hex.len() >= Self::DISTINCT
    }

    /// Whether the digest begins so.
    pub fn matches(&self, digest: &Digest) -> bool {
        self.algorithm.covers(digest.algorithm()) && digest.hex().starts_with(&self.hex)
    }

    /// The digest, when nothing of it is left out.
    pub fn whole(&self) -> Option<Digest> {
        self.to_string().parse().ok()
    }

    /// Where digests that begin so lie in their order, one range for each algorithm: from the first text to before the second. Where not
    /// all algorithms are meant, those that are stand there more than once.
    pub fn ranges(&self) -> [(String, String); 3] {
        let mut meant = ALGORITHMS.into_iter().filter(|algorithm| self.algorithm.covers(algorithm)).cycle();
        ALGORITHMS.map(|algorithm| {
            let begin = format!("{}:{}", meant.next().unwrap_or(algorithm), self.hex);
            // No hexadecimal digit comes after f.
            let end = format!("{begin}g");
            (begin, end)
        })
    }
}

impl FromStr for DigestPrefix {
    type Err = DigestPrefixError;

    fn from_str(text: &str) -> Result<Self, DigestPrefixError> {
        let refused = || DigestPrefixError(text.chars().take(160).collect());
        let (algorithm, hex) = match text.split_once(':') {
            Some((algorithm, hex)) if ALGORITHMS.contains(&algorithm) => (Algorithm::Is(algorithm.to_owned()), hex),
            Some(_) => return Err(refused()),
            None if text.is_empty() => return Err(refused()),
            // No hexadecimal digits begin like the name of an algorithm.
            None if ALGORITHMS.iter().any(|algorithm| algorithm.starts_with(text)) => {
                (Algorithm::Begins(text.to_owned()), "")
            }
            None => (Algorithm::Any, text),
        };
        let digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if hex.len() > 128 || !hex.bytes().all(digit) {
            return Err(refused());
        }
        Ok(Self { algorithm, hex: hex.to_owned() })
    }
}

impl fmt::Display for DigestPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.algorithm {
            Algorithm::Any => f.write_str(&self.hex),
            Algorithm::Begins(beginning) => f.write_str(beginning),
            Algorithm::Is(algorithm) => write!(f, "{algorithm}:{}", self.hex),
        }
    }
}

/// What a tag of a stream follows or is pinned to, as its `from.name` says: without a stream it is the tag's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceName {
    /// `<tag>` or `<stream>:<tag>`
    Tag { stream: Option<StreamName>, tag: TagName },
    /// `<id>` or `<stream>@<id>`
    Image { stream: Option<StreamName>, id: DigestPrefix },
}

/// Why a `from.name` names nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceNameError {
    #[error("must be of the form <tag>, <repo>:<tag>, <id>, or <repo>@<id>")]
    Form,
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Digest(#[from] DigestPrefixError),
}

impl SourceName {
    /// Of an `ImageStreamTag`.
    pub fn tag(text: &str) -> Result<Self, SourceNameError> {
        if text.contains(['/', '@']) {
            return Err(SourceNameError::Form);
        }
        let (stream, tag) = match text.split_once(':') {
            None => (None, text),
            Some(_) => {
                let (stream, tag) = TagTitle::halves(text).ok_or(SourceNameError::Form)?;
                (Some(stream.parse()?), tag)
            }
        };
        Ok(Self::Tag { stream, tag: tag.parse()? })
    }

    /// Of an `ImageStreamImage`.
    pub fn image(text: &str) -> Result<Self, SourceNameError> {
        if text.contains('/') {
            return Err(SourceNameError::Form);
        }
        let (stream, id) = match text.split_once('@') {
            None => (None, text),
            Some(_) => {
                let (stream, id) = image_halves(text).ok_or(SourceNameError::Form)?;
                (Some(stream.parse()?), id)
            }
        };
        Ok(Self::Image { stream, id: id.parse()? })
    }
}

#[cfg(test)]
mod tests;
