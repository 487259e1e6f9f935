//! Which lists of an image speak where several speak of the same: what was installed tells more than what was meant to be.

use std::collections::{BTreeMap, HashSet};

use super::Listed;
use crate::model::{Evidence, Package, PackageKind};
use crate::server::packages::versions::same_name;

/// Takes away the lock files of which something better is known, and of the others what is known already.
pub fn settle(lists: &mut BTreeMap<String, Listed>) {
    let paths: Vec<String> =
        lists.iter().filter(|(_, list)| list.evidence == Evidence::LockFile).map(|(path, _)| path.clone()).collect();
    if paths.is_empty() {
        return;
    }
    let installed: HashSet<PackageKind> =
        lists.values().filter(|list| is_installed(list)).map(|list| list.kind).collect();
    let outdone: Vec<&String> = paths.iter().filter(|path| is_outdone(lists, &installed, path)).collect();
    for path in outdone {
        lists.remove(path);
    }
    list_once(lists);
}

fn is_installed(list: &Listed) -> bool {
    list.evidence.is_installed() && !list.packages.is_empty()
}

/// Whether there is something better than the lock file at this path.
fn is_outdone(lists: &BTreeMap<String, Listed>, installed: &HashSet<PackageKind>, path: &str) -> bool {
    let Some(kind) = lists.get(path).map(|list| list.kind) else { return false };
    let (directory, name) =
        path.rsplit_once('/').map_or(("", path), |(_, name)| (&path[..path.len() - name.len()], name));
    match kind {
        // npm itself is made of packages, which say nothing of an application beside it: many of these are bundled into one file.
        PackageKind::Npm => {
            let tree = format!("{directory}node_modules/");
            let below = lists.range(tree.clone()..).take_while(|(path, _)| path.starts_with(&tree));
            below.into_iter().any(|(_, list)| list.kind == PackageKind::Npm && is_installed(list))
        }
        PackageKind::Go => {
            name == "go.sum" && lists.get(&format!("{directory}go.mod")).is_some_and(|list| !list.packages.is_empty())
        }
        kind => installed.contains(&kind),
    }
}

/// Leaves each package of a lock file in one list only: whoever installed it first, then the lock files by their paths.
fn list_once(lists: &mut BTreeMap<String, Listed>) {
    let key = |kind: PackageKind, package: &Package| {
        (kind, same_name(kind, &package.name).into_owned(), package.version.clone())
    };
    let kinds: HashSet<PackageKind> =
        lists.values().filter(|list| list.evidence == Evidence::LockFile).map(|list| list.kind).collect();
    let mut known = HashSet::new();
    for list in lists.values().filter(|list| list.evidence.is_installed() && kinds.contains(&list.kind)) {
        known.extend(list.packages.iter().map(|(package, _)| key(list.kind, package)));
    }
    for list in lists.values_mut().filter(|list| list.evidence == Evidence::LockFile) {
        let kind = list.kind;
        list.packages.retain(|(package, _)| known.insert(key(kind, package)));
    }
}

#[cfg(test)]
mod tests {
    use crate::model::{Evidence, LayerContents, LayerReading, Package, PackageDatabase, PackageKind};
    use crate::server::packages::stack::image_packages;

    fn list(path: &str, kind: PackageKind, evidence: Evidence, packages: &[&str]) -> PackageDatabase {
        let packages = packages.iter().map(|text| {
            let (name, version) = text.split_once(' ').unwrap();
            Package { name: name.to_owned(), version: version.to_owned(), architecture: None, source: None }
        });
        PackageDatabase { path: path.to_owned(), kind, evidence, packages: packages.collect(), problem: None }
    }

    fn lock(path: &str, kind: PackageKind, packages: &[&str]) -> PackageDatabase {
        list(path, kind, Evidence::LockFile, packages)
    }

    fn installed(path: &str, kind: PackageKind, packages: &[&str]) -> PackageDatabase {
        list(path, kind, Evidence::Installed, packages)
    }

    /// `path: name version` of an image with a layer for each of these.
    fn shown(layers: Vec<LayerContents>) -> Vec<String> {
        let readings: Vec<LayerReading> = layers
            .into_iter()
            .zip(0_i64..)
            .map(|(contents, position)| LayerReading {
                position,
                layer_digest: format!("sha256:{position}"),
                read_at: Some(1),
                problem: None,
                contents: Some(serde_json::to_string(&contents).unwrap()),
            })
            .collect();
        let packages = image_packages(&readings).packages.into_iter();
        packages.map(|it| format!("{}: {} {}", it.path, it.package.name, it.package.version)).collect()
    }

