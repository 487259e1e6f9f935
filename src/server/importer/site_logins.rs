//! Credentials for other registries that are the whole site's: those of a file as Docker and podman write it (`config.json`). A project's
//! own secrets come before them. The file is read again when it changes; what is in it is never logged, nor kept anywhere else.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::Importer;
use crate::model::registry_fit;
use crate::server::oci::Credentials;

/// As Docker's own files name an identity token's user.
const IDENTITY_TOKEN: &str = "<token>";
/// The longest such file that is read.
const LONGEST: u64 = 1024 * 1024;

/// The site's credentials; none without a file.
#[derive(Default)]
pub struct SiteLogins {
    file: Option<PathBuf>,
    read: Mutex<Read>,
    /// What tags are asked as may be another one by now.
    is_news: AtomicBool,
}

#[derive(Default)]
struct Read {
    /// Time and size of the file that was read, or was found to be of no use.
    stamp: Option<(SystemTime, u64)>,
    logins: Vec<Login>,
}

/// A line of the file.
struct Login {
    /// A registry, or a path in it, with or without wildcards.
    place: String,
    credentials: Credentials,
}

/// The file's own form. What else stands in it, as helpers that hold passwords elsewhere, is passed over.
#[derive(Deserialize)]
struct Document {
    auths: Option<BTreeMap<String, Auth>>,
}

#[derive(Deserialize)]
struct Auth {
    auth: Option<SecretString>,
    username: Option<String>,
    password: Option<SecretString>,
    identitytoken: Option<SecretString>,
}

impl Auth {
    fn credentials(&self) -> Option<Credentials> {
        let filled = |secret: &&SecretString| !secret.expose_secret().is_empty();
        if let Some(token) = self.identitytoken.as_ref().filter(filled) {
            return Some(Credentials { username: IDENTITY_TOKEN.to_owned(), password: token.clone() });
        }
        if let Some(auth) = self.auth.as_ref().filter(filled) {
            let pair = String::from_utf8(BASE64.decode(auth.expose_secret().trim()).ok()?).ok()?;
            let (username, password) = pair.split_once(':')?;
            // Docker pads with zeros.
            let password = password.trim_end_matches('\0').to_owned();
            return Some(Credentials { username: username.to_owned(), password: password.into() });
        }
        let password = self.password.as_ref().filter(filled)?;
        Some(Credentials { username: self.username.clone()?, password: password.clone() })
    }
}

impl fmt::Debug for SiteLogins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SiteLogins").field("file", &self.file).finish_non_exhaustive()
    }
}

impl SiteLogins {
    /// Those of a file, which has to be there and to read.
    pub async fn open(file: Option<&Path>) -> anyhow::Result<Self> {
        let Some(file) = file else { return Ok(Self::default()) };
        let context = || format!("cannot use the credentials in {}", file.display());
        let stamp = stamp(file).await.with_context(context)?;
        let logins = read(file).await.with_context(context)?;
        let read = Mutex::new(Read { stamp: Some(stamp), logins });
        Ok(Self { file: Some(file.to_owned()), read, is_news: AtomicBool::new(true) })
    }

    /// Whether there are any.
    pub fn is_configured(&self) -> bool {
        self.file.is_some()
    }

    /// The credentials for a repository at a registry: those with the longest path that fits, and a host by name before one by pattern.
    pub async fn find(&self, host: &str, repository: &str) -> Option<Credentials> {
        self.file.as_ref()?;
        let read = self.current().await;
        let fitting =
            read.logins.iter().filter_map(|login| Some((registry_fit(&login.place, host, repository)?, login)));
        // The first of those that fit as well.
        let best = fitting.reduce(|best, one| if one.0 > best.0 { one } else { best });
        best.map(|(_, login)| login.credentials.clone())
    }

    /// Whether the credentials have changed since this was asked last.
    pub async fn take_news(&self) -> bool {
        if self.file.is_none() {
            return false;
        }
        drop(self.current().await);
        self.is_news.swap(false, Ordering::Relaxed)
    }

    /// What the file says by now. While it cannot be read, what it said before is good: whoever replaces it may be at that.
    async fn current(&self) -> tokio::sync::MutexGuard<'_, Read> {
        let mut known = self.read.lock().await;
        let Some(file) = &self.file else { return known };
        let Ok(found) = stamp(file).await else { return known };
        if known.stamp == Some(found) {
            return known;
        }
        known.stamp = Some(found);
        match read(file).await {
            Ok(logins) => {
                info!("Read the site's credentials for {} registries again", logins.len());
                known.logins = logins;
                self.is_news.store(true, Ordering::Relaxed);
            }
            Err(cause) => warn!("The credentials in {} stay as they were: {cause:#}", file.display()),
        }
        known
    }
}

impl Importer {
    /// Whether the site has credentials of its own.
    pub fn has_site_logins(&self) -> bool {
        self.shared.around.logins.is_configured()
    }

