//! What registries call when something was pushed there. It says only that it is time to look: the next check of the project's tags that
//! follow what was named moves forward, or the next listing of its import rules that want a new tag, and those themselves find out what
//! changed. Nothing else is taken from what was sent.
//!
//! The sender shows the project's secret in the address (Docker Hub, Quay), in `Authorization` (Harbor, distribution), or by signing the
//! body with it as GitHub does. Who sends rubbish, or very much of it, moves nothing: no check and no listing comes within a minute of the last
//! one, and all of them keep to what their registry allows.

mod payload;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use ring::hmac;
use serde_json::{Value, json};

use crate::server::openshift::Door;
use crate::server::openshift::caller::Caller;
use crate::server::openshift::kind::SECRETS;
use crate::server::openshift::status::Status;
use crate::server::store::Hinted;
use payload::pushes;

/// The longest message that is read.
pub const LONGEST: usize = 256 * 1024;
/// How close to the last check of a tag, or listing of a rule, a message may bring the next one.
const LEAST_GAP_MS: i64 = 60_000;
/// GitHub's signature of the body.
const SIGNATURE: &str = "x-hub-signature-256";

/// Something was pushed; the secret is in a header.
pub async fn receive(
    State(door): State<Door>,
    Path(project): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Status> {
    accept(&door, &project, None, &headers, &body).await
}

/// Something was pushed; the secret is in the address.
pub async fn receive_with_secret(
    State(door): State<Door>,
    Path((project, secret)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Status> {
    accept(&door, &project, Some(&secret), &headers, &body).await
}

async fn accept(
    door: &Door,
    project: &str,
    shown: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(StatusCode, Json<Value>), Status> {
    // Whether there is such a project is nobody's business who does not know its secret.
    let hook = door.store.find_registry_hook(project).await?.ok_or_else(Status::unauthorized)?;
    if !is_allowed(&hook.secret, shown, headers, body) {
        return Err(Status::unauthorized());
    }
    let message: Value = serde_json::from_slice(body)
        .map_err(|error| Status::bad_request(format!("the message is no JSON: {error}")))?;
    let mut moved = Hinted::default();
    for push in pushes(&message) {
        let tag = push.tag.as_deref();
        let hinted = door.store.hint_imports(&hook.project_id, &push.repository, tag, LEAST_GAP_MS).await?;
        moved.checks += hinted.checks;
        moved.listings += hinted.listings;
    }
    Ok((StatusCode::ACCEPTED, Json(json!({"checks": moved.checks, "listings": moved.listings}))))
}

/// Where registries are to send their messages, for who may see the project's secrets.
pub async fn get(State(door): State<Door>, caller: Caller, Path(project): Path<String>) -> Result<Json<Value>, Status> {
    caller.may(&door, "get", &SECRETS, &project, "").await?;
    show(&door, &project).await
}

/// Makes another secret; the old one is good for nothing from then on.
pub async fn renew(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "update", &SECRETS, &project, "").await?;
    door.store.renew_registry_hook(&project, &caller.actor()).await?;
    show(&door, &project).await
}

async fn show(door: &Door, project: &str) -> Result<Json<Value>, Status> {
    let hook = door.store.find_registry_hook(project).await?.ok_or_else(Status::unauthorized)?;
    let path = format!("/weir/v1/projects/{project}/registry-hook");
    Ok(Json(json!({"path": path, "pathWithSecret": format!("{path}/{}", hook.secret), "secret": hook.secret})))
}

fn is_allowed(secret: &str, shown: Option<&str>, headers: &HeaderMap, body: &[u8]) -> bool {
    if let Some(shown) = shown {
        return is_same(secret, shown);
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(signature) = text(SIGNATURE) {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let signature = signature.strip_prefix("sha256=").and_then(|digits| hex::decode(digits).ok());
        return signature.is_some_and(|signature| hmac::verify(&key, body, &signature).is_ok());
    }
    let Some(authorization) = text(header::AUTHORIZATION.as_str()) else { return false };
    let words = authorization.split_once(' ').map_or(authorization, |(_, token)| token.trim());
    is_same(secret, words)
}

/// Compares without telling by its time how much was right.
fn is_same(secret: &str, shown: &str) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hmac::verify(&key, shown.as_bytes(), hmac::sign(&key, secret.as_bytes()).as_ref()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(shown: Option<&str>, header: Option<(&'static str, &str)>) -> bool {
        let headers = header.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        is_allowed("s3cret", shown, &headers, b"{}")
    }

    #[test]
    fn the_secret_is_shown_in_one_of_three_ways() {
        assert!(allowed(Some("s3cret"), None));
        assert!(allowed(None, Some(("authorization", "Bearer s3cret"))));
        assert!(allowed(None, Some(("authorization", "s3cret"))));
        // printf '{}' | openssl dgst -sha256 -hmac s3cret
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"s3cret");
        let signature = format!("sha256={}", hex::encode(hmac::sign(&key, b"{}")));
        assert!(allowed(None, Some((SIGNATURE, &signature))));
        for (shown, header) in [
            (None, None),
            (Some(""), None),
            (Some("s3cre"), None),
            (Some("s3cret2"), None),
            (Some("wrong"), Some(("authorization", "Bearer s3cret"))),
            (None, Some(("authorization", "Bearer wrong"))),
            (None, Some((SIGNATURE, "sha256=00"))),
            (None, Some((SIGNATURE, "s3cret"))),
        ] {
            assert!(!allowed(shown, header), "{shown:?} {header:?}");
        }
    }
}
