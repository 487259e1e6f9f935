//! The questions that other registries are asked. Whoever asks decides when; this keeps to one question, one deadline.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use reqwest::header::{CONTENT_TYPE, ETAG, HeaderMap, LINK};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;

use super::auth::{Credentials, Key};
use super::manifest::{self, Manifest};
use super::transport::{Question, Transport, read_up_to};
use super::{Authorities, Error, Pace, RateLimit};
use crate::model::{Digest, ImageReference};
use crate::server::hash::digest_like;

/// How patient to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// For a connection to be made.
    pub connect_timeout: Duration,
    /// For a whole question but a blob's, retries with other schemes and tokens included. A check is two of them at the most before
    /// anything is fetched, and is to fail within a minute.
    pub question_timeout: Duration,
    /// For the next bytes of anything.
    pub idle_timeout: Duration,
    /// For a blob on its way.
    pub pace: Pace,
    /// What this server calls itself in [`VIA`], so that it knows its own questions when they come back to it.
    pub via: Option<String>,
    /// Whose word is taken for a registry's certificate, besides those the machine trusts.
    pub authorities: Authorities,
}

/// The header that names the Weir a question comes from.
pub const VIA: &str = "weir-via";

impl Default for Options {
    fn default() -> Self {
        let (connect_timeout, idle_timeout) = (Duration::from_secs(10), Duration::from_secs(60));
        let question_timeout = Duration::from_secs(25);
        let authorities = Authorities::default();
        Self { connect_timeout, question_timeout, idle_timeout, pace: Pace::default(), via: None, authorities }
    }
}

/// As whom to ask, and whether to insist on TLS.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// None asks anonymously.
    pub credentials: Option<Credentials>,
    /// Take any certificate, and plain HTTP where there is no TLS.
    pub insecure: bool,
}

/// A client for any number of registries; cheap to share, made once.
pub struct Client {
    transport: Transport,
    options: Options,
}

/// What a HEAD tells of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadManifest {
    pub digest: Digest,
    pub media_type: Option<String>,
    pub etag: Option<String>,
    pub rate_limit: Option<RateLimit>,
    /// It is known only that it is still what was seen (304): a cache may have said so.
    pub is_unchanged: bool,
}

/// What came of a question for what a reference means by now.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, taken apart where it arrives")]
pub enum Changed {
    /// What was seen.
    Not {
        rate_limit: Option<RateLimit>,
    },
    To(RemoteManifest),
}

/// A manifest that was fetched and proven to be what was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteManifest {
    pub manifest: Manifest,
    pub etag: Option<String>,
    pub rate_limit: Option<RateLimit>,
}

/// A blob on its way. The bytes are not compared with the digest: whoever stores them does that.
pub struct BlobDownload {
    pub size: Option<u64>,
    pub stream: BoxStream<'static, Result<Bytes, Error>>,
}

/// Some of a repository's tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagPage {
    pub tags: Vec<String>,
    /// What to pass as `after` for the next page; none at the end, or when the list breaks off.
    pub next: Option<String>,
    /// The page says that it comes after itself: what else there is cannot be read.
    pub breaks_off: bool,
}

impl Default for Client {
    fn default() -> Self {
        Self::new(Options::default())
    }
}

impl Client {
    /// A client. Works on machines without CA certificates too, though for insecure registries only.
    pub fn new(options: Options) -> Self {
        Self { transport: Transport::new(&options), options }
    }

    /// Asks which manifest a reference means, without fetching it: most registries count that as nothing. `seen` is what it meant the
    /// last time. None when the registry does not tell on a HEAD, so that only [`Client::get_manifest`] can say.
    pub async fn head_manifest(
        &self,
        reference: &ImageReference,
        seen: Option<&Digest>,
        access: &Access,
    ) -> Result<Option<HeadManifest>, Error> {
        let asked = Asked::new(reference);
        let question = asked.manifest(Method::HEAD, seen, access);
        self.in_time(&asked, async {
            let response = self.transport.ask_any(&question).await?;
            if let Some(seen) = seen.filter(|_| response.status() == StatusCode::NOT_MODIFIED) {
                let headers = response.headers();
                let (etag, rate_limit) = (text(headers, ETAG.as_str()), RateLimit::of(headers));
                return Ok(Some(HeadManifest {
                    digest: seen.clone(),
                    media_type: None,
                    etag,
                    rate_limit,
                    is_unchanged: true,
                }));
            }
            if matches!(response.status(), StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED) {
                return Ok(None);
            }
            if !response.status().is_success() {
                return Err(self.transport.refusal(&question, response).await);
            }
            let headers = response.headers();
            let Some(digest) = content_digest(headers) else { return Ok(None) };
            match asked.target.digest() {
                Some(wanted) if wanted.algorithm() == digest.algorithm() && wanted != digest => {
                    Err(mismatch(&wanted, &digest))
                }
                wanted => Ok(Some(HeadManifest {
                    digest: wanted.unwrap_or(digest),
                    media_type: text(headers, CONTENT_TYPE.as_str()),
                    etag: text(headers, ETAG.as_str()),
                    rate_limit: RateLimit::of(headers),
                    is_unchanged: false,
                })),
            }
        })
        .await
    }

