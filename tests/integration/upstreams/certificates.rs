//! Keys and certificates for a test, made by openssl: `<name>.key` and `<name>.pem` in a directory.

use std::path::Path;
use std::process::Command;

fn openssl(directory: &Path, arguments: &[&str]) {
    let made = Command::new("openssl").current_dir(directory).args(arguments).output().expect("openssl runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

const KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
const THIS_MACHINE: &str = "subjectAltName=DNS:localhost,IP:127.0.0.1";

/// A certificate for this machine that nobody vouches for.
pub fn self_signed(directory: &Path, name: &str) {
    let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
    let request = ["req", "-x509", "-days", "2", "-subj", "/CN=localhost", "-addext", THIS_MACHINE];
    openssl(directory, &[&request[..], &KEY, &["-keyout", &key, "-out", &certificate]].concat());
}

/// A CA.
pub fn authority(directory: &Path, name: &str) {
    let (key, certificate, subject) = (format!("{name}.key"), format!("{name}.pem"), format!("/CN={name} of a test"));
    let request = ["req", "-x509", "-days", "2", "-subj", &subject];
    openssl(directory, &[&request[..], &KEY, &["-keyout", &key, "-out", &certificate]].concat());
}

/// A certificate for this machine from that CA.
pub fn signed(directory: &Path, name: &str, ca: &str) {
    let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
    let (ca_key, ca_certificate) = (format!("{ca}.key"), format!("{ca}.pem"));
    let request = ["req", "-x509", "-days", "2", "-subj", "/CN=localhost", "-addext", THIS_MACHINE];
    let by = ["-addext", "basicConstraints=critical,CA:FALSE", "-CA", &ca_certificate, "-CAkey", &ca_key];
    openssl(directory, &[&request[..], &by, &KEY, &["-keyout", &key, "-out", &certificate]].concat());
}
