//! The packages of an image out of those of its layers: each layer put on top of those below, as whoever unpacks the image does.

mod precedence;

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::model::{
    Evidence, ImagePackage, ImagePackages, LayerContents, LayerReading, Package, PackageDatabase, PackageKind,
};

/// A list as it is after some layers.
struct Listed {
    kind: PackageKind,
    evidence: Evidence,
    /// With the layer that brought each in this version.
    packages: Vec<(Package, usize)>,
    problem: Option<(String, i64)>,
}

/// Puts the readings of an image's layers, lowest first, on top of each other.
pub fn image_packages(layers: &[LayerReading]) -> ImagePackages {
    let mut image = ImagePackages { layers: layers.len(), ..ImagePackages::default() };
    let mut lists: BTreeMap<String, Listed> = BTreeMap::new();
    for (at, layer) in layers.iter().enumerate() {
        let number = layer.position + 1;
        let contents = layer.contents.as_deref().map(serde_json::from_str::<LayerContents>);
        match (contents, &layer.problem) {
            (Some(Ok(contents)), _) => put_on(&mut lists, contents, at, number),
            (Some(Err(_)), _) => image.problems.push(format!("what was read of layer {number} does not read any more")),
            (None, problem) if layer.read_at.is_none() => {
                image.waiting += 1;
                let why = problem.iter().map(|problem| format!("layer {number} was not read yet: {problem}"));
                image.problems.extend(why);
            }
            (None, Some(problem)) => image.problems.push(format!("layer {number} was not read: {problem}")),
            (None, None) => {}
        }
    }
    precedence::settle(&mut lists);
    let says_something =
        |list: &&Listed| list.evidence.is_installed() || !list.packages.is_empty() || list.problem.is_some();
    image.databases = lists.values().filter(says_something).count();
    for (path, list) in lists {
        if let Some((problem, number)) = list.problem {
            image.problems.push(format!("{path} of layer {number} was not read: {problem}"));
        }
        image.packages.extend(list.packages.into_iter().map(|(package, at)| ImagePackage {
            kind: list.kind,
            evidence: list.evidence,
            package,
            path: path.clone(),
            layer: layers[at].position,
            layer_digest: layers[at].layer_digest.clone(),
        }));
    }
    image.packages.sort_by(|a, b| key(a).cmp(&key(b)));
    image
}

fn key(it: &ImagePackage) -> (&str, PackageKind, &str, &str) {
    (&it.package.name, it.kind, &it.package.version, &it.path)
}