    /// Fetches a manifest or index. Its digest is computed from the bytes received and must be the one asked for, if
    /// one was, and the one the registry claims, if it does.
    pub async fn get_manifest(&self, reference: &ImageReference, access: &Access) -> Result<RemoteManifest, Error> {
        let asked = Asked::new(reference);
        let question = asked.manifest(Method::GET, None, access);
        match self.get_manifest_unless_seen(&asked, &question).await? {
            Changed::To(manifest) => Ok(manifest),
            Changed::Not { .. } => {
                Err(question.other("the registry answered 304 Not Modified to a first question".to_owned()))
            }
        }
    }

    /// As [`Client::get_manifest`], unless the reference still means what was seen, as far as the registry tells.
    pub async fn get_changed_manifest(
        &self,
        reference: &ImageReference,
        seen: &Digest,
        access: &Access,
    ) -> Result<Changed, Error> {
        let asked = Asked::new(reference);
        self.get_manifest_unless_seen(&asked, &asked.manifest(Method::GET, Some(seen), access)).await
    }

    async fn get_manifest_unless_seen(&self, asked: &Asked, question: &Question<'_>) -> Result<Changed, Error> {
        self.in_time(asked, async {
            let response = self.transport.ask_any(question).await?;
            if response.status() == StatusCode::NOT_MODIFIED {
                return Ok(Changed::Not { rate_limit: RateLimit::of(response.headers()) });
            }
            if !response.status().is_success() {
                return Err(self.transport.refusal(question, response).await);
            }
            let headers = response.headers().clone();
            let body = read_up_to(response, manifest::MAX_SIZE + 1).await.map_err(|e| question.failure(e))?;
            let body = Bytes::from(body);
            let sent_as = text(&headers, CONTENT_TYPE.as_str());
            let mut manifest = Manifest::parse(sent_as.as_deref(), body).map_err(|e| question.other(e.to_string()))?;
            for claimed in [asked.target.digest(), content_digest(&headers)].into_iter().flatten() {
                let found = digest_like(&claimed, &manifest.bytes);
                if found != claimed {
                    return Err(mismatch(&claimed, &found));
                }
            }
            if let Some(wanted) = asked.target.digest() {
                manifest.digest = wanted;
            }
            let (etag, rate_limit) = (text(&headers, ETAG.as_str()), RateLimit::of(&headers));
            Ok(Changed::To(RemoteManifest { manifest, etag, rate_limit }))
        })
        .await
    }

    /// Starts fetching a blob of the reference's repository. Only the start has a deadline, then each next piece; and a [`Pace`] is kept.
    pub async fn get_blob(
        &self,
        repository: &ImageReference,
        digest: &Digest,
        access: &Access,
    ) -> Result<BlobDownload, Error> {
        let asked = Asked::new(&repository.at_digest(digest));
        let question = asked.question(Method::GET, format!("blobs/{digest}"), access);
        let response = self.in_time(&asked, self.transport.ask(&question)).await?;
        let size = response.content_length();
        let pieces = response.bytes_stream().map_err(asked.interrupted()).boxed();
        let stream = self.options.pace.keep(asked.target.registry.clone(), pieces).boxed();
        Ok(BlobDownload { size, stream })
    }

    /// Fetches a small blob, for instance an image's configuration, whole and proven to have the digest. More than 4 MiB
    /// are refused.
    pub async fn get_small_blob(
        &self,
        repository: &ImageReference,
        digest: &Digest,
        access: &Access,
    ) -> Result<Bytes, Error> {
        let asked = Asked::new(&repository.at_digest(digest));
        let question = asked.question(Method::GET, format!("blobs/{digest}"), access);
        self.in_time(&asked, async {
            let response = self.transport.ask(&question).await?;
            let body = read_up_to(response, manifest::MAX_SIZE + 1).await.map_err(|e| question.failure(e))?;
            if body.len() > manifest::MAX_SIZE {
                return Err(question.other("its configuration is larger than 4 MiB".to_owned()));
            }
            let found = digest_like(digest, &body);
            if found == *digest { Ok(Bytes::from(body)) } else { Err(mismatch(digest, &found)) }
        })
        .await
    }

