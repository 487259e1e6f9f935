//! From which registries images may be taken: OpenShift's `allowedRegistriesForImport`.

use std::str::FromStr;

use globset::{GlobBuilder, GlobMatcher};

use super::ImageReference;

/// How many entries a refusal names.
const SHOWN: usize = 5;
/// Every host, whatever its labels.
const ANY: &str = "*";
/// What stands before an entry for registries that are asked without TLS.
const INSECURE: &str = "http://";

/// The registries that people may import from, or all of them.
#[derive(Debug, Clone, Default)]
pub struct AllowedRegistries(Option<Vec<HostPort>>);

/// `host[:port]`. Both may have `*` for any characters and `?` for one, within a label; `*` alone is every host. Without a port it is that
/// of HTTPS, or, with `http://` before it, that of HTTP.
#[derive(Debug, Clone)]
struct HostPort {
    text: String,
    host: GlobMatcher,
    port: GlobMatcher,
}

/// The port that need not be written.
fn usual_port(insecure: bool) -> &'static str {
    if insecure { "80" } else { "443" }
}

/// Not a list of registries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a registry: expected host[:port], in which * stands for any characters and ? for one; http:// before it is for registries \
     that are asked without TLS"
)]
pub struct AllowedRegistriesError(String);

/// A registry that nobody may import from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("importing images from registry \"{host_port}\" is forbidden: registry \"{registry}\" not allowed by {list}")]
pub struct ForbiddenRegistry {
    host_port: String,
    registry: String,
    list: String,
}

impl AllowedRegistries {
    /// Passes when images may be taken from the reference's registry.
    pub fn check(&self, reference: &ImageReference, insecure: bool) -> Result<(), ForbiddenRegistry> {
        let Some(entries) = &self.0 else { return Ok(()) };
        let full = reference.docker_client_defaults();
        let (host, port) = full.registry.rsplit_once(':').unwrap_or((full.registry.as_str(), usual_port(insecure)));
        // Whoever allows Docker Hub allows all of its names.
        let hosts = [host, if full.is_hub() { "docker.io" } else { host }];
        if entries.iter().any(|entry| hosts.iter().any(|host| entry.admits(host, port))) {
            return Ok(());
        }
        let host_port = format!("{host}:{port}");
        Err(ForbiddenRegistry { host_port, registry: full.registry, list: in_words(entries) })
    }
}

/// Separated by commas. An empty text admits none.
impl FromStr for AllowedRegistries {
    type Err = AllowedRegistriesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        Ok(Self(Some(entries.map(str::parse).collect::<Result<_, _>>()?)))
    }
}

impl FromStr for HostPort {
    type Err = AllowedRegistriesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (place, is_insecure) = text.strip_prefix(INSECURE).map_or((text, false), |rest| (rest, true));
        let (host, port) = place.rsplit_once(':').unwrap_or((place, usual_port(is_insecure)));
        let is_known = |c: char| c.is_ascii_alphanumeric() || "-_.*?".contains(c);
        let matcher = |part: &str| {
            let glob = GlobBuilder::new(&by_label(part)).literal_separator(true).build().ok();
            glob.filter(|_| !part.is_empty() && part.chars().all(is_known)).map(|glob| glob.compile_matcher())
        };
        let error = || AllowedRegistriesError(text.to_owned());
        Ok(Self {
            text: format!("{host}:{port}"),
            host: matcher(host).ok_or_else(error)?,
            port: matcher(port).ok_or_else(error)?,
        })
    }
}

impl HostPort {
    fn admits(&self, host: &str, port: &str) -> bool {
        self.port.is_match(port) && (self.host.glob().glob() == ANY || self.host.is_match(by_label(host)))
    }
}

/// A host as a path, whose parts are what wildcards keep within.
fn by_label(host: &str) -> String {
    host.replace('.', "/")
}

