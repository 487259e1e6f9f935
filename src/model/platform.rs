//! Platforms as indexes name them, and those that a stream's imports bring here.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The annotation of a stream that chooses platforms, for instance `linux/amd64, linux/arm64`.
pub const PLATFORMS: &str = "weir.dev/platforms";
/// The most platforms a stream may choose.
const MAX_PLATFORMS: usize = 32;

/// What an image runs on (OCI image-spec, "Image Index": `platform`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
    /// Of the processor, for instance `v7`; none means any.
    pub variant: Option<String>,
}

/// The platforms a stream chose; none of them: all there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Platforms(Vec<Platform>);

/// Why a text names no platforms.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    #[error("\"{0}\" is not a platform: write os/architecture or os/architecture/variant, for instance linux/amd64")]
    Malformed(String),
    #[error("at most {MAX_PLATFORMS} platforms can be chosen")]
    TooMany,
}

impl Platform {
    /// Of Linux on this architecture.
    pub fn linux(architecture: &str) -> Self {
        Self { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: None }
    }

    /// Whether this is, or includes, what an index says of one of its manifests. Variants that say nothing are passed over: every
    /// arm64 is v8, and an arm without one is v7, as container runtimes take it.
    pub fn covers(&self, os: &str, architecture: &str, variant: Option<&str>) -> bool {
        let usual = match architecture {
            "arm64" => Some("v8"),
            "arm" => Some("v7"),
            "amd64" => Some("v1"),
            _ => None,
        };
        let same_variant =
            || self.variant.is_none() || self.variant.as_deref() == variant.filter(|text| !text.is_empty()).or(usual);
        self.os == os && self.architecture == architecture && same_variant()
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let malformed = || PlatformError::Malformed(text.chars().take(60).collect());
        let is_word = |word: &&str| {
            let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
            !word.is_empty() && word.len() <= 32 && word.bytes().all(known)
        };
        let words: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match words[..] {
            _ if !words.iter().all(is_word) => return Err(malformed()),
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant.to_owned())),
            _ => return Err(malformed()),
        };
        // As some systems call theirs.
        let architecture = match architecture {
            "x86_64" | "x86-64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Ok(Self { os: os.to_owned(), architecture: architecture.to_owned(), variant })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl Platforms {
    /// Those that a stream's annotations (a JSON object of text) choose.
    pub fn of(annotations: &str) -> Result<Self, PlatformError> {
        // Most streams choose none, and every import asks.
        match annotations.contains(PLATFORMS) {
            true => Self::written_in(annotations).parse(),
            false => Ok(Self::default()),
        }
    }

    /// What a stream's annotations say of platforms, as it is written; empty when they say nothing.
    pub fn written_in(annotations: &str) -> String {
        let annotations: BTreeMap<String, String> = serde_json::from_str(annotations).unwrap_or_default();
        annotations.get(PLATFORMS).cloned().unwrap_or_default()
    }

    /// The annotations with these platforms instead of those they choose.
    pub fn set_in(&self, annotations: &str) -> String {
        let mut all: BTreeMap<String, String> = serde_json::from_str(annotations).unwrap_or_default();
        match self.is_all() {
            true => all.remove(PLATFORMS),
            false => all.insert(PLATFORMS.to_owned(), self.to_string()),
        };
        serde_json::json!(all).to_string()
    }

    /// Whether none was chosen, so that all are taken.
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    /// In the order they were written.
    pub fn iter(&self) -> impl Iterator<Item = &Platform> {
        self.0.iter()
    }

    /// Whether this is one of them.
    pub fn cover(&self, os: &str, architecture: &str, variant: Option<&str>) -> bool {
        self.is_all() || self.0.iter().any(|platform| platform.covers(os, architecture, variant))
    }
}

impl FromStr for Platforms {
    type Err = PlatformError;

    /// Platforms with commas, spaces or line breaks between them.
    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let mut platforms: Vec<Platform> = Vec::new();
        for word in text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty()) {
            let platform = word.parse()?;
            if !platforms.contains(&platform) {
                platforms.push(platform);
            }
        }
        match platforms.len() {
            0..=MAX_PLATFORMS => Ok(Self(platforms)),
            _ => Err(PlatformError::TooMany),
        }
    }
}

impl fmt::Display for Platforms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(Platform::to_string).collect();
        f.write_str(&words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_read_as_they_are_written() {
        for (text, written) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/amd64,linux/arm/v7", "linux/amd64, linux/arm/v7"),
            (" linux/aarch64\n linux/x86_64,linux/arm64 ", "linux/arm64, linux/amd64"),
            ("windows/amd64", "windows/amd64"),
            ("", ""),
            (" , ", ""),
        ] {
            let platforms: Platforms = text.parse().unwrap();
            assert_eq!(platforms.to_string(), written, "{text}");
            assert_eq!(written.parse(), Ok(platforms));
        }
        for bad in
            ["amd64", "linux/", "/amd64", "linux/arm/v7/x", "Linux/amd64", "linux/amd64;linux/arm64", "linux/ämd64"]
        {
            assert!(bad.parse::<Platforms>().is_err(), "{bad}");
        }
        let many: Vec<String> = (0..=MAX_PLATFORMS).map(|number| format!("linux/a{number}")).collect();
        assert_eq!(many.join(" ").parse::<Platforms>(), Err(PlatformError::TooMany));
    }

    #[test]
    fn a_platform_covers_its_variants_and_the_usual_one() {
        let covers = |chosen: &str, os: &str, architecture: &str, variant: Option<&str>| {
            chosen.parse::<Platform>().unwrap().covers(os, architecture, variant)
        };
        assert!(covers("linux/arm64", "linux", "arm64", None) && covers("linux/arm64", "linux", "arm64", Some("v8")));
        assert!(covers("linux/arm64/v8", "linux", "arm64", None) && !covers("linux/arm64/v9", "linux", "arm64", None));
        assert!(covers("linux/arm", "linux", "arm", Some("v5")) && !covers("linux/arm/v7", "linux", "arm", Some("v5")));
        assert!(covers("linux/arm/v7", "linux", "arm", Some("")) && covers("linux/arm/v7", "linux", "arm", None));
        assert!(!covers("linux/amd64", "windows", "amd64", None) && !covers("linux/amd64", "linux", "arm64", None));
    }

    #[test]
    fn annotations_choose_and_keep_what_else_they_say() {
        assert!(Platforms::of("{}").unwrap().is_all());
        let chosen: Platforms = "linux/arm64".parse().unwrap();
        let annotations = chosen.set_in(r#"{"team":"ä"}"#);
        assert_eq!(annotations, r#"{"team":"ä","weir.dev/platforms":"linux/arm64"}"#);
        assert_eq!(Platforms::of(&annotations), Ok(chosen));
        assert_eq!(Platforms::default().set_in(&annotations), r#"{"team":"ä"}"#);
        assert!(Platforms::of(r#"{"weir.dev/platforms":"all"}"#).is_err());
    }
}
