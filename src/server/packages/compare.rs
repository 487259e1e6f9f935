//! Two images side by side: which packages are newer, older, added or gone, what is set otherwise, which layers both have.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::settings::{SettingChange, setting_changes};
use super::verdict::verdict;
use super::versions::{compare_versions, same_name};
use super::views::ImageKey;
use crate::model::{Direction, Evidence, Image, ImageConfig, ImageLayer, ImagePackage, ImagePackages, PackageKind};

/// One of the images.
#[derive(Debug, Clone)]
pub struct Side {
    pub image: Image,
    pub config: ImageConfig,
    pub layers: Vec<ImageLayer>,
    pub packages: Arc<ImagePackages>,
    pub(super) key: ImageKey,
}

/// A package that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageChange {
    pub kind: PackageKind,
    pub name: String,
    pub direction: Direction,
    pub from: Option<String>,
    pub to: Option<String>,
    /// How it is known of the second image, or of the first when only that one has it.
    pub evidence: Evidence,
    /// The layer of the second image that brought it, from 0.
    pub layer: Option<i64>,
}

/// A layer of either image, and its place in both, from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComparedLayer {
    pub layer: ImageLayer,
    pub from: Option<usize>,
    pub to: Option<usize>,
}

/// How the second image differs from the first.
#[derive(Debug, Clone)]
pub struct Compared {
    /// In a sentence or two.
    pub verdict: String,
    /// By name.
    pub packages: Vec<PackageChange>,
    /// In words, which lists of packages were not read; empty when all are known.
    pub unknown: Vec<String>,
    pub settings: Vec<SettingChange>,
    /// The second image's layers in their order, then those that only the first one has.
    pub layers: Vec<ComparedLayer>,
    pub size: i64,
}

impl Compared {
    /// How many packages went that way.
    pub fn count(&self, direction: Direction) -> usize {
        self.packages.iter().filter(|change| change.direction == direction).count()
    }

    /// How many layers both have.
    pub fn shared_layers(&self) -> usize {
        self.layers.iter().filter(|layer| layer.from.is_some() && layer.to.is_some()).count()
    }
}

/// Compares two images.
pub fn compare(from: &Side, to: &Side) -> Compared {
    // A package of a layer that is not read yet would look as if it had gone.
    let waiting = from.packages.waiting + to.packages.waiting > 0;
    let packages = if waiting { Vec::new() } else { package_changes(&from.packages, &to.packages) };
    let mut compared = Compared {
        verdict: String::new(),
        packages,
        unknown: unknown(from, to),
        settings: setting_changes(&from.config, &to.config),
        layers: layers(&from.layers, &to.layers),
        size: to.image.size - from.image.size,
    };
    compared.verdict = verdict(from, to, &compared);
    compared
}

fn unknown(from: &Side, to: &Side) -> Vec<String> {
    let mut unknown = Vec::new();
    for (name, packages) in [("left", &from.packages), ("right", &to.packages)] {
        if packages.waiting > 0 {
            let plural = if packages.waiting == 1 { "layer is" } else { "layers are" };
            unknown.push(format!("{name}: {} {plural} still to be read", packages.waiting));
        }
        unknown.extend(packages.problems.iter().map(|problem| format!("{name}: {problem}")));
    }
    unknown
}

/// One package in its versions.
type Versions<'a> = Vec<&'a ImagePackage>;

fn package_changes(from: &ImagePackages, to: &ImagePackages) -> Vec<PackageChange> {
    let mut by_name: BTreeMap<(Cow<'_, str>, PackageKind), [Versions<'_>; 2]> = BTreeMap::new();
    for (side, packages) in [from, to].into_iter().enumerate() {
        for it in &packages.packages {
            let versions = by_name.entry((same_name(it.kind, &it.package.name), it.kind)).or_default();
            versions[side].push(it);
        }
    }
    let mut changes = Vec::new();
    for ((_, kind), [mut old, mut new]) in by_name {
        take_out_common(&mut old, &mut new);
        // A package may be there in several versions. The newest of one side goes with the newest of the other.
        let newest_last =
            |a: &&ImagePackage, b: &&ImagePackage| compare_versions(kind, &a.package.version, &b.package.version);
        old.sort_by(newest_last);
        new.sort_by(newest_last);
        loop {
            let (old, new) = (old.pop(), new.pop());
            let Some(shown) = new.or(old) else { break };
            let direction = match (old, new) {
                (None, _) => Direction::Added,
                (Some(_), None) => Direction::Removed,
                (Some(old), Some(new)) => match newest_last(&new, &old) {
                    Ordering::Greater => Direction::Up,
                    Ordering::Less => Direction::Down,
                    // Written in another way, and no other version.
                    Ordering::Equal => continue,
                },
            };
            changes.push(PackageChange {
                kind,
                name: shown.package.name.clone(),
                direction,
                from: old.map(|old| old.package.version.clone()),
                to: new.map(|new| new.package.version.clone()),
                evidence: shown.evidence,
                layer: new.map(|new| new.layer),
            });
        }
    }
    changes
}

