//! A token server as registries have them: it signs what somebody may do, and the registry believes its key.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::programmable::answer;
use super::{Seen, Upstream, certificates};

/// A running token server, on which [`super::DockerRegistry::CREDENTIALS`] may pull.
pub struct TokenServer {
    pub upstream: Upstream,
    directory: TempDir,
}

impl TokenServer {
    pub const SERVICE: &str = "registry of a test";
    pub const ISSUER: &str = "token server of a test";

    /// Starts one that refuses nobody's question but wrong passwords; whoever has none gets a token that allows nothing.
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        certificates::self_signed(directory.path(), "token");
        let der = |name: &str| pem_to_der(&std::fs::read_to_string(directory.path().join(name)).expect("it was made"));
        let (key, certificate) = (der("token.key"), der("token.pem"));
        let upstream = Upstream::answering(move |seen| match seen.authorization() {
            None => token(&key, &certificate, seen, false),
            Some(given) if given == right() => token(&key, &certificate, seen, true),
            Some(_) => answer(401, &[], r#"{"details":"unauthorized"}"#),
        });
        Self { upstream: upstream.await, directory }
    }

    /// Where registries send those who ask.
    pub fn realm(&self) -> String {
        format!("http://{}/token", self.upstream.address())
    }

    /// The certificate by which a registry knows its tokens.
    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join("token.pem")
    }
}

fn right() -> String {
    let (username, password) = super::DockerRegistry::CREDENTIALS;
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

fn pem_to_der(pem: &str) -> Vec<u8> {
    let lines: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(lines).expect("PEM")
}

/// The answer to one question: a token for what was asked, or for nothing.
fn token(key: &[u8], certificate: &[u8], seen: &Seen, may_pull: bool) -> axum::response::Response {
    let uri = reqwest::Url::parse(&format!("http://x{}", seen.uri)).expect("an address");
    let asked = |name: &str| uri.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    let scope = asked("scope").unwrap_or_default();
    // repository:<name>:pull
    let name = scope.split(':').nth(1).unwrap_or_default();
    let access = if may_pull { json!([{"type": "repository", "name": name, "actions": ["pull"]}]) } else { json!([]) };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs();
    let header = json!({"typ": "JWT", "alg": "ES256", "x5c": [STANDARD.encode(certificate)]});
    let claims = json!({"iss": TokenServer::ISSUER, "sub": "somebody", "aud": asked("service").unwrap_or_default(),
        "exp": now + 300, "nbf": now - 30, "iat": now, "jti": now.to_string(), "access": access});
    answer(200, &[], json!({"token": sign(key, &header, &claims), "expires_in": 300}).to_string())
}

fn sign(key: &[u8], header: &Value, claims: &Value) -> String {
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key, &random).expect("a key");
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(header), part(claims));
    let signature = pair.sign(&random, text.as_bytes()).expect("signed");
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}
