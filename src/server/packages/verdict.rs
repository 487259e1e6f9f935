//! The difference of two images in a sentence that a tired person understands, and a second one for what must not be overlooked.

use super::compare::{Compared, Side};
use super::settings::SettingChange;
use crate::model::{Direction, size_words};

/// The digest of what the image was built on, as it says itself.
const BASE: &str = "org.opencontainers.image.base.digest";

/// What stands above everything else when two images are compared.
pub fn verdict(from: &Side, to: &Side, compared: &Compared) -> String {
    if from.image.digest == to.image.digest {
        return "This is the same image twice.".to_owned();
    }
    let mut parts = vec![base(from, to, compared)];
    parts.extend(packages(from, to, compared));
    let changed = |name: &str| compared.settings.iter().any(|change| change.name == name && change.to != change.from);
    parts.push(match (changed("Entrypoint"), changed("Command")) {
        (false, false) => "entrypoint and command unchanged".to_owned(),
        (true, false) => "entrypoint changed".to_owned(),
        (false, true) => "entrypoint unchanged, command changed".to_owned(),
        (true, true) => "entrypoint and command changed".to_owned(),
    });
    parts.extend(match compared.size {
        0 => None,
        1.. => Some(format!("{} larger", size_words(compared.size))),
        _ => Some(format!("{} smaller", size_words(-compared.size))),
    });
    let cautions: Vec<String> = compared.settings.iter().filter(|change| change.caution).map(caution).collect();
    let look = if cautions.is_empty() { String::new() } else { format!(" Look: {}.", cautions.join(", ")) };
    format!("{}.{look}", parts.join(", "))
}

fn caution(change: &SettingChange) -> String {
    let words = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    format!("{} {} → {}", change.name.to_lowercase(), words(&change.from), words(&change.to))
}

fn base(from: &Side, to: &Side, compared: &Compared) -> String {
    let digests = |side: &Side| side.layers.iter().map(|layer| layer.layer_digest.clone()).collect::<Vec<_>>();
    let (a, b) = (digests(from), digests(to));
    let common = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    if a == b {
        return "Same layers".to_owned();
    }
    // What the images say goes before their first layers: those stay the same where the base of a base does.
    let words = match (base_digest(from), base_digest(to)) {
        (Some(a), Some(b)) if a == b && common == 0 => "Same base, packed anew",
        (Some(a), Some(b)) if a == b => "Same base",
        (None, _) | (_, None) if common > 0 => "Same base",
        _ if compared.shared_layers() > 0 => "Other base, some layers shared",
        _ => "No layer in common",
    };
    words.to_owned()
}

fn base_digest(side: &Side) -> Option<String> {
    let annotations: std::collections::BTreeMap<String, String> =
        serde_json::from_str(&side.image.annotations).unwrap_or_default();
    annotations.get(BASE).or_else(|| side.config.config.labels.get(BASE)).cloned()
}