fn take_out_common(old: &mut Versions<'_>, new: &mut Versions<'_>) {
    let mut common: HashMap<&str, usize> = HashMap::new();
    for it in old.iter() {
        *common.entry(&it.package.version).or_default() += 1;
    }
    let mut taken: HashMap<&str, usize> = HashMap::new();
    new.retain(|it| match common.get_mut(it.package.version.as_str()).filter(|left| **left > 0) {
        Some(left) => {
            *left -= 1;
            *taken.entry(&it.package.version).or_default() += 1;
            false
        }
        None => true,
    });
    old.retain(|it| match taken.get_mut(it.package.version.as_str()).filter(|left| **left > 0) {
        Some(left) => {
            *left -= 1;
            false
        }
        None => true,
    });
}

fn layers(from: &[ImageLayer], to: &[ImageLayer]) -> Vec<ComparedLayer> {
    let place = |layers: &[ImageLayer], digest: &str| layers.iter().position(|layer| layer.layer_digest == digest);
    let own = to.iter().enumerate().map(|(at, layer)| ComparedLayer {
        layer: layer.clone(),
        from: place(from, &layer.layer_digest),
        to: Some(at),
    });
    let gone = from.iter().enumerate().filter(|(_, layer)| place(to, &layer.layer_digest).is_none());
    let gone = gone.map(|(at, layer)| ComparedLayer { layer: layer.clone(), from: Some(at), to: None });
    own.chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Package;

    fn packages(list: &[&str]) -> ImagePackages {
        let packages = list.iter().map(|text| {
            let (name, version) = text.split_once(' ').unwrap();
            let (name, version) = (name.to_owned(), version.to_owned());
            ImagePackage {
                kind: PackageKind::Npm,
                evidence: Evidence::Installed,
                package: Package { name, version, architecture: None, source: None },
                path: String::new(),
                layer: 0,
                layer_digest: String::new(),
            }
        });
        ImagePackages { packages: packages.collect(), ..ImagePackages::default() }
    }

    fn changes(from: &[&str], to: &[&str]) -> Vec<String> {
        let changes = package_changes(&packages(from), &packages(to)).into_iter();
        let words = |version: Option<String>| version.unwrap_or_else(|| "-".to_owned());
        changes.map(|it| format!("{} {} {} {}", it.direction, it.name, words(it.from), words(it.to))).collect()
    }

    #[test]
    fn packages_go_up_and_down_and_come_and_go() {
        let (from, to) = (["a 1.9.0", "b 1.0.0", "c 2.0.0", "d 1.0.0"], ["a 1.10.0", "b 1.0.0", "c 1.0.0", "e 1.0.0"]);
        assert_eq!(
            changes(&from, &to),
            ["up a 1.9.0 1.10.0", "down c 2.0.0 1.0.0", "removed d 1.0.0 -", "added e - 1.0.0"]
        );
        assert_eq!(changes(&from, &from), [""; 0]);
    }

    #[test]
    fn several_versions_of_one_package_are_told_apart() {
        let (one, two) = (["a 1.0.0", "a 2.0.0", "a 2.0.0"], ["a 2.0.0", "a 3.0.0"]);
        assert_eq!(changes(&one, &two), ["up a 2.0.0 3.0.0", "removed a 1.0.0 -"]);
        assert_eq!(changes(&two, &one), ["down a 3.0.0 2.0.0", "added a - 1.0.0"]);
        assert_eq!(changes(&["a 1.0.0", "a 1.0.0"], &["a 1.0.0"]), ["removed a 1.0.0 -"]);
    }
}
