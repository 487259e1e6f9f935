//! What other registries let this site ask, and who asks how much: for site admins.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::model::{Budget, now, rfc3339};
use crate::server::openshift::Door;
use crate::server::openshift::caller::Caller;
use crate::server::openshift::kind::REGISTRIES;
use crate::server::openshift::status::Status;

/// All registries that were asked, by host.
pub async fn list(State(door): State<Door>, caller: Caller) -> Result<Json<Value>, Status> {
    if !caller.principal().is_site_admin() {
        return Err(Status::forbidden(caller.principal().name(), "list", &REGISTRIES, "", ""));
    }
    let budgets = door.store.list_budgets().await?;
    Ok(Json(json!({"items": budgets.iter().map(show).collect::<Vec<_>>()})))
}

fn show(budget: &Budget) -> Value {
    let state = &budget.state;
    let rest = state.rests_until(now());
    json!({
        "host": state.host,
        "account": state.account,
        "limit": state.limit_count,
        "remaining": state.remaining,
        "windowSeconds": state.window_ms.map(|ms| ms / 1000),
        "toldAt": state.told_at.map(rfc3339),
        "countsHeads": state.heads_count.map(|count| count == 1),
        "restsUntil": rest.map(rfc3339),
        "restReason": rest.and(state.rest_reason.as_deref()),
        "millisecondsBetweenChecks": state.gap_ms,
        "leastIntervalSeconds": state.least_interval_ms / 1000,
        "tags": budget.tags,
        "questions": budget.questions,
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
