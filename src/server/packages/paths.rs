//! What the paths of a layer's members mean: where they lie, whether they take something away, and which hold lists of packages.

use super::jars;
use super::locks::Lock;
use crate::model::{Evidence, PackageKind};

/// The longest path that is looked at; Linux has none that is longer.
const MAX_PATH: usize = 4096;
/// Where rpm keeps its database, on different systems.
const RPM_HOMES: [&str; 3] = ["var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm"];
const APK_FILES: [&str; 2] = ["lib/apk/db/installed", "usr/lib/apk/db/installed"];
const DPKG_STATUS: &str = "var/lib/dpkg/status";
const DPKG_PARTS: &str = "var/lib/dpkg/status.d/";

/// The format of a list of packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// dpkg's status file, or one of the files that stand for it in images without dpkg.
    Dpkg,
    Apk,
    RpmSqlite,
    RpmNdb,
    RpmBerkeley,
    /// What rpm's SQLite has not yet taken over into its database.
    RpmJournal,
    /// The metadata of one Python package.
    Python,
    /// The manifest of one package of Node's.
    Npm,
    /// The specification of one gem of Ruby's, whose file name says all.
    Gem,
    /// What Composer installed for an application in PHP.
    Composer,
    /// What was meant to be installed for an application.
    Lock(Lock),
    /// An archive of Java's, whose file name says all.
    Jar,
}

impl Format {
    /// The kind of its packages.
    pub fn kind(self) -> PackageKind {
        match self {
            Self::Dpkg => PackageKind::Dpkg,
            Self::Apk => PackageKind::Apk,
            Self::RpmSqlite | Self::RpmNdb | Self::RpmBerkeley | Self::RpmJournal => PackageKind::Rpm,
            Self::Python => PackageKind::Python,
            Self::Npm => PackageKind::Npm,
            Self::Gem => PackageKind::Gem,
            Self::Composer => PackageKind::Composer,
            Self::Lock(lock) => lock.kind(),
            Self::Jar => PackageKind::Java,
        }
    }

    /// How its packages are known.
    pub fn evidence(self) -> Evidence {
        match self {
            Self::Lock(_) => Evidence::LockFile,
            Self::Jar => Evidence::FileName,
            _ => Evidence::Installed,
        }
    }

    /// The format of the file at this path, if it is a list of packages.
    pub fn of(path: &str) -> Option<Self> {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        if path == DPKG_STATUS || (path.starts_with(DPKG_PARTS) && !name.ends_with(".md5sums")) {
            return Some(Self::Dpkg);
        }
        if APK_FILES.contains(&path) {
            return Some(Self::Apk);
        }
        if RPM_HOMES.contains(&directory) {
            return match name {
                "rpmdb.sqlite" => Some(Self::RpmSqlite),
                "rpmdb.sqlite-wal" => Some(Self::RpmJournal),
                "Packages.db" => Some(Self::RpmNdb),
                "Packages" => Some(Self::RpmBerkeley),
                _ => None,
            };
        }
        match name {
            "METADATA" if directory.ends_with(".dist-info") => Some(Self::Python),
            "PKG-INFO" if directory.ends_with(".egg-info") => Some(Self::Python),
            "package.json" => is_node_package(directory).then_some(Self::Npm),
            "installed.json" => is_named(directory, "composer").then_some(Self::Composer),
            _ if name.ends_with(".gemspec") => is_for_gems(directory).then_some(Self::Gem),
            _ if name.ends_with(".egg-info") && in_python_packages(directory) => Some(Self::Python),
            _ if name.ends_with(".jar") => jars::jar(path).map(|_| Self::Jar),
            _ => Lock::of(directory, name).map(Self::Lock),
        }
    }
}

/// `…/node_modules/name` or `…/node_modules/@scope/name`
fn is_node_package(directory: &str) -> bool {
    let Some((parent, _)) = directory.rsplit_once('/') else { return false };
    let parent = match parent.rsplit_once('/') {
        Some((above, scope)) if scope.starts_with('@') => above,
        _ => parent,
    };
    parent == "node_modules" || parent.ends_with("/node_modules")
}

/// `…/specifications`, or where those are that come with Ruby.
fn is_for_gems(directory: &str) -> bool {
    is_named(directory.strip_suffix("/default").unwrap_or(directory), "specifications")
}

