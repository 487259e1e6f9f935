//! Mirrors of other registries: where the same images are nearer, or more allowed (OpenShift: `ImageDigestMirrorSet`, `ImageTagMirrorSet`).

use std::str::FromStr;

use super::ImageReference;

/// Which repositories are mirrored where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirrors(Vec<Mirror>);

/// Everything at or below `source` is at or below `mirror`, too.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mirror {
    source: String,
    mirror: String,
    is_insecure: bool,
}

/// A repository in a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrored {
    pub repository: ImageReference,
    /// It may speak plain HTTP, or have a certificate that nobody vouches for.
    pub is_insecure: bool,
}

/// Not a list of mirrors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a mirror: write SOURCE=MIRROR, each a registry or a path in it, for instance docker.io=mirror.example.com/hub; \
     http:// before the mirror lets it be insecure"
)]
pub struct MirrorsError(String);

impl Mirrors {
    /// Where else the repository of a reference is: the mirrors of what names it most closely first, and those of one source in the order
    /// they were written.
    pub fn of(&self, reference: &ImageReference) -> Vec<Mirrored> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let full = full_name(reference);
        let mut found: Vec<_> = self.0.iter().filter_map(|one| Some((one, rest(&full, &one.source)?))).collect();
        found.sort_by_key(|(one, _)| std::cmp::Reverse(one.source.len()));
        let mirrored = found.into_iter().filter_map(|(one, rest)| {
            let repository = format!("{}{rest}", one.mirror).parse().ok()?;
            Some(Mirrored { repository, is_insecure: one.is_insecure })
        });
        mirrored.collect()
    }
}

/// Separated by commas or white space.
impl FromStr for Mirrors {
    type Err = MirrorsError;

    fn from_str(text: &str) -> Result<Self, MirrorsError> {
        let entries = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|entry| !entry.is_empty());
        Ok(Self(entries.map(str::parse).collect::<Result<_, _>>()?))
    }
}

impl FromStr for Mirror {
    type Err = MirrorsError;

    fn from_str(text: &str) -> Result<Self, MirrorsError> {
        let wrong = || MirrorsError(text.chars().take(200).collect());
        let (source, mirror) = text.split_once('=').ok_or_else(wrong)?;
        let (mirror, is_insecure) = match mirror.strip_prefix("http://") {
            Some(rest) => (rest, true),
            None => (mirror.strip_prefix("https://").unwrap_or(mirror), false),
        };
        Ok(Self { source: place(source).ok_or_else(wrong)?, mirror: place(mirror).ok_or_else(wrong)?, is_insecure })
    }
}

/// A registry, or a path in it, as names of repositories begin.
fn place(text: &str) -> Option<String> {
    let (registry, _) = text.split_once('/').unwrap_or((text, ""));
    let is_registry = registry.contains(['.', ':']) || registry == "localhost";
    // With a repository below it, as a registry alone is none; of two parts, as Docker Hub fills in what one has not.
    let whole: ImageReference = format!("{text}/x/y").parse().ok()?;
    let is_place = is_registry && whole.tag.is_empty() && whole.id.is_empty();
    is_place.then(|| full_name(&whole)).and_then(|name| name.strip_suffix("/x/y").map(str::to_owned))
}

/// `<registry>/<path>`, with Docker's defaults filled in and Docker Hub under one name.
fn full_name(reference: &ImageReference) -> String {
    let full = reference.docker_client_defaults();
    let registry = full.daemon_minimal().registry;
    format!("{registry}/{}", full.repository_path())
}

/// What of a name is below a place: empty, or with its `/`.
fn rest<'a>(name: &'a str, place: &str) -> Option<&'a str> {
    name.strip_prefix(place).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirrored(mirrors: &str, reference: &str) -> Vec<String> {
        let mirrors: Mirrors = mirrors.parse().unwrap();
        let found = mirrors.of(&reference.parse().unwrap());
        found
            .into_iter()
            .map(|one| format!("{}{}", if one.is_insecure { "http " } else { "" }, one.repository.exact()))
            .collect()
    }

    #[test]
    fn the_closest_mirrors_come_first_and_the_path_goes_on_below_them() {
        let mirrors = "docker.io=mirror.example.com/hub, docker.io=http://second:5000 docker.io/library=close.example.com/official,quay.io/org=q.example.com/org";
        assert_eq!(
            mirrored(mirrors, "python:3.12"),
            [
                "close.example.com/official/python",
                "mirror.example.com/hub/library/python",
                "http second:5000/library/python"
            ]
        );
        assert_eq!(mirrored(mirrors, "index.docker.io/grafana/grafana@sha256:0000000000000000000000000000000000000000000000000000000000000000").len(), 2);
        assert_eq!(mirrored(mirrors, "quay.io/org/app:1"), ["q.example.com/org/app"]);
        assert!(mirrored(mirrors, "quay.io/organisation/app:1").is_empty(), "a part of a name is another name");
        assert!(mirrored(mirrors, "ghcr.io/org/app:1").is_empty() && mirrored("", "python").is_empty());
    }

    #[test]
    fn what_names_no_places_is_refused() {
        for bad in [
            "docker.io",
            "docker.io=",
            "=m.example.com",
            "library=m.example.com",
            "docker.io=m.example.com/x:1",
            "a.b=ftp://c.d",
        ] {
            assert!(bad.parse::<Mirrors>().is_err(), "{bad}");
        }
    }
}