    fn brings(databases: Vec<PackageDatabase>) -> LayerContents {
        LayerContents { databases, ..LayerContents::default() }
    }

    #[test]
    fn what_is_installed_tells_more_than_a_lock_file() {
        use PackageKind::{Composer, Gem, Npm, Python};
        for (kind, there, path) in [
            (Npm, "app/node_modules/a/package.json", "app/package-lock.json"),
            (Npm, "node_modules/a/package.json", "yarn.lock"),
            (Python, "usr/lib/python3/site-packages/a.dist-info/METADATA", "app/poetry.lock"),
            (Gem, "usr/local/bundle/specifications/a-1.gemspec", "app/Gemfile.lock"),
            (Composer, "app/vendor/composer/installed.json", "app/composer.lock"),
        ] {
            let wanted = || brings(vec![lock(path, kind, &["a 1", "b 1"])]);
            let there = || brings(vec![installed(there, kind, &["a 1"])]);
            let alone = [format!("{path}: a 1"), format!("{path}: b 1")];
            let shown_of = |layers| shown(layers).into_iter().filter(|it| it.starts_with(path)).collect::<Vec<_>>();
            assert_eq!(shown_of(vec![wanted()]), alone);
            assert_eq!(shown_of(vec![wanted(), there()]), [""; 0], "{path}");
            assert_eq!(shown_of(vec![there(), wanted()]), [""; 0], "{path}");
            // What was installed is taken away, or was never any package: then the lock file is all there is.
            let gone = LayerContents { emptied: vec![String::new()], ..LayerContents::default() };
            assert_eq!(shown_of(vec![there(), gone, wanted()]), alone);
        }
    }

    #[test]
    fn npm_itself_says_nothing_of_an_application() {
        let npm = installed("usr/local/lib/node_modules/npm/node_modules/a/package.json", PackageKind::Npm, &["a 1"]);
        let own = lock("app/package-lock.json", PackageKind::Npm, &["a 1", "a 2", "b 1"]);
        let again = lock("app/yarn.lock", PackageKind::Npm, &["b 1", "c 1"]);
        assert_eq!(
            shown(vec![brings(vec![npm]), brings(vec![own, again])]),
            [
                "usr/local/lib/node_modules/npm/node_modules/a/package.json: a 1",
                "app/package-lock.json: a 2",
                "app/package-lock.json: b 1",
                "app/yarn.lock: c 1"
            ],
            "each once, with its version"
        );
    }

    #[test]
    fn sums_of_go_stand_in_where_no_module_file_says_more() {
        let module = |packages: &[&str]| lock("app/go.mod", PackageKind::Go, packages);
        let sums = || lock("app/go.sum", PackageKind::Go, &["x v1", "y v1"]);
        assert_eq!(shown(vec![brings(vec![module(&["x v1"]), sums()])]), ["app/go.mod: x v1"]);
        assert_eq!(shown(vec![brings(vec![module(&[]), sums()])]), ["app/go.sum: x v1", "app/go.sum: y v1"]);
        let gone = LayerContents { hidden: vec!["app/go.mod".to_owned()], ..LayerContents::default() };
        assert_eq!(
            shown(vec![brings(vec![module(&["x v1"]), sums()]), gone]),
            ["app/go.sum: x v1", "app/go.sum: y v1"]
        );
        let other = lock("other/go.sum", PackageKind::Go, &["z v1"]);
        assert_eq!(
            shown(vec![brings(vec![module(&["x v1"]), other])]),
            ["app/go.mod: x v1", "other/go.sum: z v1"],
            "that is of another one"
        );
    }

    #[test]
    fn python_writes_one_name_in_several_ways() {
        let one = lock("app/poetry.lock", PackageKind::Python, &["ruamel-yaml 1", "flask 3"]);
        let two = lock("app/requirements.txt", PackageKind::Python, &["Ruamel.YAML 1", "Flask 2"]);
        assert_eq!(
            shown(vec![brings(vec![one, two])]),
            ["app/requirements.txt: Flask 2", "app/poetry.lock: flask 3", "app/poetry.lock: ruamel-yaml 1"]
        );
    }
}
