//! Debian's `docker-registry` (distribution 2.8) on a port of its own, gone with the value.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A running registry.
pub struct DockerRegistry {
    process: Child,
    address: String,
    directory: TempDir,
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
        let (certificate, key) = self_signed(directory.path());
        let tls = format!("  tls:\n    certificate: {certificate}\n    key: {key}\n");
        Self::start_in(directory, &tls)
    }

    /// Starts one that speaks plain HTTP and wants [`DockerRegistry::CREDENTIALS`].
    pub fn start_with_password() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("htpasswd");
        std::fs::write(&file, HTPASSWD).expect("the passwords are written");
        let auth = format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", file.display());
        Self::start_in(directory, &auth)
    }

    fn start_with(http: &str) -> Self {
        Self::start_in(tempfile::tempdir().expect("a directory"), http)
    }

    fn start_in(directory: TempDir, more: &str) -> Self {
        let text = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:0\n{more}",
            directory.path().join("data").display()
        );
        std::fs::write(directory.path().join("config.yml"), text).expect("the configuration is written");
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

fn self_signed(directory: &Path) -> (String, String) {
    let path = |name: &str| directory.join(name).display().to_string();
    let (certificate, key) = (path("cert.pem"), path("key.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-keyout", &key, "-out", &certificate])
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (certificate, key)
}
