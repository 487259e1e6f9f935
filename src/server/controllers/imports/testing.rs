//! A site whose clock a test sets, and registries that remember what they were asked and when by that clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::Imports;
use crate::model::time::testing::TIME;
use crate::model::{Actor, InsecureRegistries, Tag, TagImport, now};
use crate::server::blobs::Filesystem;
use crate::server::controllers::{Controller, ImportRules, Runner, step};
use crate::server::hash::sha256;
use crate::server::importer::{Importer, MirrorSets, SiteLogins, Surroundings};
use crate::server::oci::{Client, Options};
use crate::server::store::testing::{TestStore, project};
use crate::server::store::{Store, TagSpec};
use crate::server::wake;

pub const SECOND: i64 = 1000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
/// When simulated time begins.
pub const START: i64 = 1_800_000_000_000;

/// One request for a manifest or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub at: i64,
    pub method: Method,
    /// `<repository>:<tag>`, or a path for all else.
    pub what: String,
    pub status: u16,
}

impl Asked {
    /// Whether it was for a page of a repository's tags.
    pub fn is_list(&self) -> bool {
        self.what.contains("/tags/list")
    }
}

/// What a registry allows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allows {
    /// So many manifests in such a time, told in `ratelimit-*` headers.
    pub pulls: Option<(u64, i64)>,
    /// A HEAD is a pull there, too.
    pub counts_heads: bool,
    /// More requests in one second are turned away as abuse.
    pub a_second: Option<usize>,
}

