//! Lists of packages that languages keep: Python's and Node's, one file for each package, Ruby's, whose names of files say all, and Composer's
//! for PHP. What a file may have is bounded.

use std::fmt;
use std::io::{self, Read};

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::layer::Budget;
use super::lists::{Lines, Record, word};
use super::refusal;
use crate::model::Package;

/// The largest manifest of a Node package.
const MAX_MANIFEST: u64 = 1024 * 1024;
/// The largest list of Composer's.
const MAX_LIST: u64 = 16 * 1024 * 1024;
/// Metadata of a Python package name it in their first lines.
const MAX_METADATA_LINES: usize = 1000;

/// The metadata of one Python package: headers as in mail, up to the first empty line.
pub fn python<R: Read>(source: R) -> io::Result<Option<Package>> {
    let (mut lines, mut record) = (Lines::of(source), Record::default());
    for _ in 0..MAX_METADATA_LINES {
        let Some(line) = lines.next()?.filter(|line| !line.is_empty()) else { break };
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        match line[..colon].to_ascii_lowercase().as_slice() {
            b"name" => record.name = word(&line[colon + 1..]),
            b"version" => record.version = word(&line[colon + 1..]),
            _ => {}
        }
    }
    Ok(record.finish())
}

/// The manifest of one package of Node's. Directories of packages also have manifests that only say how modules load: no package.
pub fn npm<R: Read>(source: R) -> io::Result<Option<Package>> {
    #[derive(Deserialize)]
    struct Manifest {
        name: Option<String>,
        version: Option<String>,
    }
    let mut text = Vec::new();
    source.take(MAX_MANIFEST + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_MANIFEST {
        return Err(refusal("it is larger than 1 MiB"));
    }
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| refusal(format!("it does not read: {error}")))?;
    let (name, version) = (manifest.name.unwrap_or_default(), manifest.version.unwrap_or_default());
    Ok(Record::of(name.as_bytes(), version.as_bytes()).finish())
}

/// One gem, by the path of its specification: `…/specifications/<name>-<version>[-<platform>].gemspec`. The file itself is a program.
pub fn gem(path: &str) -> Option<Package> {
    let title = path.rsplit('/').next()?.strip_suffix(".gemspec")?;
    // Names and platforms have hyphens and digits, too; a version begins with a digit, and nearly always has dots.
    let parts =
        || title.match_indices('-').map(|(at, _)| (at + 1, title[at + 1..].split('-').next().unwrap_or_default()));
    let begins = |part: &str| part.starts_with(|c: char| c.is_ascii_digit());
    let dotted = parts().rfind(|(_, part)| begins(part) && part.contains('.'));
    let (start, _) = dotted.or_else(|| parts().rfind(|(_, part)| begins(part)))?;
    let (version, platform) = match title[start..].split_once('-') {
        Some((version, platform)) => (version, Some(platform)),
        None => (&title[start..], None),
    };
    let package = Record::of(&title.as_bytes()[..start - 1], version.as_bytes()).finish()?;
    Some(Package { architecture: platform.map(|platform| word(platform.as_bytes())), ..package })
}

/// `vendor/composer/installed.json`: a list of packages, since Composer 2 within an object.
pub fn composer<R: Read>(source: R, budget: &mut Budget) -> io::Result<Vec<Package>> {
    let mut reader = serde_json::Deserializer::from_reader(io::BufReader::new(source.take(MAX_LIST)));
    Installed(&mut *budget).deserialize(&mut reader).map_err(|error| match budget.spent {
        true => refusal("it lists more packages than are kept"),
        false if error.is_io() => error.into(),
        false => refusal(format!("it does not read: {error}")),
    })
}

/// Reads a list package by package, so that it is given up as soon as it has too many.
struct Installed<'a>(&'a mut Budget);

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    name: String,
    #[serde(default)]
    version: String,
}

