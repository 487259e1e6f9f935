//! Addresses of git repositories: which forms are allowed, and what of them may be shown.

use std::path::{Component, Path, PathBuf};

use secrecy::SecretString;

use crate::server::builder::GitCredentials;

/// The ways to reach a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Https,
    Http,
    Ssh,
    Git,
    File,
}

impl Transport {
    /// For `GIT_ALLOW_PROTOCOL`: what a redirect may lead to as well.
    pub fn protocol(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http:https",
            Self::Ssh => "ssh",
            Self::Git => "git",
            Self::File => "file",
        }
    }
}

/// A repository's address, fit for git's command line: nothing secret is left in it.
#[derive(Debug)]
pub struct Address {
    pub uri: String,
    pub transport: Transport,
    /// From `https://user:password@host/…`.
    pub credentials: Option<GitCredentials>,
}

const SCHEMES: [&str; 5] = ["https", "http", "ssh", "git", "file"];
const FORMS: &str = "use https://…, ssh://…, git://…, or git@host:path";

impl Address {
    /// Reads a uri as a user wrote it; `file_roots` are where `file://` may lead.
    pub fn parse(uri: &str, file_roots: &[PathBuf]) -> Result<Self, String> {
        if uri.is_empty() || uri.starts_with('-') || uri.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(format!("\"{}\" is no address of a git repository: {FORMS}", without_credentials(uri)));
        }
        if let Some((scheme, rest)) = uri.split_once("://") {
            return match scheme.to_ascii_lowercase().as_str() {
                "https" => Self::web(Transport::Https, rest),
                "http" => Self::web(Transport::Http, rest),
                "ssh" | "git+ssh" | "ssh+git" => Self::ssh(rest),
                "git" => Self::with_host(Transport::Git, format!("git://{rest}"), rest),
                "file" => Self::file(rest, file_roots),
                _ => Err(format!("git repositories cannot be fetched by {scheme}:// here: {FORMS}")),
            };
        }
        // `ext::sh -c …` and other remote helpers run programs; `https:/host` is a slip.
        match uri.split_once(':') {
            Some((host, path))
                if !host.contains('/') && !path.starts_with(':') && !path.is_empty() && !SCHEMES.contains(&host) =>
            {
                Self::with_host(Transport::Ssh, uri.to_owned(), host.rsplit('@').next().unwrap_or_default())
            }
            _ => Err(format!("\"{uri}\" is no address of a git repository: {FORMS}")),
        }
    }

    fn with_host(transport: Transport, uri: String, rest: &str) -> Result<Self, String> {
        let host = rest.split('/').next().unwrap_or_default();
        // ssh would read such a host as an option.
        if host.is_empty() || host.starts_with('-') {
            return Err(format!("\"{}\" names no host: {FORMS}", without_credentials(&uri)));
        }
        Ok(Self { uri, transport, credentials: None })
    }

    fn web(transport: Transport, rest: &str) -> Result<Self, String> {
        let scheme = if transport == Transport::Https { "https" } else { "http" };
        let authority_end = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(authority_end);
        let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
        let mut address = Self::with_host(transport, format!("{scheme}://{host}{path}"), host)?;
        address.credentials = user.map(|user| {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            let decode =
                |text: &str| urlencoding::decode(text).map_or_else(|_| text.to_owned(), |text| text.into_owned());
            GitCredentials::Basic { username: decode(name), password: SecretString::from(decode(password)) }
        });
        Ok(address)
    }

    fn ssh(rest: &str) -> Result<Self, String> {
        let authority = rest.split('/').next().unwrap_or_default();
        let (user, host) = authority.rsplit_once('@').map_or(("", authority), |(user, host)| (user, host));
        if user.contains(':') || user.starts_with('-') {
            return Err("an ssh address takes no password: give the source a secret with a private key".into());
        }
        Self::with_host(Transport::Ssh, format!("ssh://{rest}"), host)
    }

    /// A repository on the server's own disk: only where the operator allows it, links followed first.
    fn file(path: &str, roots: &[PathBuf]) -> Result<Self, String> {
        let path = Path::new(path.strip_prefix("localhost").unwrap_or(path));
        let inside = |path: &Path| {
            roots.iter().any(|root| root.canonicalize().is_ok_and(|root| path.is_absolute() && path.starts_with(root)))
        };
        // What lies outside is not even said to exist or not.
        let allowed = match path.canonicalize() {
            Ok(real) => inside(&real).then_some(real),
            Err(_) if path.components().any(|part| part == Component::ParentDir) => None,
            Err(_) => inside(path).then(|| path.to_owned()),
        };
        let Some(path) = allowed.as_deref().and_then(Path::to_str) else {
            return Err("file:// repositories are read only below directories that the operator allows \
                (weir serve --git-file-root DIR): use another address"
                .to_owned());
        };
        Ok(Self { uri: format!("file://{path}"), transport: Transport::File, credentials: None })
    }
}

/// `uri` without the user and password that an `http(s)` address may hold.
pub fn without_credentials(uri: &str) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else { return uri.to_owned() };
    let authority_end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    match authority.rsplit_once('@') {
        // The user of an ssh address is part of where it leads.
        Some((user, host)) if !scheme.contains("ssh") || user.contains(':') => format!("{scheme}://{host}{path}"),
        _ => uri.to_owned(),
    }
}
