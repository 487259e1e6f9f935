//! Lock files of applications: what was meant to be installed, for images in which nothing tells what is. Where they lie, and who reads which.
//! All of them are written by programs and read as they are written: JSON as a stream, everything else line by line.

mod go;
mod json;
mod text;
mod toml;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io::{self, Read};

use super::layer::Budget;
use super::lists::{Lines, Record};
use super::{languages, refusal};
use crate::model::{Package, PackageKind};

/// The largest lock file that is read. Those of the largest front ends have some 5 MiB.
const MAX_SIZE: u64 = 16 * 1024 * 1024;
/// The largest `go.mod`: all of it is kept until its end, where it may say that something is replaced.
const MAX_GO_MOD: u64 = 1024 * 1024;

/// Directories of what was installed, copied in or fetched: lock files in them are not the application's.
const FOREIGN: [&str; 6] = ["node_modules", "bower_components", "site-packages", "dist-packages", "vendor", "gems"];
/// The same, where it takes two names to tell.
const FOREIGN_PAIRS: [[&str; 2]; 7] = [
    ["cargo", "registry"],
    [".cargo", "registry"],
    ["cargo", "git"],
    [".cargo", "git"],
    ["pkg", "mod"],
    [".m2", "repository"],
    [".gradle", "caches"],
];
/// Where systems keep what is theirs: Go with its own modules and tests, Rust's sources, Debian's packages for Node, examples.
const SYSTEM: [&str; 7] = [
    "usr/local/go",
    "usr/lib/go",
    "usr/lib/golang",
    "usr/share/go",
    "usr/local/rustup",
    "usr/share/nodejs",
    "usr/share/doc",
];

/// The format of a lock file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// `package-lock.json` and `npm-shrinkwrap.json`.
    Npm,
    /// `yarn.lock`, of yarn 1 and of what came after.
    Yarn,
    Cargo,
    GoMod,
    /// `go.sum`, which names more than is used.
    GoSum,
    Bundler,
    Composer,
    Pipenv,
    Poetry,
    Uv,
    /// `requirements.txt`, as far as it pins versions.
    Requirements,
}

impl Lock {
    /// The format of the lock file of an application with this path, if it is one.
    pub fn of(directory: &str, name: &str) -> Option<Self> {
        let lock = match name {
            "package-lock.json" | "npm-shrinkwrap.json" => Self::Npm,
            "yarn.lock" => Self::Yarn,
            "Cargo.lock" => Self::Cargo,
            "go.mod" => Self::GoMod,
            "go.sum" => Self::GoSum,
            "Gemfile.lock" => Self::Bundler,
            "composer.lock" => Self::Composer,
            "Pipfile.lock" => Self::Pipenv,
            "poetry.lock" => Self::Poetry,
            "uv.lock" => Self::Uv,
            "requirements.txt" => Self::Requirements,
            _ => return None,
        };
        (!is_foreign(directory)).then_some(lock)
    }

    /// The kind of its packages.
    pub fn kind(self) -> PackageKind {
        match self {
            Self::Npm | Self::Yarn => PackageKind::Npm,
            Self::Cargo => PackageKind::Cargo,
            Self::GoMod | Self::GoSum => PackageKind::Go,
            Self::Bundler => PackageKind::Gem,
            Self::Composer => PackageKind::Composer,
            Self::Pipenv | Self::Poetry | Self::Uv | Self::Requirements => PackageKind::Python,
        }
    }

    fn max_size(self) -> u64 {
        if self == Self::GoMod { MAX_GO_MOD } else { MAX_SIZE }
    }
}

/// Whether a directory belongs to something that was installed or fetched.
fn is_foreign(directory: &str) -> bool {
    let mut before = "";
    let is_in_tree = directory.split('/').any(|name| {
        let pair = [std::mem::replace(&mut before, name), name];
        FOREIGN.contains(&name) || FOREIGN_PAIRS.contains(&pair)
    });
    // There may be several versions of Go side by side: `usr/lib/go-1.22`.
    let is_of =
        |system: &str| directory.strip_prefix(system).is_some_and(|rest| !rest.starts_with(char::is_alphabetic));
    is_in_tree || SYSTEM.into_iter().any(is_of)
}

/// Reads a lock file of so many bytes.
pub fn read<R: Read>(source: R, size: u64, lock: Lock, budget: &mut Budget) -> io::Result<Vec<Package>> {
    if size > lock.max_size() {
        return Err(refusal(format!("it is larger than {} MiB", lock.max_size() / 1024 / 1024)));
    }
    let mut found = Found { packages: BTreeSet::new(), budget };
    match lock {
        Lock::Npm => json::npm(source, &mut found)?,
        Lock::Pipenv => json::pipenv(source, &mut found)?,
        Lock::Cargo | Lock::Poetry | Lock::Uv => toml::read(source, lock, &mut found)?,
        Lock::Yarn => text::yarn(source, &mut found)?,
        Lock::Bundler => text::bundler(source, &mut found)?,
        Lock::Requirements => text::requirements(source, &mut found)?,
        Lock::GoMod => go::module(source, &mut found)?,
        Lock::GoSum => go::sums(source, &mut found)?,
        Lock::Composer => found.packages.extend(languages::composer(source, found.budget)?),
    }
    Ok(found.packages.into_iter().collect())
}

/// What a lock file names, each once: many name a package for each place that wants it, or for each platform.
struct Found<'a> {
    packages: BTreeSet<Package>,
    budget: &'a mut Budget,
}

impl Found<'_> {
    fn add(&mut self, name: &str, version: &str) -> io::Result<()> {
        let package = Record::of(name.as_bytes(), version.as_bytes()).finish();
        if let Some(package) = package.filter(|package| !self.packages.contains(package)) {
            self.budget.take(&package)?;
            self.packages.insert(package);
        }
        Ok(())
    }
}

/// The next line of a text.
fn next_line<R: Read>(lines: &mut Lines<R>) -> io::Result<Option<String>> {
    let Some(line) = lines.next()? else { return Ok(None) };
    // Of a line that was cut, the last letter may be, too.
    let text = String::from_utf8_lossy(line);
    match text.chars().all(|c| !c.is_control() || c == '\t') {
        true => Ok(Some(text.into_owned())),
        false => Err(broken("it is no text")),
    }
}

fn broken(why: &str) -> io::Error {
    refusal(format!("it does not read: {why}"))
}
