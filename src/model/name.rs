//! Names of projects, streams, tags and apps: checked once, where they enter, and carried as types from there on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::PastTag;

/// Why a name was refused; the text tells what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("name or generateName is required")]
    Empty,
    #[error("may not be '{0}'")]
    Dots(String),
    #[error("may not contain '{0}'")]
    Contains(char),
    #[error(
        "must match \"[a-z0-9]+(?:[._-][a-z0-9]+)*\" (lower-case letters, digits, and single '.', '_' or '-' between them)"
    )]
    Stream,
    #[error("'namespace/name' cannot be longer than 255 characters")]
    StreamTooLong,
    #[error(
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character, at most 63 characters"
    )]
    Label,
    #[error(
        "invalid tag \"{0}\" format, tags must start with an alphanumeric character followed by alphanumeric, '.' or '-' characters, and have a maximum of 128 characters"
    )]
    Tag(String),
    #[error(
        "the tag name \"{0}\" cannot be given: names with \"--asof-\" pull a tag as it was, as in latest--asof-20261101T1403Z; choose another name"
    )]
    PastTag(String),
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// A project's name: a DNS-1123 label of at most 63 characters, as Kubernetes namespaces are.
    ProjectName,
    check_label
);
name_type!(
    /// A build config's or an app's name: a DNS-1123 label of at most 63 characters.
    AppName,
    check_label
);
name_type!(
    /// A stream's name: OpenShift's rule, one separator between alphanumeric runs. How long it may be depends on its project:
    /// see [`check_repository`](super::check_repository).
    StreamName,
    check_stream
);
name_type!(
    /// A tag's name, `[\w][\w.-]{0,127}` (OCI distribution-spec, "Pulling manifests"), but for names that pull a tag as it was.
    TagName,
    check_tag
);

fn check_label(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let bytes = text.as_bytes();
    let ends_well = bytes[0] != b'-' && bytes[bytes.len() - 1] != b'-';
    if bytes.len() > 63 || !bytes.iter().copied().all(inner) || !ends_well {
        return Err(NameError::Label);
    }
    Ok(())
}

fn check_stream(text: &str) -> Result<(), NameError> {
    match text {
        "" => return Err(NameError::Empty),
        "." | ".." => return Err(NameError::Dots(text.to_owned())),
        _ => {}
    }
    for forbidden in ['/', '%'] {
        if text.contains(forbidden) {
            return Err(NameError::Contains(forbidden));
        }
    }
    let well_formed = text
        .split(['.', '_', '-'])
        .all(|run| !run.is_empty() && run.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
    if !well_formed {
        return Err(NameError::Stream);
    }
    // Longer than what is left beside a project of one character.
    if text.len() > 253 { Err(NameError::StreamTooLong) } else { Ok(()) }
}

fn check_tag(text: &str) -> Result<(), NameError> {
    if !is_tag(text) {
        return Err(NameError::Tag(text.to_owned()));
    }
    if PastTag::is_meant(text) { Err(NameError::PastTag(text.to_owned())) } else { Ok(()) }
}

/// Whether a text has the form of a tag: one of another registry may be named as ours may not.
pub(in crate::model) fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = text.as_bytes();
    (1..=128).contains(&bytes.len())
        && word(bytes[0])
        && bytes.iter().copied().all(|b| word(b) || b == b'.' || b == b'-')
}

/// A name as the value of a Kubernetes label: at most 63 characters, none of `.-_` at its end.
pub fn label_value(name: &str) -> &str {
    let end = name.char_indices().nth(63).map_or(name.len(), |(end, _)| end);
    name[..end].trim_end_matches(['.', '-', '_'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_1_1_stream_names_take_one_separator_between_runs() {
        for good in ["1", "a", "foo_bar", "foo.bar", "a.b-c_d"] {
            assert!(good.parse::<StreamName>().is_ok(), "{good}");
        }
        for bad in ["foo--bar", "foo__bar", "foo..bar", "-a", "a-", "_a", "Foo", "a/b", "a%b", ".", ".."] {
            assert!(bad.parse::<StreamName>().is_err(), "{bad}");
        }
        assert!("a".repeat(253).parse::<StreamName>().is_ok());
        assert_eq!("a".repeat(254).parse::<StreamName>(), Err(NameError::StreamTooLong));
    }

    #[test]
    fn section_1_2_tags_are_case_sensitive_words_of_up_to_128() {
        for good in ["latest", "v1.0", "2", "_x", &"a".repeat(128)] {
            assert!(good.parse::<TagName>().is_ok(), "{good}");
        }
        for bad in ["", ".a", "-a", "a+b", "a/b", &"a".repeat(129)] {
            assert!(bad.parse::<TagName>().is_err(), "{bad}");
        }
        let past = "latest--asof-20261101T1403Z";
        assert_eq!(past.parse::<TagName>(), Err(NameError::PastTag(past.to_owned())));
        assert!(is_tag(past), "another registry's tag may be named so");
    }

    #[test]
    fn section_1_1_each_mistake_in_a_stream_name_is_said_in_the_words_of_openshift() {
        let shape = "must match \"[a-z0-9]+(?:[._-][a-z0-9]+)*\"";
        for (name, message) in [
            ("", "name or generateName is required"),
            (".", "may not be '.'"),
            ("..", "may not be '..'"),
            ("a/b", "may not contain '/'"),
            ("a%b", "may not contain '%'"),
            // The path rules come first.
            ("A/b", "may not contain '/'"),
            ("foo--bar", shape),
            ("foo__bar", shape),
            ("foo..bar", shape),
            ("Foo", shape),
            ("fóo", shape),
            ("a b", shape),
        ] {
            let error = name.parse::<StreamName>().unwrap_err().to_string();
            assert!(error.starts_with(message), "{name}: {error}");
        }
    }

    #[test]
    fn section_1_2_a_bad_tag_is_refused_in_the_words_of_oc() {
        let error = "a+b".parse::<TagName>().unwrap_err().to_string();
        assert_eq!(
            error,
            "invalid tag \"a+b\" format, tags must start with an alphanumeric character followed by alphanumeric, '.' or '-' \
             characters, and have a maximum of 128 characters"
        );
        assert!("Latest".parse::<TagName>().unwrap() != "latest".parse().unwrap(), "case counts");
    }

    #[test]
    fn section_1_4_label_values_are_cut_to_63_and_end_well() {
        assert_eq!(label_value("httpd-base-14"), "httpd-base-14");
        assert_eq!(label_value(&"a".repeat(70)), "a".repeat(63));
        assert_eq!(label_value(&format!("{}-._bcd", "a".repeat(61))), "a".repeat(61));
        assert_eq!(label_value("é".repeat(70).as_str()), "é".repeat(63), "a character is never cut in two");
    }

    #[test]
    fn section_1_1_project_names_are_dns_labels() {
        assert!("my-project1".parse::<ProjectName>().is_ok());
        for bad in ["", "-a", "a-", "A", "a.b", &"a".repeat(64)] {
            assert!(bad.parse::<ProjectName>().is_err(), "{bad}");
        }
    }
}
