//! A project's secrets by name, and whether registries still let them in. What they hold goes in and never comes out.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::registries::show_login;
use crate::model::{AppName, Login, SecretEntry, rfc3339};
use crate::server::openshift::Door;
use crate::server::openshift::Field;
use crate::server::openshift::body::{Body, Warnings};
use crate::server::openshift::caller::Caller;
use crate::server::openshift::kind::SECRETS;
use crate::server::openshift::status::Status;
use crate::server::store::SecretData;

/// Names and kinds of a project's secrets.
pub async fn list(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "list", &SECRETS, &project, "").await?;
    let secrets = door.store.list_secrets(&project).await?;
    let logins = door.store.list_logins(Some(&project)).await?;
    Ok(Json(json!({"items": secrets.iter().map(|secret| show(secret, &logins)).collect::<Vec<_>>(), "next": null})))
}

/// Makes a secret: `kind` is `registry` (host, username, password), `basic-auth` (username, password) or `ssh-auth` (privateKey,
/// knownHosts).
pub async fn create(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
    body: Body,
) -> Result<(StatusCode, Warnings, Json<Value>), Status> {
    caller.may(&door, "create", &SECRETS, &project, "").await?;
    let ((name, data), warnings) = body.read(|root| {
        let name = root.get("name");
        let parsed: AppName = name.required()?.parse().map_err(|error| name.invalid(error))?;
        Ok((parsed, read_data(&root)?))
    })?;
    let made = door.store.create_secret(&project, &name, &data, &caller.actor()).await;
    made.map_err(|error| Status::from(error).about(&SECRETS, name.as_str()))?;
    Ok((StatusCode::CREATED, warnings, Json(json!({"name": name, "kind": data.kind()}))))
}

fn read_data(root: &Field<'_>) -> Result<SecretData, Status> {
    let kind = root.get("kind");
    match kind.required()?.as_str() {
        "registry" => Ok(SecretData::Registry {
            host: root.get("host").required()?,
            username: root.get("username").required()?,
            password: root.get("password").secret()?,
        }),
        "basic-auth" => Ok(SecretData::BasicAuth {
            username: root.get("username").text_or_empty()?,
            password: root.get("password").secret()?,
        }),
        "ssh-auth" => Ok(SecretData::SshAuth {
            private_key: root.get("privateKey").secret()?,
            known_hosts: root.get("knownHosts").filled()?,
        }),
        _ => Err(kind.invalid("must be registry, basic-auth or ssh-auth")),
    }
}

/// Forgets a secret.
pub async fn delete(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
) -> Result<StatusCode, Status> {
    caller.may(&door, "delete", &SECRETS, &project, &name).await?;
    door.store.delete_secret(&project, &name, &caller.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn show(secret: &SecretEntry, logins: &[Login]) -> Value {
    let mut shown = json!({"name": secret.name, "kind": secret.kind, "at": rfc3339(secret.created_at)});
    let its: Vec<_> = logins.iter().filter(|login| login.secret == secret.name).map(show_login).collect();
    if !its.is_empty() {
        shown["registries"] = its.into();
    }
    shown
}
