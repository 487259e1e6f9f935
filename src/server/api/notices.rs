//! Where a project's notices go, and how delivering them went. All of it is for the project's admins: addresses and answers may tell more
//! than the project does. A secret is answered once, when it is made.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::PageQuery;
use crate::model::{AppName, Notice, NoticeAttempt, NoticeKind, NoticeTarget, rfc3339};
use crate::server::notices::{check_url, new_secret, parse_secret};
use crate::server::openshift::body::{Body, Warnings};
use crate::server::openshift::caller::Caller;
use crate::server::openshift::kind::NOTICES;
use crate::server::openshift::status::Status;
use crate::server::openshift::{Door, Field};
use crate::server::store::NoticeTargetFields;

/// Path of a target.
type OfTarget = Path<(String, String)>;
/// Path of a notice to a target.
type OfNotice = Path<(String, String, String)>;

/// A project's targets, and what can be chosen.
pub async fn list(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "list", &NOTICES, &project, "").await?;
    let targets = door.store.list_notice_targets(&project).await?;
    let kinds: Vec<_> = NoticeKind::GROUPS.iter().flat_map(|(_, kinds)| kinds.iter()).collect();
    Ok(Json(json!({"items": targets.iter().map(show).collect::<Vec<_>>(), "next": null, "kinds": kinds})))
}

/// Makes a target: `name`, `url`, `kinds`, and, if one likes, `off` and an own `secret`.
pub async fn create(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
    body: Body,
) -> Result<(StatusCode, Warnings, Json<Value>), Status> {
    caller.may(&door, "create", &NOTICES, &project, "").await?;
    let ((name, fields, secret), warnings) = body.read(|root| {
        let name = root.get("name");
        let parsed: AppName = name.required()?.parse().map_err(|error| name.invalid(error))?;
        Ok((parsed, read_fields(&door, &root)?, read_secret(&root)?))
    })?;
    let made = door.store.create_notice_target(&project, &name, &fields, &secret, &caller.actor()).await;
    let target = made.map_err(|error| Status::from(error).about(&NOTICES, name.as_str()))?;
    let mut shown = show(&target);
    shown["secret"] = secret.expose_secret().into();
    Ok((StatusCode::CREATED, warnings, Json(shown)))
}

/// One target.
pub async fn get(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): OfTarget,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "get", &NOTICES, &project, &name).await?;
    Ok(Json(show(&door.store.load_notice_target(&project, &name).await?)))
}

/// Sets all of a target but its name and its secret; `version` says which version the change is meant for.
pub async fn put(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): OfTarget,
    body: Body,
) -> Result<(Warnings, Json<Value>), Status> {
    caller.may(&door, "update", &NOTICES, &project, &name).await?;
    let about = |status: Status| status.about(&NOTICES, &name);
    let read = body.read(|root| Ok((read_fields(&door, &root)?, root.get("version").number()?)));
    let ((fields, version), warnings) = read.map_err(about)?;
    let put = door.store.update_notice_target(&project, &name, &fields, version, &caller.actor()).await;
    Ok((warnings, Json(show(&put.map_err(|error| about(error.into()))?))))
}

/// Forgets a target.
pub async fn delete(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): OfTarget,
) -> Result<StatusCode, Status> {
    caller.may(&door, "delete", &NOTICES, &project, &name).await?;
    door.store.delete_notice_target(&project, &name, &caller.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a target another secret, the one in the body or a new one, and answers it.
pub async fn replace_secret(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): OfTarget,
    body: Body,
) -> Result<(Warnings, Json<Value>), Status> {
    caller.may(&door, "update", &NOTICES, &project, &name).await?;
    let (secret, warnings) = body.read(|root| read_secret(&root))?;
    door.store.replace_notice_secret(&project, &name, &secret, &caller.actor()).await?;
    Ok((warnings, Json(json!({"name": name, "secret": secret.expose_secret()}))))
}

/// Sends a test.
pub async fn test(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): OfTarget,
) -> Result<(StatusCode, Json<Value>), Status> {
    caller.may(&door, "update", &NOTICES, &project, &name).await?;
    door.store.request_test_notice(&project, &name, &caller.actor()).await?;
    Ok((StatusCode::ACCEPTED, Json(show(&door.store.load_notice_target(&project, &name).await?))))
}

