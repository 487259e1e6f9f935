//! Which tags of a repository are meant: all, or those whose whole name fits a glob, a regular expression or a range of versions.

use globset::{GlobBuilder, GlobMatcher};
use regex::bytes::{Regex, RegexBuilder};
use semver::VersionReq;

use super::tag_order::lenient_version;
use super::text_enum::text_enum;

/// The most characters of a glob: no tag's name is longer.
const LONGEST_GLOB: usize = 128;
/// The most characters of other patterns.
const LONGEST: usize = 256;
/// The most memory a regular expression may take as a program: each character of a tag may have to be held against all of it.
const REGEX_SIZE: usize = 8 * 1024;
/// The most memory for what makes it fast.
const REGEX_CACHE: usize = 128 * 1024;
/// The length of a sha256 digest in hexadecimal.
const HEX_LENGTH: usize = 64;

text_enum! {
    /// How a pattern is written.
    PatternKind {
        /// Every tag; what is attached to an image under its digest is none.
        All = "all",
        Glob = "glob",
        Regex = "regex",
        /// A range of semantic versions.
        Semver = "semver",
    }
}

/// Why a pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatternError(String);

impl PatternError {
    /// Of a pattern that is not done with a list of tags in time.
    pub(super) fn too_slow(tags: usize) -> Self {
        Self(format!("the pattern takes too long over {tags} tags: write a simpler one"))
    }
}

/// A pattern, ready to be asked.
#[derive(Debug, Clone)]
pub enum TagPattern {
    All,
    Glob(GlobMatcher),
    Regex(Regex),
    Semver(VersionReq),
}

impl TagPattern {
    /// Reads a pattern. One that means every tag has no text.
    pub fn parse(kind: PatternKind, text: &str) -> Result<Self, PatternError> {
        if kind == PatternKind::All {
            return match text {
                "" => Ok(Self::All),
                _ => Err(PatternError(
                    "all tags are taken without a pattern: leave it empty, or say of which kind it is".into(),
                )),
            };
        }
        match text.len() {
            0 => return Err(PatternError("a pattern may not be empty".to_owned())),
            length if length > LONGEST => {
                return Err(PatternError(format!("a pattern may have at most {LONGEST} characters")));
            }
            _ => {}
        }
        match kind {
            PatternKind::Regex => regex(text).map(Self::Regex),
            PatternKind::Semver => range(text).map(Self::Semver),
            PatternKind::All | PatternKind::Glob => tag_glob(text).map(Self::Glob),
        }
    }

    /// Whether a tag of that name is meant. Of versions before a release only those are that the range itself names one of.
    pub fn fits(&self, tag: &str) -> bool {
        match self {
            Self::All => !is_attached(tag),
            Self::Glob(glob) => glob.is_match(tag),
            Self::Regex(regex) => regex.is_match(tag.as_bytes()),
            Self::Semver(range) => lenient_version(tag).is_some_and(|version| range.matches(&version)),
        }
    }
}

/// A glob over tags' names; the refusal tells why no tag can match it.
pub fn tag_glob(pattern: &str) -> Result<GlobMatcher, PatternError> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_.-*?[]{},!^".contains(&b);
    if pattern.is_empty() {
        return Err(PatternError("a pattern may not be empty".to_owned()));
    }
    if pattern.len() > LONGEST_GLOB {
        return Err(PatternError(format!("a pattern may have at most {LONGEST_GLOB} characters")));
    }
    if !pattern.bytes().all(fits) {
        return Err(PatternError(format!(
            "\"{pattern}\" matches no tag: tags have letters, digits, '_', '.' and '-'; patterns also *, ?, [a-z] and {{a,b}}"
        )));
    }
    let glob = GlobBuilder::new(pattern).build();
    glob.map(|glob| glob.compile_matcher()).map_err(|error| PatternError(format!("\"{pattern}\": {}", error.kind())))
}

/// A regular expression that the whole name has to match. Tags are ASCII.
fn regex(text: &str) -> Result<Regex, PatternError> {
    let build = |text: &str| {
        let mut builder = RegexBuilder::new(text);
        builder.unicode(false).size_limit(REGEX_SIZE).dfa_size_limit(REGEX_CACHE).build()
    };
    // By itself first: what closes a group that it never opened would end the one around it.
    build(text).and_then(|_| build(&format!("^(?:{text})$"))).map_err(|error| {
        PatternError(match error {
            regex::Error::CompiledTooBig(_) => format!("\"{text}\" is too large a regular expression"),
            error => {
                let words = error.to_string();
                let why = words.rsplit("error: ").next().unwrap_or(&words).trim();
                format!("\"{text}\" is not a regular expression: {why}")
            }
        })
    })
}