fn packages(from: &Side, to: &Side, compared: &Compared) -> Vec<String> {
    let plural = |count: usize, word: &str| match count {
        0 => None,
        1 => Some(format!("1 package {word}")),
        count => Some(format!("{count} packages {word}")),
    };
    let all = [
        (Direction::Up, "newer"),
        (Direction::Down, "older"),
        (Direction::Added, "added"),
        (Direction::Removed, "removed"),
    ];
    let mut parts: Vec<String> =
        all.into_iter().filter_map(|(direction, word)| plural(compared.count(direction), word)).collect();
    // "packages" once is enough.
    for part in parts.iter_mut().skip(1) {
        *part = part.replacen(" packages", "", 1).replacen(" package", "", 1);
    }
    let none = from.packages.databases + to.packages.databases == 0;
    if from.packages.waiting + to.packages.waiting > 0 {
        vec!["packages not read yet".to_owned()]
    } else if !compared.unknown.is_empty() {
        // What is not known must not count as gone or as the same.
        vec!["packages only known in part".to_owned()]
    } else if none {
        vec!["no list of packages in either".to_owned()]
    } else if parts.is_empty() {
        vec!["same packages".to_owned()]
    } else {
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::BASE;
    use crate::model::{Evidence, Image, ImageConfig, ImageLayer, ImagePackage, ImagePackages, Package, PackageKind};
    use crate::server::packages::compare::{Side, compare};

    fn side(digest: &str, size: i64, layers: &[&str], packages: &[&str], config: &str) -> Side {
        let layer =
            |digest: &&str| ImageLayer { layer_digest: (*digest).to_owned(), size: 1, media_type: String::new() };
        let image = Image {
            digest: digest.to_owned(),
            media_type: String::new(),
            artifact_type: None,
            manifest: String::new(),
            size,
            config_digest: None,
            config: None,
            subject: None,
            architecture: None,
            os: None,
            variant: None,
            created_claimed: None,
            annotations: "{}".to_owned(),
            first_seen_at: 0,
        };
        let packages = packages.iter().map(|text| {
            let (name, version) = text.split_once(' ').unwrap();
            let package =
                Package { name: name.to_owned(), version: version.to_owned(), architecture: None, source: None };
            ImagePackage {
                kind: PackageKind::Dpkg,
                evidence: Evidence::Installed,
                package,
                path: String::new(),
                layer: 0,
                layer_digest: String::new(),
            }
        });
        let packages = ImagePackages { packages: packages.collect(), databases: 1, ..ImagePackages::default() };
        let config: ImageConfig = serde_json::from_str(config).unwrap();
        let layers = layers.iter().map(layer).collect();
        Side { image, config, layers, packages: packages.into(), key: Default::default() }
    }

    #[test]
    fn says_it_in_a_sentence() {
        let run = r#"{"config": {"Entrypoint": ["/a"], "User": "1001"}}"#;
        let old = side("sha256:a", 10_000_000, &["1", "2"], &["a 1", "b 1", "c 1", "d 1"], run);
        let new = side("sha256:b", 12_100_000, &["1", "3"], &["a 2", "b 2", "c 2", "e 1"], run);
        let verdict = |from: &Side, to: &Side| compare(from, to).verdict;
        assert_eq!(
            verdict(&old, &new),
            "Same base, 3 packages newer, 1 added, 1 removed, entrypoint and command unchanged, 2.1 MB larger."
        );
        assert_eq!(
            verdict(&new, &old),
            "Same base, 3 packages older, 1 added, 1 removed, entrypoint and command unchanged, 2.1 MB smaller."
        );
        assert_eq!(verdict(&old, &old), "This is the same image twice.");
        let root =
            side("sha256:c", 10_000_000, &["1", "2"], &["a 1", "b 1", "c 1", "d 1"], r#"{"config": {"Cmd": ["x"]}}"#);
        assert_eq!(
            verdict(&old, &root),
            "Same layers, same packages, entrypoint and command changed. Look: user 1001 → root."
        );
        let mut other = side("sha256:d", 10_000_000, &["9"], &[], run);
        let packages = std::sync::Arc::make_mut(&mut other.packages);
        packages.problems.push("layer 1 was not read: it ends in the middle".to_owned());
        packages.databases = 0;
        assert_eq!(
            verdict(&old, &other),
            "No layer in common, packages only known in part, entrypoint and command unchanged."
        );
    }

    #[test]
    fn the_base_is_what_the_images_say_it_is_and_else_their_first_layers() {
        let built_on = |base: Option<&str>, digest: &str, layers: &[&str]| {
            let mut side = side(digest, 1, layers, &[], "{}");
            if let Some(base) = base {
                side.image.annotations = serde_json::json!({ BASE: base }).to_string();
            }
            side
        };
        let words = |left: (Option<&str>, &[&str]), right: (Option<&str>, &[&str])| {
            let verdict =
                compare(&built_on(left.0, "sha256:a", left.1), &built_on(right.0, "sha256:b", right.1)).verdict;
            verdict.split_once(", same packages").expect("no package differs").0.to_owned()
        };
        for (left, right, expected) in [
            ((Some("x"), ["1", "2"]), (Some("x"), ["1", "3"]), "Same base"),
            ((Some("x"), ["1", "2"]), (Some("x"), ["4", "5"]), "Same base, packed anew"),
            ((Some("x"), ["1", "2"]), (Some("y"), ["1", "3"]), "Other base, some layers shared"),
            ((Some("x"), ["1", "2"]), (Some("y"), ["4", "5"]), "No layer in common"),
            ((Some("x"), ["1", "2"]), (Some("y"), ["1", "2"]), "Same layers"),
            ((None, ["1", "2"]), (Some("y"), ["1", "3"]), "Same base"),
            ((None, ["1", "2"]), (None, ["3", "2"]), "Other base, some layers shared"),
        ] {
            assert_eq!(words((left.0, &left.1), (right.0, &right.1)), expected, "{left:?} and {right:?}");
        }
    }
}
