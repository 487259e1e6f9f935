//! Packages that are installed in images, as the databases of package managers in their layers tell them, and where there are none,
//! lock files of applications.

use serde::{Deserialize, Serialize};

use super::text_enum::text_enum;

text_enum! {
    /// Who keeps the list a package is on, and so how its versions compare.
    PackageKind {
        Dpkg = "dpkg",
        Apk = "apk",
        Rpm = "rpm",
        Python = "python",
        Npm = "npm",
        Gem = "gem",
        Composer = "composer",
        Cargo = "cargo",
        Go = "go",
        /// Archives of Java's, which are known by their names.
        Java = "java",
    }
}

text_enum! {
    /// How it is known that an image has a package.
    Evidence {
        /// Whoever installed it wrote that down.
        Installed = "installed",
        /// A lock file of an application names it: it was meant to be installed.
        LockFile = "lock-file",
        /// A file is named so.
        FileName = "file-name",
    }
}

impl Evidence {
    /// Whether whoever installed a package says so, as nearly all lists do.
    pub fn is_installed(&self) -> bool {
        *self == Self::Installed
    }

    fn installed() -> Self {
        Self::Installed
    }
}

text_enum! {
    /// Which way a package went from one image to another.
    Direction {
        Up = "up",
        Down = "down",
        Added = "added",
        Removed = "removed",
    }
}

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Package {
    pub name: String,
    pub version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// What it was built from, where that has another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// A list of packages as one file of a layer has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageDatabase {
    /// From the root, without the first slash.
    pub path: String,
    pub kind: PackageKind,
    #[serde(default = "Evidence::installed", skip_serializing_if = "Evidence::is_installed")]
    pub evidence: Evidence,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<Package>,
    /// Why the list is not whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What a layer says of packages: lists it brings, and what it takes away of lower layers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerContents {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub databases: Vec<PackageDatabase>,
    /// Paths that vanish with all that is below them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<String>,
    /// Directories whose former contents vanish.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub emptied: Vec<String>,
}

/// How the reading of one layer of an image stands.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct LayerReading {
    /// From 0, the lowest layer.
    pub position: i64,
    pub layer_digest: String,
    /// When it was read, or given up; none while it waits.
    pub read_at: Option<i64>,
    /// Why it was not read, or is not yet.
    pub problem: Option<String>,
    /// JSON of [`LayerContents`].
    pub contents: Option<String>,
}

/// A package of an image, and where it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePackage {
    pub kind: PackageKind,
    pub evidence: Evidence,
    pub package: Package,
    /// The file that lists it.
    pub path: String,
    /// The layer that brought it in this version: its place from 0, and its digest.
    pub layer: i64,
    pub layer_digest: String,
}

/// All packages of an image, as far as they are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImagePackages {
    /// By name, then version.
    pub packages: Vec<ImagePackage>,
    /// How many layers there are that may list some.
    pub layers: usize,
    /// How many layers are still to be read.
    pub waiting: usize,
    /// In words, what could not be read.
    pub problems: Vec<String>,
    /// How many lists of package managers there are.
    pub databases: usize,
}

impl ImagePackages {
    /// Whether every layer was read and every list is whole.
    pub fn is_whole(&self) -> bool {
        self.waiting == 0 && self.problems.is_empty()
    }

    /// Those whose name, version, source or kind has the text in it, whatever the letters' case.
    pub fn search(&self, text: &str) -> impl Iterator<Item = &ImagePackage> {
        let text = text.trim().to_lowercase();
        self.packages.iter().filter(move |it| {
            let Package { name, version, source, .. } = &it.package;
            let mut texts =
                [Some(name.as_str()), Some(version), source.as_deref(), Some(it.kind.as_str())].into_iter().flatten();
            text.is_empty() || texts.any(|it| it.to_lowercase().contains(&text))
        })
    }

    /// How many packages are known by lock files only.
    pub fn locked(&self) -> usize {
        self.packages.iter().filter(|package| package.evidence == Evidence::LockFile).count()
    }

    /// How many packages of a kind there are.
    pub fn count(&self, kind: PackageKind) -> usize {
        self.packages.iter().filter(|package| package.kind == kind).count()
    }
}
