//! Content digests as OCI writes them: `algorithm:hex`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A content digest, `sha256:<64 hex>`, `sha384:<96 hex>` or `sha512:<128 hex>` in lower case
/// (OCI image-spec, "Digests").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    #[error("\"{0}\" is not a digest: expected <algorithm>:<hex>, for instance sha256:… with 64 hex digits")]
    Shape(String),
    #[error("unsupported digest algorithm \"{0}\": use sha256, sha384 or sha512")]
    Algorithm(String),
    #[error("invalid checksum digest length: {algorithm} takes {expected} hex digits, not {found}")]
    Length { algorithm: String, expected: usize, found: usize },
}

impl Digest {
    /// The digest's algorithm, for instance `sha256`.
    pub fn algorithm(&self) -> &str {
        self.0.split_once(':').map_or("", |(algorithm, _)| algorithm)
    }

    /// The hexadecimal part.
    pub fn hex(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, hex)| hex)
    }

    /// The whole digest as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digest as people read it: the algorithm and the first 12 hex digits.
    pub fn short(&self) -> String {
        shortened(&self.0, 12)
    }
}

/// A digest with so many of its hex digits; other text, which may have colons, too, stays as it is.
pub fn shortened(text: &str, digits: usize) -> String {
    match text.split_once(':') {
        Some((algorithm, hex)) if algorithm.starts_with("sha") => {
            format!("{algorithm}:{}", hex.get(..digits).unwrap_or(hex))
        }
        _ => text.to_owned(),
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((algorithm, hex)) = text.split_once(':') else {
            return Err(DigestError::Shape(text.to_owned()));
        };
        let expected = match algorithm {
            "sha256" => 64,
            "sha384" => 96,
            "sha512" => 128,
            _ => return Err(DigestError::Algorithm(algorithm.to_owned())),
        };
        if !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(DigestError::Shape(text.to_owned()));
        }
        if hex.len() != expected {
            return Err(DigestError::Length { algorithm: algorithm.to_owned(), expected, found: hex.len() });
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl AsRef<str> for Digest {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_1_3_reads_the_three_algorithms() {
        for (algorithm, length) in [("sha256", 64), ("sha384", 96), ("sha512", 128)] {
            let text = format!("{algorithm}:{}", "a".repeat(length));
            let digest: Digest = text.parse().unwrap();
            assert_eq!(digest.as_str(), text);
            assert_eq!(digest.short(), format!("{algorithm}:aaaaaaaaaaaa"));
        }
    }

    #[test]
    fn shortens_digests_and_nothing_else() {
        assert_eq!(shortened(&format!("sha256:{}", "ab".repeat(32)), 7), "sha256:abababa");
        for other in ["sha256:ab", "base:latest", "localhost:5000/base", ""] {
            assert_eq!(shortened(other, 7), other);
        }
    }

    #[test]
    fn refuses_what_is_no_digest() {
        assert!(matches!("abc".parse::<Digest>(), Err(DigestError::Shape(_))));
        assert!(matches!("SHA256:00".parse::<Digest>(), Err(DigestError::Algorithm(_))));
        assert!(matches!("sha256:00".parse::<Digest>(), Err(DigestError::Length { .. })));
        let upper = format!("sha256:{}", "A".repeat(64));
        assert!(matches!(upper.parse::<Digest>(), Err(DigestError::Shape(_))));
    }
}