fn is_named(directory: &str, name: &str) -> bool {
    directory.rsplit('/').next() == Some(name)
}

fn in_python_packages(directory: &str) -> bool {
    ["site-packages", "dist-packages"].iter().any(|name| directory.ends_with(name))
}

/// What a member does to the layers below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// It puts something at a path.
    Put(String),
    /// It takes the path and all below it away.
    Hide(String),
    /// It takes away what a directory had.
    Empty(String),
    /// Nothing: it lies outside of the root, or cannot be unpacked anywhere.
    Nothing,
}

/// What a member of this path means (OCI image-spec, layer.md, "Whiteouts").
pub fn meaning(raw: &[u8]) -> Meaning {
    let Some(path) = cleaned(raw) else { return Meaning::Nothing };
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", &path));
    match name.strip_prefix(".wh.") {
        None => Meaning::Put(path),
        Some(".wh..opq") => Meaning::Empty(directory.to_owned()),
        // Bookkeeping of aufs.
        Some(own) if own.starts_with(".wh.") || own.is_empty() => Meaning::Nothing,
        Some(hidden) if directory.is_empty() => Meaning::Hide(hidden.to_owned()),
        Some(hidden) => Meaning::Hide(format!("{directory}/{hidden}")),
    }
}

/// The path from the root, without slashes at its ends; `None` when it leads out of the root or is none.
fn cleaned(raw: &[u8]) -> Option<String> {
    if raw.len() > MAX_PATH || raw.contains(&0) {
        return None;
    }
    let text = String::from_utf8_lossy(raw);
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop()?,
            part => parts.push(part),
        }
    }
    if parts.is_empty() { None } else { Some(parts.join("/")) }
}

/// Whether a file, a link or a device at this path takes lists of packages away that lower layers have there or below: unlike a directory,
/// it does not go together with what was there.
pub fn hides_when_no_directory(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let well_known = RPM_HOMES.iter().chain(&APK_FILES).copied().chain([DPKG_STATUS, DPKG_PARTS]);
    Format::of(path).is_some()
        || ["node_modules", "site-packages", "dist-packages", "specifications", "composer"].contains(&name)
        || name.ends_with(".dist-info")
        || well_known.into_iter().any(|known| is_below(known, path) || known == path)
}

