//! The ledger of a project: who did what, on what, why, and because of what.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::PageQuery;
use crate::model::{LedgerRow, rfc3339};
use crate::server::openshift::Door;
use crate::server::openshift::caller::Caller;
use crate::server::openshift::kind::ACTIVITY;
use crate::server::openshift::past::AsOf;
use crate::server::openshift::status::Status;

/// A project's rows, newest first; `before` takes a sequence. With `as_of` those there were at that moment.
pub async fn list(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
    query: PageQuery,
    AsOf(as_of): AsOf,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "list", &ACTIVITY, &project, "").await?;
    let before = match as_of {
        None => query.before,
        Some(moment) => {
            let end = door.store.ledger_end_then(&moment).await?;
            Some(query.before.map_or(end, |before| before.min(end)))
        }
    };
    let rows = door.store.list_ledger(Some(&project), before, query.rows()).await?;
    Ok(Json(query.envelope(rows, |row| row.sequence, show)))
}

fn show(row: &LedgerRow) -> Value {
    json!({
        "sequence": row.sequence,
        "at": rfc3339(row.at),
        "actor": row.actor,
        "actorKind": row.actor_kind,
        "action": row.action,
        "object": row.object,
        "from": row.from_value,
        "to": row.to_value,
        "reason": row.reason,
        "cause": row.cause,
        "hash": row.hash,
    })
}
