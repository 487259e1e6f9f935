//! Which registries something is for: a secret, or the permission to do without TLS. As in Docker's own configuration files, with
//! wildcards in the labels of hosts.

use std::str::FromStr;

/// How well a pattern fits: the matching path's length, then whether the host is named exactly. More is better.
pub type Fit = (usize, bool);

/// How well `pattern`, a host with or without a path, fits a repository at a registry. `host` is as in a reference, with its port if it
/// names one.
pub fn registry_fit(pattern: &str, host: &str, repository: &str) -> Option<Fit> {
    let pattern = pattern.trim();
    let pattern = pattern.split_once("://").map_or(pattern, |(_, rest)| rest).trim_end_matches('/');
    // Docker's own configuration files write `https://index.docker.io/v1/`.
    let pattern = pattern.strip_suffix("/v1").or_else(|| pattern.strip_suffix("/v2")).unwrap_or(pattern);
    let (pattern_host, path) = pattern.split_once('/').unwrap_or((pattern, ""));
    let (pattern_host, host) = (hub_or(pattern_host), hub_or(host));
    let exact = pattern_host.eq_ignore_ascii_case(host);
    let path_fits =
        path.is_empty() || repository.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    ((exact || host_fits(pattern_host, host)) && path_fits).then_some((path.len(), exact))
}

/// Docker Hub goes by several names.
fn hub_or(host: &str) -> &str {
    match host {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => "docker.io",
        other => other,
    }
}

/// `*` stands for any characters of a label of the name, `?` for one, and neither for a port.
fn host_fits(pattern: &str, host: &str) -> bool {
    let split = |text: &str| {
        let (name, port) = text.split_once(':').unwrap_or((text, ""));
        (name.to_ascii_lowercase(), port.to_owned())
    };
    let ((pattern, pattern_port), (host, port)) = (split(pattern), split(host));
    let (patterns, labels): (Vec<_>, Vec<_>) = (pattern.split('.').collect(), host.split('.').collect());
    pattern_port == port
        && patterns.len() == labels.len()
        && patterns.iter().zip(&labels).all(|(pattern, label)| label_fits(pattern.as_bytes(), label.as_bytes()))
}

/// Goes back to the last `*` where it does not fit, so that it takes no longer than the product of both lengths.
fn label_fits(pattern: &[u8], label: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while seen < label.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == label[seen] => (at, seen) = (at + 1, seen + 1),
            _ => {
                let Some((before, from)) = star else { return false };
                star = Some((before, from + 1));
                (at, seen) = (before + 1, from + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// Registries that need no TLS, or have certificates that nobody vouches for, whatever a tag says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InsecureRegistries(Vec<String>);

/// Not a list of registries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a registry: expected host[:port], in which * stands for any characters of a label and ? for one"
)]
pub struct InsecureRegistriesError(String);

impl InsecureRegistries {
    /// Whether the registry is one of them; `host` is as in a reference, with its port if it names one.
    pub fn has(&self, host: &str) -> bool {
        self.0.iter().any(|pattern| registry_fit(pattern, host, "").is_some())
    }
}

/// Separated by commas.
impl FromStr for InsecureRegistries {
    type Err = InsecureRegistriesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let read = |entry: &str| {
            let (host, port) = entry.split_once(':').map_or((entry, None), |(host, port)| (host, Some(port)));
            let is_host = host.split('.').all(|label| {
                !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_*?".contains(&b))
            });
            let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok());
            (is_host && is_port).then(|| entry.to_owned()).ok_or_else(|| InsecureRegistriesError(entry.to_owned()))
        };
        Ok(Self(entries.map(read).collect::<Result<_, _>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_6_5_patterns_fit_hosts_and_paths() {
        for (pattern, host, repository, fits) in [
            ("quay.io", "quay.io", "a/b", true),
            ("QUAY.io", "quay.IO", "a/b", true),
            ("quay.io", "quay.io.evil.com", "a", false),
            ("https://index.docker.io/v1/", "docker.io", "library/busybox", true),
            ("registry-1.docker.io", "index.docker.io", "library/busybox", true),
            ("docker.io:443", "docker.io", "library/busybox", false),
            ("*.example.com", "r.example.com", "a", true),
            ("*.example.com", "a.b.example.com", "a", false),
            ("*.example.com", "r.example.com:5000", "a", false),
            ("*.example.com:5000", "r.example.com:5000", "a", true),
            ("*-eu*.example.com", "r-eu-1.example.com", "a", true),
            ("*-eu*.example.com", "r-us-1.example.com", "a", false),
            ("r?.example.com", "r1.example.com", "a", true),
            ("r?.example.com", "r.example.com", "a", false),
            ("r??.example.com", "r1.example.com", "a", false),
            ("*a*b*.io", "xaaxb.io", "a", true),
            ("*a*b*.io", "xbxa.io", "a", false),
            ("r.example.com:5000/team", "r.example.com:5000", "team/app", true),
            ("r.example.com/team", "r.example.com", "team", true),
            ("r.example.com/team", "r.example.com", "teams/app", false),
        ] {
            assert_eq!(registry_fit(pattern, host, repository).is_some(), fits, "{pattern} for {host}/{repository}");
        }
    }

    #[test]
    fn section_6_5_the_longest_path_fits_best_and_then_the_host_by_name() {
        let fit = |pattern| registry_fit(pattern, "quay.io", "a/b");
        assert!(fit("quay.io/a/b") > fit("quay.io/a"));
        assert!(fit("*.io/a") > fit("quay.io"), "a path says more than a host");
        assert!(fit("quay.io") > fit("*.io"));
    }

    #[test]
    fn section_6_5_registries_without_tls_are_named_by_host_and_port() {
        let insecure: InsecureRegistries = "r.example.com, *.lab.example.com:5000,localhost".parse().unwrap();
        for (host, is_insecure) in [
            ("r.example.com", true),
            ("r.example.com:5000", false),
            ("a.lab.example.com:5000", true),
            ("a.lab.example.com", false),
            ("localhost", true),
            ("quay.io", false),
        ] {
            assert_eq!(insecure.has(host), is_insecure, "{host}");
        }
        assert!(!InsecureRegistries::default().has("quay.io"));
        for bad in ["https://r.example.com", "r.example.com/team", "a..b", ":5000", "r:port"] {
            assert!(bad.parse::<InsecureRegistries>().is_err(), "{bad}");
        }
    }
}