/// Whether `path` lies below `directory`; everything lies below the root, which is empty.
pub fn is_below(path: &str, directory: &str) -> bool {
    directory.is_empty() || path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_where_lists_lie() {
        for (path, format) in [
            ("var/lib/dpkg/status", Some(Format::Dpkg)),
            ("var/lib/dpkg/status.d/tzdata", Some(Format::Dpkg)),
            ("var/lib/dpkg/status.d/tzdata.md5sums", None),
            ("var/lib/dpkg/status-old", None),
            ("srv/var/lib/dpkg/status", None),
            ("lib/apk/db/installed", Some(Format::Apk)),
            ("usr/lib/apk/db/installed", Some(Format::Apk)),
            ("var/lib/rpm/rpmdb.sqlite", Some(Format::RpmSqlite)),
            ("usr/lib/sysimage/rpm/Packages.db", Some(Format::RpmNdb)),
            ("var/lib/rpm/Packages", Some(Format::RpmBerkeley)),
            ("usr/lib/python3/dist-packages/six-1.16.0.dist-info/METADATA", Some(Format::Python)),
            ("usr/lib/python3/dist-packages/six-1.16.0.egg-info", Some(Format::Python)),
            ("usr/lib/python3/dist-packages/six.egg-info/PKG-INFO", Some(Format::Python)),
            ("app/node_modules/left-pad/package.json", Some(Format::Npm)),
            ("node_modules/@types/node/package.json", Some(Format::Npm)),
            ("app/node_modules/left-pad/test/package.json", None),
            ("app/package.json", None),
            ("package.json", None),
            ("node_modules/package.json", None),
            ("usr/local/bundle/specifications/rack-3.0.8.gemspec", Some(Format::Gem)),
            ("usr/lib/ruby/gems/3.1.0/specifications/default/json-2.6.1.gemspec", Some(Format::Gem)),
            ("usr/local/bundle/gems/rack-3.0.8/rack.gemspec", None),
            ("app/vendor/composer/installed.json", Some(Format::Composer)),
            ("app/vendor/installed.json", None),
            ("package-lock.json", Some(Format::Lock(Lock::Npm))),
            ("app/npm-shrinkwrap.json", Some(Format::Lock(Lock::Npm))),
            ("app/yarn.lock", Some(Format::Lock(Lock::Yarn))),
            ("app/Cargo.lock", Some(Format::Lock(Lock::Cargo))),
            ("app/go.mod", Some(Format::Lock(Lock::GoMod))),
            ("go/src/app/go.sum", Some(Format::Lock(Lock::GoSum))),
            ("app/Gemfile.lock", Some(Format::Lock(Lock::Bundler))),
            ("app/composer.lock", Some(Format::Lock(Lock::Composer))),
            ("app/Pipfile.lock", Some(Format::Lock(Lock::Pipenv))),
            ("app/poetry.lock", Some(Format::Lock(Lock::Poetry))),
            ("app/uv.lock", Some(Format::Lock(Lock::Uv))),
            ("app/requirements.txt", Some(Format::Lock(Lock::Requirements))),
            ("app/requirements-dev.txt", None),
            ("app/cargo.lock", None),
            ("app/node_modules/left-pad/package-lock.json", None),
            ("app/node_modules/.package-lock.json", None),
            ("usr/lib/python3/site-packages/x/requirements.txt", None),
            ("app/vendor/x/go.mod", None),
            ("vendor/go.mod", None),
            ("usr/local/bundle/gems/rack-3.0.8/Gemfile.lock", None),
            ("root/.cargo/registry/src/x/Cargo.lock", None),
            ("usr/local/cargo/registry/src/x/Cargo.lock", None),
            ("registry/Cargo.lock", Some(Format::Lock(Lock::Cargo))),
            ("go/pkg/mod/x/go.mod", None),
            ("usr/local/go/src/go.mod", None),
            ("usr/lib/go-1.22/src/go.mod", None),
            ("usr/local/gopher/go.mod", Some(Format::Lock(Lock::GoMod))),
            ("app/lib/guava-32.1.3-jre.jar", Some(Format::Jar)),
            ("app/app.jar", None),
        ] {
            assert_eq!(Format::of(path), format, "{path}");
        }
    }

    #[test]
    fn paths_are_read_as_those_read_them_who_unpack() {
        let put = |path: &str| Meaning::Put(path.to_owned());
        for (raw, means) in [
            ("./var/lib/", put("var/lib")),
            ("/etc//passwd", put("etc/passwd")),
            ("a/./b/../c", put("a/c")),
            ("../etc/passwd", Meaning::Nothing),
            ("a/../../etc", Meaning::Nothing),
            ("./", Meaning::Nothing),
            ("", Meaning::Nothing),
            ("a\0b", Meaning::Nothing),
            ("var/.wh.lib", Meaning::Hide("var/lib".to_owned())),
            (".wh.var", Meaning::Hide("var".to_owned())),
            ("var/.wh..wh..opq", Meaning::Empty("var".to_owned())),
            (".wh..wh..opq", Meaning::Empty(String::new())),
            (".wh..wh.plnk/1", put(".wh..wh.plnk/1")),
            (".wh..wh.aufs", Meaning::Nothing),
            ("a/.wh.", Meaning::Nothing),
        ] {
            assert_eq!(meaning(raw.as_bytes()), means, "{raw:?}");
        }
        assert_eq!(meaning(&b"a/".repeat(3000)), Meaning::Nothing);
    }

    #[test]
    fn what_is_no_directory_takes_away_what_lay_below() {
        for path in ["var", "var/lib/dpkg/status", "var/lib/dpkg", "lib", "app/node_modules", "usr/share/rpm"] {
            assert!(hides_when_no_directory(path), "{path}");
        }
        for path in ["etc/passwd", "va", "var/lib/dpkg/status-old", "var/lib/dpkg/lock"] {
            assert!(!hides_when_no_directory(path), "{path}");
        }
        assert!(is_below("a/b", "a") && is_below("a", "") && !is_below("ab", "a") && !is_below("a", "a"));
    }
}
