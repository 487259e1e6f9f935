//! What other registries let this site ask, who asks how much, with which credentials, and whether they are asked at all: for site admins.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::tags::read_reason;
use crate::model::{Budget, Login, LoginState, Pause, now, rfc3339};
use crate::server::openshift::Door;
use crate::server::openshift::body::{Body, Warnings};
use crate::server::openshift::caller::Caller;
use crate::server::openshift::kind::REGISTRIES;
use crate::server::openshift::status::Status;

/// All registries that were asked, by host.
pub async fn list(State(door): State<Door>, caller: Caller) -> Result<Json<Value>, Status> {
    check_site_admin(&caller, "list", "")?;
    let budgets = door.store.list_budgets().await?;
    let pauses = door.store.list_pauses().await?;
    let pause_of = |budget: &Budget| pauses.iter().find(|pause| pause.host == budget.state.host);
    let logins = door.store.list_logins(None).await?;
    Ok(Json(json!({
        "items": budgets.iter().map(|budget| show(budget, pause_of(budget))).collect::<Vec<_>>(),
        "paused": pauses.iter().map(show_pause).collect::<Vec<_>>(),
        "credentials": logins.iter().map(show_login).collect::<Vec<_>>(),
    })))
}

/// Has nothing asked of a registry until it is resumed.
pub async fn pause(
    State(door): State<Door>,
    caller: Caller,
    Path(host): Path<String>,
    body: Body,
) -> Result<(Warnings, Json<Value>), Status> {
    check_site_admin(&caller, "update", &host)?;
    let (reason, warnings) = body.read(|root| read_reason(&root))?;
    door.store.pause_registry(&host, reason.as_deref(), &caller.actor()).await?;
    let pause = door.store.find_pause(&host).await?;
    Ok((warnings, Json(json!({"host": host, "paused": pause.as_ref().map(show_pause)}))))
}

/// Lets a registry be asked again.
pub async fn resume(
    State(door): State<Door>,
    caller: Caller,
    Path(host): Path<String>,
    body: Body,
) -> Result<(Warnings, Json<Value>), Status> {
    check_site_admin(&caller, "update", &host)?;
    let (_, warnings) = body.read(|_| Ok(()))?;
    door.store.resume_registry(&host, &caller.actor()).await?;
    Ok((warnings, Json(json!({"host": host, "paused": null}))))
}

fn check_site_admin(caller: &Caller, verb: &str, host: &str) -> Result<(), Status> {
    match caller.principal().is_site_admin() {
        true => Ok(()),
        false => Err(Status::forbidden(caller.principal().name(), verb, &REGISTRIES, "", host)),
    }
}

fn show_pause(pause: &Pause) -> Value {
    json!({"host": pause.host, "by": pause.paused_by, "since": rfc3339(pause.paused_at), "reason": pause.reason})
}

/// How a secret stands at a registry.
pub fn show_login(login: &Login) -> Value {
    let state = match login.state() {
        LoginState::Unused => "unused",
        LoginState::Good(_) => "valid",
        LoginState::Failing(_) => "failing",
    };
    json!({
        "host": login.host,
        "project": login.project,
        "secret": login.secret,
        "state": state,
        "lastAnswer": login.answered_at.map(rfc3339),
        "failingSince": login.failing_since.map(rfc3339),
        "lastFailure": login.failed_at.map(rfc3339),
        "reason": login.reason,
        "message": login.message,
    })
}

fn show(budget: &Budget, pause: Option<&Pause>) -> Value {
    let state = &budget.state;
    let rest = state.rests_until(now());
    json!({
        "host": state.host,
        "account": state.account,
        "paused": pause.map(show_pause),
        "limit": state.limit_count,
        "remaining": state.remaining,
        "windowSeconds": state.window_ms.map(|ms| ms / 1000),
        "toldAt": state.told_at.map(rfc3339),
        "resetsAt": state.resets_at.map(rfc3339),
        "countsHeads": state.heads_count.map(|count| count == 1),
        "restsUntil": rest.map(rfc3339),
        "restReason": rest.and(state.rest_reason.as_deref()),
        "millisecondsBetweenChecks": state.gap_ms,
        "leastIntervalSeconds": state.least_interval_ms / 1000,
        "tags": budget.tags,
        "questions": budget.questions,
        "unanswered": budget.unanswered,
        "unlisted": budget.unlisted,
        "forecast": forecast(budget),
        "spend24h": budget.spend.iter().map(|one| json!({
            "project": one.project, "heads": one.heads, "manifests": one.gets,
            "lastHour": {"heads": one.recent_heads, "manifests": one.recent_gets},
        })).collect::<Vec<_>>(),
    })
}

fn forecast(budget: &Budget) -> Value {
    use crate::model::Forecast::{Enough, NoLimit, Until, UsedUp};
    match budget.forecast(now()) {
        NoLimit => json!({"state": "no-limit-told"}),
        Enough => json!({"state": "enough"}),
        Until(at) => json!({"state": "enough-until", "until": rfc3339(at)}),
        UsedUp => json!({"state": "used-up"}),
    }
}