fn put_on(lists: &mut BTreeMap<String, Listed>, contents: LayerContents, at: usize, number: i64) {
    if !contents.hidden.is_empty() || !contents.emptied.is_empty() {
        // Each list's path is looked up among what vanishes, and not the other way round: there may be very many of both.
        let hidden: HashSet<&str> = contents.hidden.iter().map(String::as_str).collect();
        let emptied: HashSet<&str> = contents.emptied.iter().map(String::as_str).collect();
        lists.retain(|path, _| {
            let above = || path.match_indices('/').map(|(slash, _)| &path[..slash]);
            let is_hidden = hidden.contains(path.as_str()) || above().any(|directory| hidden.contains(directory));
            !is_hidden && !emptied.contains("") && !above().any(|directory| emptied.contains(directory))
        });
    }
    for PackageDatabase { path, kind, evidence, packages, problem } in contents.databases {
        let before = lists.remove(&path).map(|list| list.packages).unwrap_or_default();
        let before: HashMap<&Package, usize> = before.iter().map(|(package, at)| (package, *at)).collect();
        let packages = packages.into_iter().map(|package| {
            let brought = before.get(&package).copied().unwrap_or(at);
            (package, brought)
        });
        let (packages, problem) = (packages.collect(), problem.map(|problem| (problem, number)));
        let list = Listed { kind, evidence, packages, problem };
        lists.insert(path, list);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(text: &str) -> Package {
        let (name, version) = text.split_once(' ').unwrap();
        Package { name: name.to_owned(), version: version.to_owned(), architecture: None, source: None }
    }

    fn list(path: &str, packages: &[&str]) -> PackageDatabase {
        let packages = packages.iter().map(|text| package(text)).collect();
        let (path, kind, evidence) = (path.to_owned(), PackageKind::Dpkg, Evidence::Installed);
        PackageDatabase { path, kind, evidence, packages, problem: None }
    }

    fn layers(contents: Vec<LayerContents>) -> Vec<LayerReading> {
        let layers = contents.into_iter().zip(0_i64..).map(|(contents, position)| LayerReading {
            position,
            layer_digest: format!("sha256:{position}"),
            read_at: Some(1),
            problem: None,
            contents: Some(serde_json::to_string(&contents).unwrap()),
        });
        layers.collect()
    }

    /// Packages with the number of the layer that brought them.
    fn shown(layers: &[LayerReading]) -> Vec<String> {
        let packages = image_packages(layers).packages;
        packages.into_iter().map(|it| format!("{} {} @{}", it.package.name, it.package.version, it.layer)).collect()
    }

    fn brings(databases: Vec<PackageDatabase>) -> LayerContents {
        LayerContents { databases, ..LayerContents::default() }
    }

    const STATUS: &str = "var/lib/dpkg/status";

    #[test]
    fn a_package_is_of_the_layer_that_brought_its_version() {
        let layers = layers(vec![
            brings(vec![list(STATUS, &["a 1", "b 1", "c 1"])]),
            LayerContents::default(),
            brings(vec![list(STATUS, &["a 1", "b 2", "d 1"])]),
            brings(vec![list(STATUS, &["a 1", "b 2", "d 1"]), list("x/six.dist-info/METADATA", &["six 1"])]),
        ]);
        assert_eq!(shown(&layers), ["a 1 @0", "b 2 @2", "d 1 @2", "six 1 @3"]);
        assert_eq!(shown(&layers[..1]), ["a 1 @0", "b 1 @0", "c 1 @0"]);
    }

    #[test]
    fn what_a_layer_takes_away_is_gone_unless_it_brings_it_back() {
        let parts =
            |names: &[&str]| names.iter().map(|name| list(&format!("d/{name}/p"), &[&format!("{name} 1")])).collect();
        let hides = |path: &str| LayerContents { hidden: vec![path.to_owned()], ..LayerContents::default() };
        let empties = |path: &str| LayerContents { emptied: vec![path.to_owned()], ..LayerContents::default() };
        let below = || brings(parts(&["a", "ab", "b"]));
        for (change, left) in [
            (hides("d/a/p"), &["ab 1 @0", "b 1 @0"][..]),
            (hides("d/a"), &["ab 1 @0", "b 1 @0"]),
            (hides("d"), &[]),
            (hides("d/a/p/q"), &["a 1 @0", "ab 1 @0", "b 1 @0"]),
            (empties("d/a"), &["ab 1 @0", "b 1 @0"]),
            (empties("d/a/p"), &["a 1 @0", "ab 1 @0", "b 1 @0"]),
            (empties(""), &[]),
            (LayerContents { databases: parts(&["b"]), ..hides("d") }, &["b 1 @1"]),
            (LayerContents { databases: parts(&["b"]), ..empties("d") }, &["b 1 @1"]),
        ] {
            assert_eq!(shown(&layers(vec![below(), change.clone()])), left, "{change:?}");
        }
    }

    #[test]
    fn says_what_is_not_known() {
        let mut layers =
            layers(vec![brings(vec![list(STATUS, &["a 1"])]), LayerContents::default(), LayerContents::default()]);
        layers[1].contents = None;
        layers[1].problem = Some("it ends in the middle".to_owned());
        layers[2].contents = None;
        layers[2].read_at = None;
        let image = image_packages(&layers);
        assert_eq!((image.packages.len(), image.waiting, image.is_whole()), (1, 1, false));
        assert_eq!(image.problems, ["layer 2 was not read: it ends in the middle"]);
        layers[2].problem = Some("its bytes are not stored here".to_owned());
        let image = image_packages(&layers);
        assert_eq!(
            (image.waiting, image.problems[1].as_str()),
            (1, "layer 3 was not read yet: its bytes are not stored here")
        );
    }
}