impl<'de> DeserializeSeed<'de> for Installed<'_> {
    type Value = Vec<Package>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Installed<'_> {
    type Value = Vec<Package>;

    fn expecting(&self, words: &mut fmt::Formatter<'_>) -> fmt::Result {
        words.write_str("a list of packages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut packages = Vec::new();
        while let Some(Entry { name, version }) = list.next_element()? {
            if let Some(package) = Record::of(name.as_bytes(), version.as_bytes()).finish() {
                self.0.take(&package).map_err(A::Error::custom)?;
                packages.push(package);
            }
        }
        Ok(packages)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let Self(budget) = self;
        let mut packages = Vec::new();
        while let Some(key) = object.next_key::<String>()? {
            if key == "packages" {
                packages = object.next_value_seed(Installed(&mut *budget))?;
            } else {
                object.next_value::<IgnoredAny>()?;
            }
        }
        Ok(packages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::packages::{Limits, in_words};

    fn package(name: &str, version: &str) -> Package {
        Package { name: name.to_owned(), version: version.to_owned(), architecture: None, source: None }
    }

    fn budget(packages: usize) -> Budget {
        Budget::of(&Limits { packages, ..Limits::default() })
    }

    #[test]
    fn reads_what_languages_write() {
        let metadata = "Metadata-Version: 2.1\nName: requests\nVersion: 2.31.0\nSummary: x\n\nName: lie\n";
        assert_eq!(python(metadata.as_bytes()).unwrap(), Some(package("requests", "2.31.0")));
        let manifest = r#"{"name": "@types/node", "version": "20.1.0", "private": true, "dependencies": {"a": "^1"}}"#;
        assert_eq!(npm(manifest.as_bytes()).unwrap(), Some(package("@types/node", "20.1.0")));
        assert_eq!(npm(&br#"{"type": "module"}"#[..]).unwrap(), None);
        assert!(npm(&b"{"[..]).is_err());
        assert!(in_words(&npm(io::repeat(b' ')).unwrap_err()).contains("1 MiB"));
    }

    #[test]
    fn a_gem_is_known_by_the_name_of_its_file() {
        for (title, name, version, platform) in [
            ("rack-3.0.8", "rack", "3.0.8", None),
            ("aws-sdk-s3-1.143.0", "aws-sdk-s3", "1.143.0", None),
            ("nokogiri-1.15.4-x86_64-linux", "nokogiri", "1.15.4", Some("x86_64-linux")),
            ("x-25519-1.0.pre1", "x-25519", "1.0.pre1", None),
            ("thor-3", "thor", "3", None),
            ("ffi-1.16.3-arm64-darwin-22", "ffi", "1.16.3", Some("arm64-darwin-22")),
        ] {
            let found = gem(&format!("usr/local/bundle/specifications/{title}.gemspec"));
            let architecture = platform.map(str::to_owned);
            assert_eq!(found, Some(Package { architecture, ..package(name, version) }), "{title}");
        }
        for title in ["rack", "-1.0", "rack-", "rack-x.y"] {
            assert_eq!(gem(&format!("specifications/{title}.gemspec")), None, "{title}");
        }
    }

    #[test]
    fn reads_what_composer_writes() {
        let list =
            r#"[{"name": "monolog/monolog", "version": "3.5.0", "require": {"php": ">=8"}}, {"name": "no/version"}]"#;
        let object = format!(r#"{{"dev": true, "packages": {list}, "dev-package-names": []}}"#);
        for text in [list, &object] {
            assert_eq!(composer(text.as_bytes(), &mut budget(10)).unwrap(), [package("monolog/monolog", "3.5.0")]);
        }
        for text in ["", "7", "[7]", r#"{"packages": 7}"#, r#"[{"name": "a""#] {
            assert!(composer(text.as_bytes(), &mut budget(10)).is_err(), "{text}");
        }
        let many = format!("[{}]", [r#"{"name": "a", "version": "1"}"#; 12].join(","));
        let mut small = budget(10);
        let refused = composer(many.as_bytes(), &mut small).unwrap_err();
        assert!(small.spent && in_words(&refused).contains("it lists more packages"), "{refused}");
        let deep = "[".repeat(100_000);
        assert!(composer(deep.as_bytes(), &mut budget(10)).is_err());
        assert!(composer(io::repeat(b' '), &mut budget(10)).is_err(), "it ends");
    }
}
