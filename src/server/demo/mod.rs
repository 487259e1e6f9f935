//! The demo: the whole story of Weir in a project of its own, on real parts and without a network.
//!
//! A base image made of this machine's busybox, a git repository with three Dockerfiles, their build configs, two apps on ports of this
//! machine, and a tag that follows another registry (this one, seen from outside). Making it twice changes nothing.

mod base;
mod sources;

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use secrecy::{ExposeSecret as _, SecretString};

use super::auth::hash_password;
use super::builder::dockerfile;
use super::store::{self, AppFields, ConfigFields, NewToken, SecretData, Store, TagSpec};
use crate::model::{
    Actor, AppName, AppPort, AppSpec, BuildConfigSpec, GitSource, KnownInputs, ProjectName, PublishMode, Role, Source,
    StreamTag,
};

/// The project.
pub const PROJECT: &str = "demo";
/// The project that plays the other registry's part.
const ELSEWHERE: &str = "elsewhere";
/// Who may sign in and play.
pub const USER: &str = "developer";
/// Builds of the demo read their sources below this directory of the data directory.
pub const SOURCES: &str = "demo";
/// Ports of the apps: the first free ones from here on.
const FIRST_PORT: u16 = 8081;
/// How long the first builds and rollouts may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// Where the demo is made.
pub struct Demo<'a> {
    pub store: &'a Store,
    pub data_dir: &'a Path,
    /// `http://host:port` of the server, reachable from here.
    pub url: &'a str,
}

/// What was made, for the text that tells what to click.
pub struct Made {
    pub password: SecretString,
    /// Names and ports of the apps.
    pub apps: Vec<(&'static str, u16)>,
}

impl Demo<'_> {
    /// Makes what is not there yet. The server must be running: the images come in through its registry.
    pub async fn make(&self) -> anyhow::Result<Made> {
        // Nobody asked for it at a door: the making of the demo is the request.
        let actor = Actor { request: Some("weir-demo".to_owned()), ..Actor::person(USER) };
        let password = self.user(&actor).await?;
        for (project, text) in [(PROJECT, "The demo"), (ELSEWHERE, "Plays another registry's part in the demo")] {
            self.project(project, text, &actor).await?;
        }
        let repository = self.sources()?;
        self.images(&actor).await?;
        self.import(&actor).await?;
        for name in sources::CONFIGS {
            self.config(name, &repository, &actor).await?;
        }
        let mut apps = Vec::new();
        for name in sources::APPS {
            apps.push((name, self.app(name, &actor).await?));
        }
        Ok(Made { password, apps })
    }