fn range(text: &str) -> Result<VersionReq, PatternError> {
    VersionReq::parse(text).map_err(|error| {
        PatternError(format!(
            "\"{text}\" is not a range of versions: {error}. Write for instance 3.*, ~1.4 or >=3.6, <4 (with a comma)"
        ))
    })
}

/// What clients put beside an image under the name of its digest: signatures, attestations.
fn is_attached(tag: &str) -> bool {
    let hex = |rest: &str| {
        rest.len() >= HEX_LENGTH
            && rest.bytes().take(HEX_LENGTH).all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    tag.strip_prefix("sha256-").is_some_and(hex)
}

#[cfg(test)]
mod tests {
    use super::PatternKind::{All, Glob, Regex, Semver};
    use super::*;

    #[test]
    fn patterns_fit_whole_names() {
        let signature = format!("sha256-{}.sig", "0a".repeat(32));
        let table: &[(PatternKind, &str, &[&str], &[&str])] = &[
            (All, "", &["latest", "3.6", "sha256-short"], &[&signature]),
            (Glob, "3.*", &["3.6", "3.", "3.6-slim"], &["3", "13.6", "v3.6"]),
            (Glob, "v[0-9]*", &["v2", "v2.1"], &["vnext", "rev2"]),
            (Glob, "{stable,lts}", &["lts"], &["lts2"]),
            (Glob, "V*", &["V1"], &["v1"]),
            (Regex, r"3\.\d+", &["3.6", "3.12"], &["3.6-slim", "13.6", "3x6"]),
            (Regex, "a|ab", &["a", "ab"], &["abc", "xa"]),
            (Regex, "(?i)RC[0-9]", &["rc1"], &["rc1x"]),
            (
                Regex,
                r"v?(0|[1-9]\d*)\.(0|[1-9]\d*)(\.\d{1,8})?(-(alpha|beta|rc)\.?\d+)?(-slim|-alpine\d*)?",
                &["v3.6.1-rc.2"],
                &["x"],
            ),
            (Regex, r"\w+-slim", &["bookworm-slim"], &["-slim"]),
            (Semver, "3.*", &["3", "3.6", "v3.6.1", "3.99.0"], &["4.0", "2.9", "3.6-rc1", "latest", "3.6.1.2"]),
            (Semver, ">=3.6, <4", &["3.6", "3.10.2"], &["3.5.9", "4", "3.7.0-rc1"]),
            (Semver, "~1.4", &["1.4.9", "v1.4"], &["1.5.0", "1.3.9"]),
            (Semver, "^1.2.3", &["1.9", "1.2.3"], &["1.2.2", "2.0.0"]),
            (Semver, ">=1.5.0-rc1", &["1.5.0-rc2", "1.5.0", "1.6.0"], &["1.6.0-rc1", "1.5.0-beta"]),
            (Semver, "*", &["1", "0.0.1"], &["1.0.0-alpha", "slim"]),
        ];
        for (kind, pattern, yes, no) in table {
            let parsed = TagPattern::parse(*kind, pattern).unwrap_or_else(|error| panic!("{kind} {pattern}: {error}"));
            for tag in *yes {
                assert!(parsed.fits(tag), "{kind} {pattern} is to fit {tag}");
            }
            for tag in *no {
                assert!(!parsed.fits(tag), "{kind} {pattern} is not to fit {tag}");
            }
        }
    }

    #[test]
    fn patterns_that_cannot_be_say_why() {
        let long = "a".repeat(129);
        let longer = "a".repeat(257);
        let table = [
            (All, "*", "leave it empty"),
            (Glob, "", "may not be empty"),
            (Glob, "v 1", "matches no tag"),
            (Glob, "a/b", "matches no tag"),
            (Glob, "v[", "\"v[\": unclosed character class"),
            (Glob, &long, "at most 128 characters"),
            (Regex, "", "may not be empty"),
            (Regex, "v(", "\"v(\" is not a regular expression: unclosed group"),
            (Regex, "a)|(b", "unopened group"),
            (Regex, "(?x)a #", "is not a regular expression"),
            (Regex, "*", "repetition operator missing expression"),
            (Regex, "(?:[0-9]{500}){500}", "too large"),
            (Regex, r"(?:[a-z0-9._-]{1,20}x){20}", "too large"),
            (Regex, &longer, "at most 256 characters"),
            (Semver, "latest", "is not a range of versions"),
            (Semver, ">=3.6 <4", "with a comma"),
            (Semver, "1.2.3.4", "is not a range of versions"),
        ];
        for (kind, pattern, words) in table {
            let error = TagPattern::parse(kind, pattern).expect_err(pattern).to_string();
            assert!(error.contains(words), "{kind} {pattern}: {error}");
        }
    }
}