/// How a registry answers instead of what it has: status, headers, body.
pub type Refusal = (u16, Vec<(&'static str, String)>, &'static str);

#[derive(Default)]
struct Shelf {
    allows: Allows,
    refusal: Option<Refusal>,
    /// HEADs are answered all the same.
    refuses_gets_only: bool,
    /// What repositories are said to have.
    tags: BTreeMap<String, Vec<String>>,
    /// Lists are answered so often, and then not at all.
    lists_left: Option<usize>,
    /// How pages but the first of a list are answered instead.
    next_pages: Option<u16>,
    /// Every page but the first of a list leads to itself.
    goes_in_circles: bool,
    /// How much time passes until a page is answered.
    page_takes: i64,
    /// How often what a tag means has changed.
    versions: BTreeMap<String, u64>,
    /// Contents that are not given any more, also by their digest.
    withdrawn: BTreeSet<String>,
    /// Blobs are not sent for now.
    holds_blobs: Option<Arc<Semaphore>>,
    asked: Vec<Asked>,
    /// When allowances were used, the oldest first.
    used: VecDeque<i64>,
    recent: VecDeque<i64>,
    refused: usize,
}

/// A registry that has an image under every tag of every repository.
pub struct Registry {
    pub address: String,
    shelf: Arc<Mutex<Shelf>>,
}

impl Registry {
    pub async fn start(allows: Allows) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let shelf = Arc::new(Mutex::new(Shelf { allows, ..Shelf::default() }));
        let served = Arc::clone(&shelf);
        let app = axum::Router::new().fallback(move |request: Request| {
            let (answer, is_silent, held) = {
                let mut shelf = served.lock().expect("the shelf");
                let held = shelf.holds_blobs.clone().filter(|_| request.uri().path().contains("/blobs/"));
                let answer = shelf.answer(request.method(), &request.uri().to_string());
                (answer, shelf.lists_left == Some(0), held)
            };
            async move {
                if is_silent {
                    std::future::pending::<()>().await;
                }
                if let Some(held) = held {
                    _ = held.acquire().await;
                }
                answer
            }
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, shelf }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().expect("the shelf")
    }

    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// The tag means another image from now on.
    pub fn change(&self, name: &str) {
        *self.shelf().versions.entry(name.to_owned()).or_default() += 1;
    }

    /// The repository has these tags, in that order.
    pub fn has(&self, repository: &str, tags: impl IntoIterator<Item = String>) {
        self.shelf().tags.insert(repository.to_owned(), tags.into_iter().collect());
    }

    /// There is no such repository.
    pub fn has_not(&self, repository: &str) {
        self.shelf().tags.remove(repository);
    }

    /// Answers pages but the first of a list with this status.
    pub fn refuse_next_pages(&self, status: Option<u16>) {
        self.shelf().next_pages = status;
    }

    /// Lets so much time pass with each page of a list.
    pub fn one_page_takes(&self, ms: i64) {
        self.shelf().page_takes = ms;
    }

    /// Lets pages but the first of a list lead to themselves.
    pub fn go_in_circles(&self, does: bool) {
        self.shelf().goes_in_circles = does;
    }

    /// Answers so many more pages of lists, and then nothing at all.
    pub fn fall_silent_after(&self, lists: Option<usize>) {
        self.shelf().lists_left = lists.map(|lists| lists + 1);
    }

    /// How many pages of lists were asked for since the last time anything was taken.
    pub fn lists(&self) -> usize {
        self.shelf().asked.iter().filter(|asked| asked.is_list()).count()
    }

    /// The tag means what it meant before it changed last.
    pub fn change_back(&self, name: &str) {
        *self.shelf().versions.get_mut(name).expect("it changed") -= 1;
    }

    /// What the tag means now is given to nobody any more, whatever it means afterwards.
    pub fn withdraw(&self, name: &str) {
        let mut shelf = self.shelf();
        let content = Shelf::version(name, shelf.versions.get(name).copied().unwrap_or(0));
        shelf.withdrawn.insert(content);
    }

    /// From now on whoever asks for a blob waits for it.
    pub fn hold_blobs(&self) {
        self.shelf().holds_blobs = Some(Arc::new(Semaphore::new(0)));
    }

    /// Whoever waits for a blob gets it.
    pub fn release_blobs(&self) {
        let held = self.shelf().holds_blobs.take();
        held.expect("they are held").close();
    }

    pub fn refuse(&self, refusal: Option<Refusal>) {
        let mut shelf = self.shelf();
        (shelf.refusal, shelf.refuses_gets_only) = (refusal, false);
    }

    /// Refuses what has a body.
    pub fn refuse_gets(&self, refusal: Refusal) {
        let mut shelf = self.shelf();
        (shelf.refusal, shelf.refuses_gets_only) = (Some(refusal), true);
    }

    /// Everything asked since the last time this was called.
    pub fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut self.shelf().asked)
    }

    /// As [`Registry::take`], without forgetting it.
    pub fn asked(&self) -> Vec<Asked> {
        self.shelf().asked.clone()
    }

    /// How many requests were answered with 429, ever.
    pub fn refused(&self) -> usize {
        self.shelf().refused
    }
}

impl Shelf {
    fn answer(&mut self, method: &Method, uri: &str) -> Response {
        let (response, what) = self.respond(method, uri);
        let status = response.status().as_u16();
        self.refused += usize::from(status == 429);
        self.asked.push(Asked { at: now(), method: method.clone(), what, status });
        response
    }

