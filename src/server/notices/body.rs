//! What a notice says.

use serde_json::{Value, json};

use crate::model::{LedgerRow, News, NoticeKind, rfc3339};

/// The document that is sent: what happened to what, from where to where, by whom, why, because of what, and where to see it.
pub fn body(news: &News, public_url: &str) -> String {
    let row = &news.row;
    let project = row.project.as_deref().unwrap_or_default();
    let link = |place: &str| format!("{public_url}/p/{project}/{place}");
    let data = json!({
        "project": project,
        "object": row.object,
        "from": end(row.from_value.as_deref(), news.from_version.as_deref()),
        "to": end(row.to_value.as_deref(), news.to_version.as_deref()),
        "state": state(news.kind),
        "by": by(row),
        "reason": row.reason,
        "cause": news.cause.as_ref().map(cause).or_else(|| row.cause.map(|sequence| json!({"sequence": sequence}))),
        "cascade": news.cascade_number.map(|number| json!({"number": number, "link": link(&format!("cascades/{number}"))})),
        "sequence": row.sequence,
        "link": link(&row.place().unwrap_or_else(|| "activity".to_owned())),
    });
    json!({"type": news.kind, "timestamp": rfc3339(row.at), "data": data}).to_string()
}

/// Where something was or is: an image by its digest, anything else by its word.
fn end(value: Option<&str>, version: Option<&str>) -> Value {
    match value {
        None => Value::Null,
        Some(digest) if digest.starts_with("sha256:") || digest.starts_with("sha512:") => {
            json!({"digest": digest, "version": version})
        }
        Some(value) => json!({"value": value}),
    }
}

/// For what has a state, the one it is in now.
fn state(kind: NoticeKind) -> Option<&'static str> {
    match kind {
        NoticeKind::ImportFailing | NoticeKind::BuildFailing | NoticeKind::RolloutFailing => Some("failing"),
        NoticeKind::ImportRecovered
        | NoticeKind::BuildRecovered
        | NoticeKind::RolloutRecovered
        | NoticeKind::AppRolledBack => Some("well"),
        NoticeKind::HoldSet => Some("held"),
        NoticeKind::HoldEnded => Some("free"),
        NoticeKind::QuotaShort => Some("short"),
        NoticeKind::QuotaEnough => Some("enough"),
        NoticeKind::ImportOverdue => Some("overdue"),
        NoticeKind::ImportOnTime => Some("on-time"),
        _ => None,
    }
}

fn by(row: &LedgerRow) -> Value {
    json!({"kind": row.actor_kind, "name": row.actor})
}

fn cause(row: &LedgerRow) -> Value {
    json!({"sequence": row.sequence, "action": row.action, "object": row.object, "by": by(row), "reason": row.reason})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_tells_old_and_new_digest_version_cause_and_link() {
        let moved = LedgerRow {
            from_value: Some("sha256:aa".to_owned()),
            to_value: Some("sha256:bb".to_owned()),
            cause: Some(5),
            ..LedgerRow::sample("tag.build", "base:latest")
        };
        let news = News {
            target_id: String::new(),
            kind: NoticeKind::TagBuilt,
            row: moved,
            from_version: Some("1.0".to_owned()),
            to_version: None,
            cause: Some(LedgerRow { sequence: 5, ..LedgerRow::sample("build.request", "base-3") }),
            cascade_number: Some(2),
        };
        let told: Value = serde_json::from_str(&body(&news, "https://weir.example")).unwrap();
        insta::assert_json_snapshot!(told, @r#"
        {
          "data": {
            "by": {
              "kind": "build",
              "name": "base-3"
            },
            "cascade": {
              "link": "https://weir.example/p/demo/cascades/2",
              "number": 2
            },
            "cause": {
              "action": "build.request",
              "by": {
                "kind": "build",
                "name": "base-3"
              },
              "object": "base-3",
              "reason": null,
              "sequence": 5
            },
            "from": {
              "digest": "sha256:aa",
              "version": "1.0"
            },
            "link": "https://weir.example/p/demo/streams/base/tags/latest",
            "object": "base:latest",
            "project": "demo",
            "reason": null,
            "sequence": 7,
            "state": null,
            "to": {
              "digest": "sha256:bb",
              "version": null
            }
          },
          "timestamp": "2026-11-21T03:11:00Z",
          "type": "tag.built"
        }
        "#);
    }

    #[test]
    fn what_has_a_state_tells_it() {
        let news = News {
            target_id: String::new(),
            kind: NoticeKind::BuildFailing,
            row: LedgerRow { to_value: Some("Failed".to_owned()), ..LedgerRow::sample("build.finish", "app-a-3") },
            from_version: None,
            to_version: None,
            cause: None,
            cascade_number: None,
        };
        let told: Value = serde_json::from_str(&body(&news, "https://weir.example")).unwrap();
        assert_eq!(told["data"]["state"], "failing");
        assert_eq!(told["data"]["to"]["value"], "Failed");
        assert_eq!(told["data"]["link"], "https://weir.example/p/demo/builds/app-a/runs/3");
    }
}
