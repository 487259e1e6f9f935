//! Pushes a one-layer OCI image over HTTP, like any client: Basic or Docker token authentication, monolithic uploads.

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use secrecy::ExposeSecret;
use sha2::{Digest as _, Sha256};

use crate::model::{Digest, ImageReference};
use crate::server::builder::RegistryAccess;
use crate::server::builder::prepare::Prepared;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

pub struct Registry<'a> {
    pub client: &'a reqwest::Client,
    pub access: &'a RegistryAccess,
}

fn read(text: &str) -> Result<ImageReference, String> {
    let reference: ImageReference = text.parse().map_err(|error| format!("{error}"))?;
    Ok(reference.docker_client_defaults())
}

impl Registry<'_> {
    /// Asks for the image a pull spec names; the error says why it cannot be had.
    pub async fn manifest_exists(&self, pull_spec: &str) -> Result<(), String> {
        let reference = read(pull_spec)?;
        let version = if reference.id.is_empty() { &reference.tag } else { &reference.id };
        let url = self.url(&reference.repository_path(), &format!("manifests/{version}"));
        let accept = [
            MANIFEST,
            "application/vnd.oci.image.index.v1+json",
            "application/vnd.docker.distribution.manifest.v2+json",
            "application/vnd.docker.distribution.manifest.list.v2+json",
        ]
        .join(", ");
        let request = self.client.request(Method::HEAD, url).header("accept", accept);
        let response = self.send(request, &reference.repository_path(), "pull").await?;
        if response.status().is_success() {
            Ok(())
        } else {
            Err(format!("the registry answered {}", response.status()))
        }
    }

    /// Pushes the image that `prepared` describes to `output`.
    pub async fn push(&self, output: &str, prepared: &Prepared) -> Result<Digest, String> {
        let reference = read(output)?;
        let repository = &reference.repository_path();
        // The last lines say which build it was; without them, the same sources and bases give the same layer.
        let lines: Vec<&str> = prepared.dockerfile.lines().collect();
        let lasting = lines[..lines.len().saturating_sub(prepared.facts)].join("\n");
        let layer = tar("Dockerfile", lasting.as_bytes());
        let config = config(prepared, &layer);
        for blob in [&layer, &config] {
            self.upload(repository, blob).await?;
        }
        let manifest = manifest(prepared, &config, &layer);
        let digest = digest(&manifest);
        let url = self.url(repository, &format!("manifests/{}", reference.tag));
        let request = self.client.put(url).header(CONTENT_TYPE, MANIFEST).body(manifest);
        accepted(self.send(request, repository, "pull,push").await?).await?;
        digest.parse().map_err(|error| format!("{error}"))
    }

    async fn upload(&self, repository: &str, blob: &[u8]) -> Result<(), String> {
        let start = self.client.post(self.url(repository, "blobs/uploads/"));
        let started = accepted(self.send(start, repository, "pull,push").await?).await?;
        let location =
            started.headers().get(LOCATION).and_then(|value| value.to_str().ok()).ok_or("no upload location")?;
        let location = started.url().join(location).map_err(|error| error.to_string())?;
        let request = self
            .client
            .put(location)
            .query(&[("digest", digest(blob))])
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(blob.to_vec());
        accepted(self.send(request, repository, "pull,push").await?).await.map(drop)
    }

    fn url(&self, repository: &str, rest: &str) -> String {
        let scheme = if self.access.insecure { "http" } else { "https" };
        format!("{scheme}://{}/v2/{repository}/{rest}", self.access.host)
    }

    /// Sends a request; when it is challenged, once more with what the challenge asks for.
    async fn send(&self, request: RequestBuilder, repository: &str, actions: &str) -> Result<Response, String> {
        let again = request.try_clone();
        let response = request.send().await.map_err(|error| error.to_string())?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let challenge =
            response.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let again = again.ok_or("the request cannot be sent twice")?;
        let (user, password) = (&self.access.username, self.access.password.expose_secret());
        let parameter = |name: &str| {
            let (_, rest) = challenge.split_once(&format!("{name}=\""))?;
            Some(rest.split('"').next().unwrap_or_default().to_owned())
        };
        let Some(realm) = parameter("realm").filter(|_| challenge.to_ascii_lowercase().starts_with("bearer")) else {
            return again.basic_auth(user, Some(password)).send().await.map_err(|error| error.to_string());
        };
        let scope = format!("repository:{repository}:{actions}");
        let query = [("service", parameter("service").unwrap_or_default()), ("scope", scope)];
        let token = self.client.get(realm).query(&query).basic_auth(user, Some(password)).send().await;
        let token: serde_json::Value = accepted(token.map_err(|error| error.to_string())?)
            .await?
            .json()
            .await
            .map_err(|error| error.to_string())?;
        let token = token["token"].as_str().or(token["access_token"].as_str()).ok_or("no token in the answer")?;
        again.header(AUTHORIZATION, format!("Bearer {token}")).send().await.map_err(|error| error.to_string())
    }
}

async fn accepted(response: Response) -> Result<Response, String> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = response.text().await.unwrap_or_default();
    Err(format!("the registry answered {status}: {}", body.chars().take(300).collect::<String>()))
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn pairs(list: &[(String, String)]) -> serde_json::Value {
    list.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect::<serde_json::Map<_, _>>().into()
}

fn config(prepared: &Prepared, layer: &[u8]) -> Vec<u8> {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    serde_json::json!({
        "architecture": architecture, "os": "linux",
        "config": { "Labels": pairs(&prepared.labels), "Cmd": ["/bin/sh"] },
        "rootfs": { "type": "layers", "diff_ids": [digest(layer)] },
        "history": [{ "created_by": "the fake builder" }],
    })
    .to_string()
    .into_bytes()
}

fn manifest(prepared: &Prepared, config: &[u8], layer: &[u8]) -> Vec<u8> {
    serde_json::json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": { "mediaType": CONFIG, "digest": digest(config), "size": config.len() },
        "layers": [{ "mediaType": LAYER, "digest": digest(layer), "size": layer.len() }],
        "annotations": pairs(&prepared.annotations),
    })
    .to_string()
    .into_bytes()
}

/// A tar archive of one file, always the same for the same content.
fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0u8; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\0");
    put(263, "00");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = header.to_vec();
    archive.extend(content);
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}