    fn respond(&mut self, method: &Method, path: &str) -> (Response, String) {
        let what = path.trim_start_matches("/v2/").replacen("/manifests/", ":", 1);
        let is_refused = !self.refuses_gets_only || method == Method::GET;
        if let Some((status, headers, body)) = self.refusal.as_ref().filter(|_| is_refused) {
            return (response(*status, headers, *body), what);
        }
        if let Some(most) = self.allows.a_second {
            self.recent.retain(|at| *at > now() - SECOND);
            if self.recent.len() >= most {
                return (response(429, &[], "Too Many Requests"), what);
            }
            self.recent.push_back(now());
        }
        if let Some((repository, query)) = what.split_once("/tags/list?") {
            self.lists_left = self.lists_left.map(|left| left.saturating_sub(1));
            if self.page_takes > 0 {
                TIME.set(Some(now() + self.page_takes));
            }
            return (self.list(repository, query), what);
        }
        let Some((repository, reference)) = what.split_once(':').filter(|_| path.contains("/manifests/")) else {
            let content = path.rsplit(':').next().and_then(|hash| self.blob(hash)).unwrap_or_default();
            return (response(200, &[], content), what);
        };
        let mut headers = Vec::new();
        if let Some((limit, window)) = self.allows.pulls {
            self.used.retain(|at| *at > now() - window);
            let counted = self.allows.counts_heads || method == Method::GET;
            if counted && self.used.len() as u64 >= limit {
                let body =
                    r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
                return (response(429, &[], body), what);
            }
            if counted {
                self.used.push_back(now());
            }
            let window = window / SECOND;
            headers.push(("ratelimit-limit", format!("{limit};w={window}")));
            headers.push(("ratelimit-remaining", format!("{};w={window}", limit - self.used.len() as u64)));
        }
        let Some(content) = self.content(repository, reference) else { return (response(404, &headers, ""), what) };
        let manifest = manifest(&content);
        headers.push(("docker-content-digest", sha256(manifest.as_bytes()).to_string()));
        headers.push(("content-type", "application/vnd.oci.image.manifest.v1+json".to_owned()));
        let body = if method == Method::HEAD { String::new() } else { manifest };
        (response(200, &headers, body), what)
    }

    /// A page of a repository's tags, as the distribution specification has it.
    fn list(&self, repository: &str, query: &str) -> Response {
        let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let Some(tags) = self.tags.get(repository) else {
            let body = r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}"#;
            return response(404, &[], body);
        };
        if let Some(status) = self.next_pages.filter(|_| value("last").is_some()) {
            return response(status, &[], "");
        }
        let from = value("last").and_then(|last| tags.iter().position(|tag| tag == last)).map_or(0, |at| at + 1);
        let most: usize = value("n").and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
        let page: Vec<&String> = tags.iter().skip(from).take(most).collect();
        let next = page.last().filter(|_| from + page.len() < tags.len()).map(|last| last.as_str());
        let next = value("last").filter(|_| self.goes_in_circles).or(next);
        let link =
            next.map(|last| ("link", format!("</v2/{repository}/tags/list?n={most}&last={last}>; rel=\"next\"")));
        let body = serde_json::json!({"name": repository, "tags": page}).to_string();
        response(200, link.as_slice(), body)
    }

    /// What a tag or a digest of the repository means, unless that was withdrawn.
    fn content(&self, repository: &str, reference: &str) -> Option<String> {
        let name = format!("{repository}:{reference}");
        let content = match reference.starts_with("sha256:") {
            false => Self::version(&name, self.versions.get(&name).copied().unwrap_or(0)),
            true => {
                let changed = self.versions.iter().filter(|(name, _)| name.starts_with(&format!("{repository}:")));
                let mut all =
                    changed.flat_map(|(name, last)| (0..=*last + 1).map(|version| Self::version(name, version)));
                all.find(|content| sha256(manifest(content).as_bytes()).as_str() == reference)?
            }
        };
        (!self.withdrawn.contains(&content)).then_some(content)
    }

    fn version(name: &str, version: u64) -> String {
        format!("{name} {version}")
    }

    /// The configuration or the layer with that hash, among those of what was asked for.
    fn blob(&self, hash: &str) -> Option<String> {
        let names = self.asked.iter().rev().filter(|asked| asked.method == Method::GET);
        names.filter_map(|asked| asked.what.split_once(':')).find_map(|(repository, tag)| {
            let content = self.content(repository, tag)?;
            let of = |text: String| sha256(text.as_bytes()).to_string().ends_with(hash).then_some(text);
            of(config(&content)).or_else(|| of(content))
        })
    }
}

fn config(content: &str) -> String {
    let layer = sha256(content.as_bytes());
    format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{layer}"]}}}}"#
    )
}

fn manifest(content: &str) -> String {
    let config = config(content);
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{}","size":{}}}]}}"#,
        sha256(config.as_bytes()),
        config.len(),
        sha256(content.as_bytes()),
        content.len()
    )
}

