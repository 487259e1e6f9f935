//! Debian's `docker-registry` (distribution 2.8) on a port of its own, gone with the value.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{TokenServer, certificates};

/// A running registry.
pub struct DockerRegistry {
    process: Child,
    address: String,
    directory: TempDir,
}

/// What it wants of those who ask.
pub enum Wants<'a> {
    /// TLS, with a certificate of a CA that it makes for itself: [`DockerRegistry::authority`].
    Tls,
    /// [`DockerRegistry::CREDENTIALS`].
    Password,
    /// A token that this key signed, from the token server there.
    Token { realm: &'a str, certificate: &'a Path },
}

/// bcrypt of the password in [`DockerRegistry::CREDENTIALS`].
const HTPASSWD: &str = "importer:$2b$04$XP7TnmfA5l49L8hkTMH6zumRUBeuJNoCSGdvOoEfO0qie8.VfYcVS\n";

impl DockerRegistry {
    /// User name and password of one that wants them.
    pub const CREDENTIALS: (&str, &str) = ("importer", "open sesame");

    /// Starts one that speaks plain HTTP and lets everybody do everything.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// Starts one that speaks TLS with a certificate nobody trusts.
    pub fn start_with_tls() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        certificates::self_signed(directory.path(), "server");
        let tls = tls(directory.path(), "server.pem", "server.key");
        Self::start_in(directory, &tls)
    }

    /// Starts one that speaks plain HTTP and wants [`DockerRegistry::CREDENTIALS`].
    pub fn start_with_password() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let auth = passwords(directory.path());
        Self::start_in(directory, &auth)
    }

    fn start_with(http: &str) -> Self {
        Self::start_in(tempfile::tempdir().expect("a directory"), http)
    }

    /// Stops it and starts it again on another port, with what it has and further wishes.
    pub fn demand(&mut self, wants: &[Wants<'_>]) {
        self.stop();
        let directory = self.directory.path();
        // TLS is part of what is configured for HTTP, which stands last before this.
        let tls = wants.iter().any(|wants| matches!(wants, Wants::Tls)).then(|| signed_by_own_ca(directory));
        let others = wants.iter().map(|wants| match wants {
            Wants::Tls => String::new(),
            Wants::Password => passwords(directory),
            Wants::Token { realm, certificate } => tokens(realm, certificate),
        });
        configure(directory, &tls.into_iter().chain(others).collect::<String>());
        (self.process, self.address) = launch(directory);
    }

    /// The certificate of its own CA, once it wants TLS.
    pub fn authority(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    fn start_in(directory: TempDir, more: &str) -> Self {
        configure(directory.path(), more);
        let (process, address) = launch(directory.path());
        Self { process, address, directory }
    }

    /// `127.0.0.1:port`
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A reference to something in it.
    pub fn reference(&self, path: &str) -> weir::model::ImageReference {
        format!("{}/{path}", self.address).parse().expect("a reference")
    }

    /// Stops it, as an outage does; the files stay.
    pub fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts it again after an outage, with what it had, on another port.
    pub fn start_again(&mut self) {
        (self.process, self.address) = launch(self.directory.path());
    }
}

fn launch(directory: &Path) -> (Child, String) {
    let mut process = Command::new("docker-registry")
        .arg("serve")
        .arg(directory.join("config.yml"))
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("docker-registry starts (Debian's package docker-registry)");
    let mut log = BufReader::new(process.stderr.take().expect("its log")).lines();
    let address = log
        .find_map(|line| {
            let line = line.ok()?;
            let (_, address) = line.split_once("listening on ")?;
            Some(address.split(['"', ',', ' ']).next()?.to_owned())
        })
        .expect("docker-registry says where it listens");
    // Nobody reads on, and a full pipe would stop it.
    std::thread::spawn(move || log.for_each(drop));
    (process, address)
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        self.stop();
    }
}

fn configure(directory: &Path, more: &str) {
    let text = format!(
        "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:0\n{more}",
        directory.join("data").display()
    );
    std::fs::write(directory.join("config.yml"), text).expect("the configuration is written");
}

fn passwords(directory: &Path) -> String {
    let file = directory.join("htpasswd");
    std::fs::write(&file, HTPASSWD).expect("the passwords are written");
    format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", file.display())
}

fn tokens(realm: &str, certificate: &Path) -> String {
    let (service, issuer) = (TokenServer::SERVICE, TokenServer::ISSUER);
    let certificate = certificate.display();
    format!(
        "auth:\n  token:\n    realm: {realm}\n    service: {service}\n    issuer: {issuer}\n    rootcertbundle: {certificate}\n"
    )
}

fn tls(directory: &Path, certificate: &str, key: &str) -> String {
    let path = |name: &str| directory.join(name).display().to_string();
    format!("  tls:\n    certificate: {}\n    key: {}\n", path(certificate), path(key))
}

/// A CA, and a certificate for this machine from it.
fn signed_by_own_ca(directory: &Path) -> String {
    certificates::authority(directory, "ca");
    certificates::signed(directory, "server", "ca");
    tls(directory, "server.pem", "server.key")
}
