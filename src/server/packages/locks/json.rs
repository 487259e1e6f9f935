//! Lock files in JSON, npm's and Pipenv's, read as a stream: of a file only the present entry is kept, and what was found.

use std::fmt;
use std::io::{self, BufReader, Read};

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::{Found, broken};
use crate::server::packages::refusal;

/// `package-lock.json` and `npm-shrinkwrap.json`, of all three versions. What is there for development only is left out, and so are the
/// application itself and its workspaces.
pub fn npm<R: Read>(source: R, found: &mut Found<'_>) -> io::Result<()> {
    read(source, Part::Npm, found)
}

/// `Pipfile.lock`, without its part for development.
pub fn pipenv<R: Read>(source: R, found: &mut Found<'_>) -> io::Result<()> {
    read(source, Part::Pipenv, found)
}

fn read<R: Read>(source: R, part: Part, found: &mut Found<'_>) -> io::Result<()> {
    let mut reader = serde_json::Deserializer::from_reader(BufReader::new(source));
    let read = Reading { part, found: &mut *found }.deserialize(&mut reader);
    read.map_err(|error| match found.budget.spent {
        true => refusal("it lists more packages than are kept"),
        false if error.is_io() => error.into(),
        false => broken(&error.to_string()),
    })
}

/// An object of one of the formats.
enum Part {
    /// The whole file.
    Npm,
    /// Since version 2: `"node_modules/a/node_modules/b"`, each with what is there.
    NpmPackages,
    /// Until version 2: `"b"`, each with what it has below itself.
    NpmTree,
    /// One of these, by its name.
    NpmDependency(String),
    /// The whole file.
    Pipenv,
    /// `"flask": {"version": "==3.0.0"}`
    PipenvSection,
}

/// A part that is being read.
struct Reading<'a, 'b> {
    part: Part,
    found: &'a mut Found<'b>,
}

impl<'de> DeserializeSeed<'de> for Reading<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_, '_> {
    type Value = ();

    fn expecting(&self, words: &mut fmt::Formatter<'_>) -> fmt::Result {
        words.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<(), A::Error> {
        match self.part {
            Part::Npm => npm_file(object, self.found),
            Part::NpmPackages => npm_packages(object, self.found),
            Part::NpmTree => npm_tree(object, self.found),
            Part::NpmDependency(name) => npm_dependency(object, &name, self.found),
            Part::Pipenv => pipenv_file(object, self.found),
            Part::PipenvSection => pipenv_section(object, self.found),
        }
    }
}

fn npm_file<'de, A: MapAccess<'de>>(mut object: A, found: &mut Found<'_>) -> Result<(), A::Error> {
    let mut has_packages = false;
    while let Some(key) = object.next_key::<String>()? {
        match key.as_str() {
            "packages" => {
                // Version 2 says all of it twice. This is the better one.
                found.packages.clear();
                has_packages = true;
                object.next_value_seed(Reading { part: Part::NpmPackages, found: &mut *found })?;
            }
            "dependencies" if !has_packages => {
                object.next_value_seed(Reading { part: Part::NpmTree, found: &mut *found })?;
            }
            _ => _ = object.next_value::<IgnoredAny>()?,
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct NpmPackage {
    /// Where it lies in a directory of another name.
    name: Option<String>,
    version: Option<String>,
    #[serde(default)]
    dev: bool,
    /// It is one of the application's own.
    #[serde(default)]
    link: bool,
}

fn npm_packages<'de, A: MapAccess<'de>>(mut object: A, found: &mut Found<'_>) -> Result<(), A::Error> {
    while let Some((path, package)) = object.next_entry::<String, NpmPackage>()? {
        let NpmPackage { name, version, dev, link } = package;
        let Some((_, directory)) = path.rsplit_once("node_modules/").filter(|_| !dev && !link) else { continue };
        let name = name.as_deref().unwrap_or(directory);
        found.add(name, version.as_deref().unwrap_or_default()).map_err(A::Error::custom)?;
    }
    Ok(())
}

fn npm_tree<'de, A: MapAccess<'de>>(mut object: A, found: &mut Found<'_>) -> Result<(), A::Error> {
    while let Some(name) = object.next_key::<String>()? {
        object.next_value_seed(Reading { part: Part::NpmDependency(name), found: &mut *found })?;
    }
    Ok(())
}

fn npm_dependency<'de, A: MapAccess<'de>>(mut object: A, name: &str, found: &mut Found<'_>) -> Result<(), A::Error> {
    let (mut version, mut dev) = (String::new(), false);
    while let Some(key) = object.next_key::<String>()? {
        match key.as_str() {
            "version" => version = object.next_value()?,
            "dev" => dev = object.next_value()?,
            "dependencies" => object.next_value_seed(Reading { part: Part::NpmTree, found: &mut *found })?,
            _ => _ = object.next_value::<IgnoredAny>()?,
        }
    }
    let is_own = version.starts_with("file:") || version.starts_with("link:");
    let (name, version) = match version.strip_prefix("npm:").and_then(|real| real.rsplit_once('@')) {
        Some(real) => real,
        None => (name, version.as_str()),
    };
    if dev || is_own { Ok(()) } else { found.add(name, version).map_err(A::Error::custom) }
}

fn pipenv_file<'de, A: MapAccess<'de>>(mut object: A, found: &mut Found<'_>) -> Result<(), A::Error> {
    while let Some(key) = object.next_key::<String>()? {
        match key.as_str() {
            "default" => object.next_value_seed(Reading { part: Part::PipenvSection, found: &mut *found })?,
            _ => _ = object.next_value::<IgnoredAny>()?,
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Pinned {
    /// What comes from a repository of sources has none.
    version: Option<String>,
}

fn pipenv_section<'de, A: MapAccess<'de>>(mut object: A, found: &mut Found<'_>) -> Result<(), A::Error> {
    while let Some((name, Pinned { version })) = object.next_entry::<String, Pinned>()? {
        let version = version.as_deref().and_then(|version| version.strip_prefix("=="));
        found.add(&name, version.unwrap_or_default()).map_err(A::Error::custom)?;
    }
    Ok(())
}