fn response(status: u16, headers: &[(&'static str, String)], body: impl Into<Body>) -> Response {
    let status = StatusCode::from_u16(status).expect("a status");
    let mut response = (status, body.into()).into_response();
    response.headers_mut().remove("content-type");
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().expect("a value"));
    }
    response
}

/// A site that imports, moved through time by its test.
pub struct Site {
    pub store: TestStore,
    pub imports: Imports,
    pub rules: ImportRules,
    /// The least time between two looks.
    pub grain: i64,
    runner: Runner,
    _blobs: TempDir,
}

impl Site {
    /// With an interval of 15 minutes, at [`START`].
    pub async fn start(store: TestStore) -> Self {
        TIME.set(Some(START));
        Self::over(store).await
    }

    /// With what the store has, at whatever time it is.
    pub async fn over(store: TestStore) -> Self {
        let memory = std::path::Path::new("/dev/shm");
        let blobs = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let blobs = blobs.expect("a temporary directory");
        let runner = Runner { wake: store.wake().clone(), ..Runner::default() };
        let around = Surroundings {
            own_hosts: Vec::new(),
            mirrors: MirrorSets::default(),
            logins: SiteLogins::default(),
            insecure: InsecureRegistries::default(),
            tracker: runner.tracker.clone(),
            stop: runner.stop.clone(),
        };
        let kept = Arc::new(Filesystem::open(blobs.path()).await.expect("a blob store"));
        let importer = Importer::new(plain(&store), kept, Arc::new(Client::new(Options::default())), around);
        let rules = ImportRules::new(plain(&store), importer.clone(), runner.clone());
        let imports = Imports::new(plain(&store), importer, Duration::from_secs(15 * 60), runner.clone());
        Self { store, imports, rules, grain: SECOND, runner, _blobs: blobs }
    }

    /// Ends in the middle of whatever it does; leases stay as they are.
    pub async fn kill(self) -> TestStore {
        self.runner.stop.cancel();
        self.idle().await;
        self.store
    }

    pub async fn project(&self, name: &str) {
        project(&self.store, name).await;
    }

    /// The tag follows the reference, on schedule.
    pub async fn follow(&self, project: &str, tag: &str, reference: &str) {
        let (stream, tag) = tag.split_once(':').expect("stream:tag");
        let spec = TagSpec { insecure: true, ..TagSpec::import(reference) };
        let names = (stream.parse().expect("a name"), tag.parse().expect("a name"));
        self.store.set_tag(project, &names.0, &names.1, &spec, None, &Actor::system("test")).await.expect("set");
    }

    pub async fn tag(&self, project: &str, tag: &str) -> Tag {
        let (stream, tag) = tag.split_once(':').expect("stream:tag");
        self.store.tag(project, stream, tag).await.expect("the tag")
    }

    pub async fn import(&self, project: &str, tag: &str) -> TagImport {
        let tag = self.tag(project, tag).await;
        self.store.find_import(&tag.id).await.expect("asked").expect("it follows")
    }

    async fn idle(&self) {
        while !self.runner.tracker.is_empty() {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }

    /// Does what is to be done at this moment; gives when to come again.
    pub async fn settle(&self) -> Duration {
        loop {
            let mut again = Duration::MAX;
            for controller in [&self.rules as &dyn Controller, &self.imports] {
                again = again.min(step(controller).await.expect("it works").expect("a time"));
                self.idle().await;
            }
            let is_woken = |of| self.store.wake().of(of).notified().now_or_never().is_some();
            if !(is_woken(wake::Controller::ImportRules) | is_woken(wake::Controller::Imports)) {
                return again;
            }
        }
    }

    /// Lets the time pass, in steps of [`Site::grain`] at the least.
    pub async fn pass(&self, ms: i64) {
        let end = now() + ms;
        loop {
            let again = self.settle().await;
            if now() >= end {
                return;
            }
            let wait = i64::try_from(again.as_millis()).unwrap_or(i64::MAX).max(self.grain);
            TIME.set(Some((now() + wait).min(end)));
        }
    }
}

fn plain(store: &TestStore) -> Store {
    Store::clone(store)
}