/// What was and is to be told to a target, newest first; `before` takes a sequence.
pub async fn deliveries(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): OfTarget,
    query: PageQuery,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "get", &NOTICES, &project, &name).await?;
    let target = door.store.load_notice_target(&project, &name).await?;
    let notices = door.store.list_notices(&target.id, query.before, query.rows()).await?;
    Ok(Json(query.envelope(notices, |notice| notice.sequence, show_notice)))
}

/// One notice, with every attempt's request and response.
pub async fn delivery(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name, id)): OfNotice,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "get", &NOTICES, &project, &name).await?;
    let target = door.store.load_notice_target(&project, &name).await?;
    let (notice, attempts) = door.store.load_notice(&target.id, &id).await?;
    let mut shown = show_notice(&notice);
    shown["body"] = notice.body.into();
    shown["log"] = attempts.iter().map(show_attempt).collect();
    Ok(Json(shown))
}

/// Sends a notice again, with the id it has.
pub async fn resend(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name, id)): OfNotice,
) -> Result<(StatusCode, Json<Value>), Status> {
    caller.may(&door, "update", &NOTICES, &project, &name).await?;
    door.store.resend_notice(&project, &name, &id, &caller.actor()).await?;
    let target = door.store.load_notice_target(&project, &name).await?;
    let (notice, _) = door.store.load_notice(&target.id, &id).await?;
    Ok((StatusCode::ACCEPTED, Json(show_notice(&notice))))
}

fn read_fields(door: &Door, root: &Field<'_>) -> Result<NoticeTargetFields, Status> {
    let url = root.get("url");
    let checked = check_url(&url.required()?, door.notice_reach).map_err(|problem| url.invalid(problem))?;
    let mut kinds = Vec::new();
    for item in root.get("kinds").items()? {
        kinds.push(item.required()?.parse::<NoticeKind>().map_err(|error| item.invalid(error))?);
    }
    Ok(NoticeTargetFields { url: checked.into(), kinds, is_off: root.get("off").flag()? })
}

fn read_secret(root: &Field<'_>) -> Result<SecretString, Status> {
    let field = root.get("secret");
    if !field.is_present() {
        return Ok(new_secret());
    }
    parse_secret(&field.secret()?).map_err(|error| field.missing(&error.to_string()))
}

fn show(target: &NoticeTarget) -> Value {
    json!({
        "name": target.name,
        "url": target.url,
        "kinds": target.chosen(),
        "off": target.off_at.is_some(),
        "createdAt": rfc3339(target.created_at),
        "createdBy": target.created_by,
        "version": target.version,
        "waiting": target.waiting,
        "lastState": target.last_state,
        "lastAnswer": target.last_answer,
        "lastAt": target.last_at.map(rfc3339),
    })
}

fn show_notice(notice: &Notice) -> Value {
    json!({
        "id": notice.id,
        "sequence": notice.sequence,
        "kind": notice.kind,
        "object": notice.object,
        "at": rfc3339(notice.created_at),
        "state": notice.state,
        "attempts": notice.attempts,
        "nextAt": notice.next_at.map(rfc3339),
        "endedAt": notice.ended_at.map(rfc3339),
        "lastAnswer": notice.last_answer,
    })
}

fn show_attempt(attempt: &NoticeAttempt) -> Value {
    json!({
        "number": attempt.number,
        "at": rfc3339(attempt.at),
        "durationMs": attempt.duration_ms,
        "request": attempt.request,
        "status": attempt.status,
        "response": attempt.response,
        "problem": attempt.problem,
    })
}