    /// Whether those have changed since this was asked last, or nobody ever asked: what checks are asked as has to be found out anew.
    pub async fn take_login_news(&self) -> bool {
        self.shared.around.logins.take_news().await
    }
}

async fn stamp(file: &Path) -> std::io::Result<(SystemTime, u64)> {
    let meta = tokio::fs::metadata(file).await?;
    Ok((meta.modified()?, meta.len()))
}

async fn read(file: &Path) -> anyhow::Result<Vec<Login>> {
    anyhow::ensure!(tokio::fs::metadata(file).await?.len() <= LONGEST, "the file is larger than 1 MiB");
    parse(&tokio::fs::read(file).await?)
}

/// Reads `config.json`, and the older `.dockercfg`, which has the same without `auths` around it. What is wrong with the text is not quoted:
/// it may be a password.
fn parse(text: &[u8]) -> anyhow::Result<Vec<Login>> {
    let unreadable = |cause: serde_json::Error| {
        anyhow::anyhow!("line {}, column {} is not as Docker writes it", cause.line(), cause.column())
    };
    let document: Document = serde_json::from_slice(text).map_err(unreadable)?;
    let auths = match document.auths {
        Some(auths) => auths,
        None => serde_json::from_slice::<BTreeMap<String, serde_json::Value>>(text)
            .map_err(unreadable)?
            .into_iter()
            .filter_map(|(place, auth)| Some((place, serde_json::from_value(auth).ok()?)))
            .collect(),
    };
    let login = |(place, auth): (String, Auth)| Some(Login { place, credentials: auth.credentials()? });
    Ok(auths.into_iter().filter_map(login).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn user(logins: &SiteLogins, host: &str, repository: &str) -> Option<(String, String)> {
        let found = logins.find(host, repository).await?;
        Some((found.username, found.password.expose_secret().to_owned()))
    }

    fn is(username: &str, password: &str) -> Option<(String, String)> {
        Some((username.to_owned(), password.to_owned()))
    }

    #[tokio::test]
    async fn section_6_5_the_sites_credentials_are_found_by_the_longest_path() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.json");
        let pair = |text: &str| BASE64.encode(text);
        let text = serde_json::json!({"credsStore": "desktop", "auths": {
            "https://index.docker.io/v1/": {"auth": pair("hub:a:b\0\0")},
            "quay.io": {"auth": pair("all:word")},
            "quay.io/team": {"username": "team", "password": "word"},
            "*.example.com": {"identitytoken": "t0ken"},
            "helper.example.org": {},
        }});
        tokio::fs::write(&file, text.to_string()).await.unwrap();
        let logins = SiteLogins::open(Some(&file)).await.unwrap();
        assert_eq!(user(&logins, "docker.io", "library/busybox").await, is("hub", "a:b"));
        assert_eq!(user(&logins, "quay.io", "team/app").await, is("team", "word"));
        assert_eq!(user(&logins, "quay.io", "teams/app").await, is("all", "word"));
        assert_eq!(user(&logins, "r.example.com", "x").await, is("<token>", "t0ken"));
        assert_eq!(user(&logins, "helper.example.org", "x").await, None);
        assert_eq!(user(&SiteLogins::default(), "quay.io", "x").await, None);
        assert!(!format!("{logins:?}").contains("word"));
    }

    #[tokio::test]
    async fn the_file_is_read_again_when_it_changes_and_what_is_broken_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(".dockercfg");
        let mut age = 100;
        // Two writes within a tick of the file system's clock are told apart by that.
        let mut write = async |text: &str| {
            tokio::fs::write(&file, text).await.unwrap();
            age -= 1;
            let at = SystemTime::now() - Duration::from_secs(age);
            std::fs::File::options().append(true).open(&file).unwrap().set_modified(at).unwrap();
        };
        assert!(SiteLogins::open(Some(&file)).await.is_err(), "there is none");
        write(r#"{"quay.io": {"username": "one", "password": "1"}, "HttpHeaders": 1}"#).await;
        let logins = SiteLogins::open(Some(&file)).await.unwrap();
        assert_eq!(user(&logins, "quay.io", "x").await, is("one", "1"));
        assert!(logins.take_news().await, "who was asked as whom before the start nobody knows");
        assert!(!logins.take_news().await);
        write(r#"{"auths": {"quay.io": {"username": "two", "password": "hunter2"}}"#).await;
        assert_eq!((user(&logins, "quay.io", "x").await, logins.take_news().await), (is("one", "1"), false));
        let told = format!("{:#}", SiteLogins::open(Some(&file)).await.unwrap_err());
        assert!(told.contains("line 1") && !told.contains("hunter2"), "{told}");
        write(r#"{"auths": {"quay.io": {"username": "two", "password": "hunter2"}}}"#).await;
        assert_eq!((user(&logins, "quay.io", "x").await, logins.take_news().await), (is("two", "hunter2"), true));
        write("{}").await;
        assert_eq!(user(&logins, "quay.io", "x").await, None);
    }
}