    /// One page of a repository's tags, in the registry's order; `after` is an earlier page's `next`. A page may tell
    /// nothing and yet not be the last one.
    pub async fn list_tags_page(
        &self,
        repository: &ImageReference,
        after: Option<&str>,
        access: &Access,
    ) -> Result<TagPage, Error> {
        let asked = Asked::new(&repository.as_repository());
        let path = format!("tags/list?{}", after.unwrap_or("n=1000"));
        let question = asked.question(Method::GET, path, access);
        self.in_time(&asked, async {
            let response = self.transport.ask(&question).await?;
            let next = next_page(&response);
            let body = read_up_to(response, MAX_TAG_PAGE).await.map_err(|e| question.failure(e))?;
            let unreadable = |_| question.other("the registry's list of tags could not be read".to_owned());
            let page: TagList = serde_json::from_slice(&body).map_err(unreadable)?;
            let tags = page.tags.unwrap_or_default();
            let breaks_off = next.is_some() && next.as_deref() == after;
            Ok(TagPage { tags, next: next.filter(|_| !breaks_off), breaks_off })
        })
        .await
    }

    /// Whether the registry wanted these credentials for the repository, and took them the last time. One that lets everybody in was
    /// not shown any.
    pub async fn is_signed_in(&self, repository: &ImageReference, access: &Access) -> bool {
        access.credentials.is_some() && self.transport.is_authorized(&Asked::new(repository).target, access).await
    }

    /// Whether the registry refused these credentials a short while ago, so that it was asked without.
    pub fn is_refused(&self, repository: &ImageReference, access: &Access) -> bool {
        access.credentials.is_some() && self.transport.refused.has(&Key::of(&Asked::new(repository).target, access))
    }

    async fn in_time<T>(&self, asked: &Asked, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let late = |_| Error::Timeout { registry: asked.target.registry.clone() };
        tokio::time::timeout(self.options.question_timeout, work).await.map_err(late)?
    }
}

const MAX_TAG_PAGE: usize = 16 * 1024 * 1024;

#[derive(Deserialize)]
struct TagList {
    tags: Option<Vec<String>>,
}

/// A reference as typed, and where it leads.
struct Asked {
    subject: String,
    target: ImageReference,
}

impl Asked {
    fn new(reference: &ImageReference) -> Self {
        let mut target = reference.docker_client_defaults().as_v2();
        if !target.id.is_empty() {
            target.tag.clear();
        }
        Self { subject: reference.exact(), target }
    }

    fn manifest<'a>(&'a self, method: Method, seen: Option<&Digest>, access: &'a Access) -> Question<'a> {
        let which = if self.target.id.is_empty() { &self.target.tag } else { &self.target.id };
        let unless = seen.map(|digest| format!("\"{digest}\""));
        Question { accept: accept(), unless, ..self.question(method, format!("manifests/{which}"), access) }
    }

    fn question<'a>(&'a self, method: Method, path: String, access: &'a Access) -> Question<'a> {
        Question { target: &self.target, subject: &self.subject, method, path, accept: "", unless: None, access }
    }

    /// Names what breaks off a body. Owns what it needs, as the stream outlives the question.
    fn interrupted(&self) -> impl Fn(reqwest::Error) -> Error + Send + 'static {
        let registry = self.target.registry.clone();
        move |e| match e.is_timeout() {
            true => Error::Timeout { registry: registry.clone() },
            false => {
                let detail = format!("the transfer broke off: {}", e.without_url());
                Error::Unreachable { registry: registry.clone(), detail }
            }
        }
    }
}

fn accept() -> &'static str {
    static ACCEPT: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| manifest::ACCEPTED.join(", "));
    &ACCEPT
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn content_digest(headers: &HeaderMap) -> Option<Digest> {
    text(headers, "docker-content-digest")?.parse().ok()
}

fn mismatch(expected: &Digest, found: &Digest) -> Error {
    Error::Integrity { detail: format!("expected {expected}, received {found}") }
}

/// The query of the `Link` to the next page. Only the query: a link to elsewhere is not followed.
fn next_page(response: &Response) -> Option<String> {
    let link = text(response.headers(), LINK.as_str())?;
    let next = link.split(',').find(|link| link.contains("rel=\"next\"") || link.contains("rel=next"))?;
    let target = next.trim().strip_prefix('<')?.split_once('>')?.0;
    let url: Url = response.url().join(target).ok()?;
    url.query().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c14_docker_hub_goes_by_many_names() {
        for text in
            ["busybox", "docker.io/busybox", "index.docker.io/library/busybox:latest", "registry-1.docker.io/busybox"]
        {
            let asked = Asked::new(&text.parse().expect("a reference"));
            assert_eq!(asked.target.exact(), "registry-1.docker.io/library/busybox:latest", "{text}");
            assert_eq!(asked.subject, text, "messages say what was typed");
        }
        let other = Asked::new(&"quay.io/busybox".parse().expect("a reference"));
        assert_eq!(other.target.exact(), "quay.io/busybox:latest", "library is Docker Hub's alone");
    }
}