    /// Waits until every app answers on its port, telling what goes on.
    pub async fn wait(&self, made: &Made, tell: impl Fn(&str)) -> anyhow::Result<()> {
        let began = Instant::now();
        let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).build()?;
        let mut told = String::new();
        loop {
            let mut waiting = Vec::new();
            for (name, port) in &made.apps {
                let answered = client.get(format!("http://127.0.0.1:{port}/")).send().await;
                if !answered.is_ok_and(|response| response.status().is_success()) {
                    waiting.push(self.state_of(name).await?);
                }
            }
            let state = waiting.join("; ");
            if waiting.is_empty() {
                return Ok(());
            }
            if state != told {
                tell(&state);
                told = state;
            }
            if began.elapsed() > PATIENCE {
                bail!("the demo is not up after {} s: {told}", PATIENCE.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// What an app waits for, in words. Ends the wait when it will not come by itself.
    async fn state_of(&self, name: &str) -> anyhow::Result<String> {
        for config in ["httpd-base", name] {
            let config = self.store.config(PROJECT, config).await?;
            let Some(build) = self.store.list_builds(&config.id, None, 1).await?.into_iter().next() else {
                return Ok(format!("{name}: build {} is not requested yet", config.name));
            };
            match build.phase.as_str() {
                "Complete" => {}
                "Failed" | "Error" | "Cancelled" => bail!(
                    "build {} ended as {}: {}. Its log is in the console",
                    build.name(),
                    build.phase,
                    build.message.as_deref().unwrap_or("no reason given")
                ),
                _ => return Ok(format!("{name}: build {} is {}", build.name(), build.phase)),
            }
        }
        let app = self.store.app(PROJECT, name).await?;
        if app.wanted_phase.as_deref() == Some("Failed") {
            bail!("{name} did not start: {}", app.wanted_message.as_deref().unwrap_or("no reason given"));
        }
        match app.observe_error {
            Some(problem) => bail!("{name} cannot run: {problem}"),
            None => Ok(format!("{name}: rolling out")),
        }
    }

    /// The user of the demo, whose password is kept beside the sources so that a second run can tell it again.
    async fn user(&self, actor: &Actor) -> anyhow::Result<SecretString> {
        let directory = self.data_dir.join(SOURCES);
        std::fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
        let file = directory.join("password");
        let password: SecretString = match std::fs::read_to_string(&file) {
            Ok(known) => known.trim().to_owned().into(),
            Err(_) => {
                let fresh = uuid::Uuid::new_v4().simple().to_string()[..12].to_owned();
                write_private(&file, &fresh)?;
                fresh.into()
            }
        };
        let hash = hash_password(&password).await?;
        match self.store.find_user(USER).await? {
            Some(_) => self.store.set_password_hash(USER, &hash, actor).await?,
            None => {
                self.store.create_user(USER, "Demo developer", Some(&hash), false, actor).await?;
            }
        }
        Ok(password)
    }

    async fn project(&self, name: &str, text: &str, actor: &Actor) -> anyhow::Result<()> {
        let parsed: ProjectName = name.parse()?;
        match self.store.create_project(&parsed, "", text, None, actor).await {
            Ok(_) | Err(store::Error::Exists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.store.grant_role(name, USER, Role::Admin, actor).await?)
    }

    fn sources(&self) -> anyhow::Result<PathBuf> {
        let directory = std::path::absolute(self.data_dir.join(SOURCES).join("sources"))?;
        sources::write(&directory)?;
        Ok(directory)
    }

    /// Pushes the base image, here and to where it is imported from.
    async fn images(&self, actor: &Actor) -> anyhow::Result<()> {
        let wanted = [(PROJECT, "base"), (ELSEWHERE, "busybox")];
        let mut missing = Vec::new();
        for (project, stream) in wanted {
            if self.store.find_tag(project, stream, "latest").await?.is_none_or(|tag| tag.digest.is_none()) {
                missing.push((project, stream));
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let token = self.token("demo: push", actor).await?;
        let image = base::from_busybox()?;
        for (project, stream) in missing {
            image.push(self.url, &format!("{project}/{stream}"), "latest", USER, &token).await?;
        }
        Ok(())
    }

    async fn token(&self, name: &str, actor: &Actor) -> anyhow::Result<SecretString> {
        let user = self.store.user(USER).await?;
        Ok(self.store.create_token(NewToken::user(name, &user.id), actor).await?.1)
    }

    /// A tag that follows another registry: this one, asked from outside with a secret like any other.
    async fn import(&self, actor: &Actor) -> anyhow::Result<()> {
        let host = self.url.split_once("://").map_or(self.url, |(_, host)| host).trim_end_matches('/');
        let name: AppName = "elsewhere".parse()?;
        if !self.store.list_secrets(PROJECT).await?.iter().any(|secret| secret.name == name.as_str()) {
            let password = self.token("demo: import", actor).await?;
            let data = SecretData::Registry { host: host.to_owned(), username: USER.to_owned(), password };
            self.store.create_secret(PROJECT, &name, &data, actor).await?;
        }
        if self.store.find_tag(PROJECT, "busybox", "latest").await?.is_none_or(|tag| tag.has_spec == 0) {
            let source = format!("{host}/{ELSEWHERE}/busybox:latest");
            let spec = TagSpec {
                insecure: self.url.starts_with("http://"),
                interval_ms: Some(60_000),
                ..TagSpec::import(source)
            };
            self.store.set_tag(PROJECT, &"busybox".parse()?, &"latest".parse()?, &spec, None, actor).await?;
        }
        Ok(())
    }

    async fn config(&self, name: &str, repository: &Path, actor: &Actor) -> anyhow::Result<()> {
        if self.store.find_config(PROJECT, name).await?.is_some() {
            return Ok(());
        }
        let git = GitSource {
            uri: format!("file://{}", repository.display()),
            reference: Some("main".to_owned()),
            secret: None,
        };
        let source = Source { git: Some(git), context_dir: Some(name.to_owned()), ..Source::default() };
        let mut spec = BuildConfigSpec::new(source, name.parse()?, "latest".parse()?);
        // Each build stamps its time into the image: from a cache it would be the old one.
        spec.no_cache = true;
        let inputs = dockerfile::inputs_of_config(sources::dockerfile(name), &spec, PROJECT, &[])?;
        let fields = ConfigFields::new(spec, KnownInputs::All(inputs));
        self.store.create_config(PROJECT, &name.parse()?, &fields, actor).await?;
        Ok(())
    }

    /// The port of the app, which is made on the first free one if there is none.
    async fn app(&self, name: &'static str, actor: &Actor) -> anyhow::Result<u16> {
        if let Some(app) = self.store.find_app(PROJECT, name).await? {
            let port = app.spec()?.ports.first().and_then(|port| port.published);
            return port
                .with_context(|| format!("the app {name} of the demo was changed: it publishes no port any more"));
        }
        let mut taken = Vec::new();
        for app in self.store.list_apps(PROJECT, "", 100).await? {
            taken.extend(app.spec()?.ports.iter().filter_map(|port| port.published));
        }
        let is_free = |port: &u16| !taken.contains(port) && TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok();
        let port = (FIRST_PORT..FIRST_PORT + 200)
            .find(is_free)
            .context("no port from 8081 to 8280 is free for the demo's apps")?;
        let fields = AppFields {
            labels: "{}".to_owned(),
            annotations: "{}".to_owned(),
            // Host mode works on every kernel; the routing mesh does not.
            spec: AppSpec {
                ports: vec![AppPort { container: 80, published: Some(port), mode: PublishMode::Host }],
                ..AppSpec::default()
            },
            image: StreamTag { project: PROJECT.to_owned(), stream: name.to_owned(), tag: "latest".to_owned() },
            automatic: true,
        };
        self.store.create_app(PROJECT, &name.parse()?, &fields, actor).await?;
        Ok(port)
    }
}

impl Made {
    /// The address, the sign-in, and what to click.
    pub fn text(&self, url: &str) -> String {
        let apps: Vec<String> =
            self.apps.iter().map(|(name, port)| format!("{name} at http://127.0.0.1:{port}/")).collect();
        format!(
            "\nThe demo is ready at {url}/p/{PROJECT}\n\
             Sign in as {USER} with the password {}\n\
             The apps answer: {}\n\n\
             Three things to click:\n\
             \x20 1. Builds, httpd-base, Start build: app-a and app-b rebuild by themselves, once each, and roll over.\n\
             \x20 2. Streams, httpd-base, latest: Roll back on the row before. The old image is back, and it stays.\n\
             \x20 3. Undo in the banner there, and Graph to see what is tied to what.\n",
            self.password.expose_secret(),
            apps.join(", ")
        )
    }
}

fn write_private(file: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    let mut open = std::fs::OpenOptions::new();
    let mut file = open.write(true).create(true).truncate(true).mode(0o600).open(file)?;
    Ok(file.write_all(text.as_bytes())?)
}