fn in_words(entries: &[HostPort]) -> String {
    let named = if entries.len() > SHOWN { SHOWN - 1 } else { entries.len() };
    let names: Vec<String> = entries.iter().take(named).map(|entry| format!("\"{}\"", entry.text)).collect();
    match entries.len() - named {
        _ if entries.is_empty() => "empty whitelist".to_owned(),
        0 => format!("whitelist: {}", names.join(", ")),
        more => format!("whitelist: {}, and {more} more ...", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(list: &str, reference: &str) -> Result<(), String> {
        check_as(list, reference, false)
    }

    fn check_as(list: &str, reference: &str, insecure: bool) -> Result<(), String> {
        let list: AllowedRegistries = list.parse().unwrap();
        list.check(&reference.parse().unwrap(), insecure).map_err(|refused| refused.to_string())
    }

    #[test]
    fn section_6_9_the_port_that_is_not_written_is_443_or_80_when_insecure() {
        for (list, reference, secure, insecure) in [
            ("quay.io", "quay.io/x", true, false),
            ("quay.io:443", "quay.io/x", true, false),
            ("quay.io", "quay.io:443/x", true, true),
            ("quay.io", "quay.io:80/x", false, false),
            ("quay.io:80", "quay.io/x", false, true),
            ("http://quay.io", "quay.io/x", false, true),
            ("http://quay.io", "quay.io:80/x", true, true),
            ("http://quay.io:5000", "quay.io:5000/x", true, true),
            ("quay.io:5000", "quay.io:5000/x", true, true),
            ("quay.io:*", "quay.io/x", true, true),
            ("quay.io,http://quay.io", "quay.io/x", true, true),
            ("*", "quay.io/x", true, false),
            ("http://*", "quay.io/x", false, true),
            ("docker.io", "busybox", true, false),
            ("http://docker.io", "busybox", false, true),
        ] {
            let admitted = [false, true].map(|insecure| check_as(list, reference, insecure).is_ok());
            assert_eq!(admitted, [secure, insecure], "{reference} by {list:?}");
        }
        let refused = check_as("quay.io,http://r.io", "quay.io/x", true).unwrap_err();
        assert!(
            refused.contains("registry \"quay.io:80\"") && refused.ends_with("\"quay.io:443\", \"r.io:80\""),
            "{refused}"
        );
    }

    #[test]
    fn section_6_9_registries_are_admitted_by_host_and_port() {
        for (list, reference, admitted) in [
            ("docker.io", "busybox", true),
            ("docker.io", "index.docker.io/library/busybox", true),
            ("docker.io", "registry-1.docker.io/library/busybox", true),
            ("docker.io:*", "busybox", true),
            ("index.docker.io", "busybox", false),
            ("quay.io", "quay.io/org/app:1", true),
            ("quay.io", "quay.io:443/org/app", true),
            ("quay.io", "quay.io:5000/org/app", false),
            ("quay.io:5000", "quay.io:5000/org/app", true),
            ("quay.io:5000", "quay.io/org/app", false),
            ("quay.io:50?0", "quay.io:5010/org/app", true),
            ("*.example.com", "r1.example.com/app", true),
            ("*.example.com", "a.b.example.com/app", false),
            ("*.example.com", "example.com/app", false),
            ("r?.example.com", "r1.example.com/app", true),
            ("r*-eu.example.com", "r-north-eu.example.com/app", true),
            ("r*-eu.example.com", "r-north-us.example.com/app", false),
            ("*", "quay.io/org/app", true),
            ("*", "localhost:5000/app", false),
            ("*:*", "localhost:5000/app", true),
            ("ghcr.io, quay.io", "quay.io/org/app", true),
            ("", "busybox", false),
        ] {
            assert_eq!(check(list, reference).is_ok(), admitted, "{reference} by {list:?}");
        }
        assert_eq!(AllowedRegistries::default().check(&"quay.io/org/app".parse().unwrap(), true), Ok(()));
        for bad in ["https://quay.io", "quay.io/org", "[a].io", ":5000", "quay.io:", "{a,b}.io"] {
            assert!(bad.parse::<AllowedRegistries>().is_err(), "{bad}");
        }
    }

    #[test]
    fn section_6_9_refusals_name_up_to_five_entries() {
        assert_eq!(
            check("", "busybox").unwrap_err(),
            "importing images from registry \"docker.io:443\" is forbidden: registry \"docker.io\" not allowed by empty whitelist"
        );
        assert!(
            check("a,b:1,c,d,e", "quay.io/a/b")
                .unwrap_err()
                .ends_with("\"a:443\", \"b:1\", \"c:443\", \"d:443\", \"e:443\"")
        );
        assert!(check("a,b,c,d,e,f", "quay.io/a/b").unwrap_err().ends_with("\"d:443\", and 2 more ..."));
    }
}
