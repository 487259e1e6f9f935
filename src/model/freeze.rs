//! Freezes of projects: for how long automation starts nothing there, and what goes all the same.

use serde::Serialize;

use super::event::{ActorKind, EventKind};
use super::rfc3339;

/// While it is in force, automation starts no build and no rollout in its project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Freeze {
    #[serde(skip)]
    pub id: String,
    /// Counts the project's freezes from 1.
    pub number: i64,
    pub begins_at: i64,
    /// `None`: when somebody ends it.
    pub ends_at: Option<i64>,
    pub reason: String,
    /// Who made it.
    pub actor: String,
    pub created_at: i64,
    /// The ledger's row that says so.
    pub sequence: i64,
    /// When somebody ended it, or its time was over.
    pub ended_at: Option<i64>,
    pub ended_by: Option<String>,
}

/// Where a freeze stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FreezeState {
    Planned,
    InForce,
    Over,
}

impl FreezeState {
    /// One word for lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::InForce => "in-force",
            Self::Over => "over",
        }
    }
}

impl Freeze {
    /// Where it stands at a time.
    pub fn state(&self, at: i64) -> FreezeState {
        match self {
            _ if self.ended_at.is_some() || self.ends_at.is_some_and(|end| end <= at) => FreezeState::Over,
            _ if self.begins_at > at => FreezeState::Planned,
            _ => FreezeState::InForce,
        }
    }

    /// `frozen until 2026-12-01T12:00:00Z`
    pub fn waits(&self) -> String {
        frozen_until(self.ends_at)
    }

    /// What the rows of a person's deed in a freeze give as their reason, beside the person's own.
    pub fn emergency(&self, reason: Option<&str>) -> String {
        let note = format!("{EMERGENCY}{}, {}", self.number, self.waits());
        match reason {
            Some(reason) => format!("{reason} ({note})"),
            None => note,
        }
    }
}

/// Why a step waits: for the end of a freeze, or for somebody to end one that has none.
pub fn frozen_until(ends_at: Option<i64>) -> String {
    ends_at.map_or_else(|| "frozen until somebody ends that".to_owned(), |end| format!("frozen until {}", rfc3339(end)))
}

const EMERGENCY: &str = "emergency: in freeze ";

/// A reason without what [`Freeze::emergency`] added; `None` when nothing is left.
pub fn own_reason(reason: &str) -> Option<&str> {
    let own = match reason.rfind(EMERGENCY) {
        Some(0) => "",
        Some(at) => reason[..at].trim_end_matches('(').trim_end(),
        None => reason,
    };
    Some(own).filter(|own| !own.is_empty())
}

/// Whether a cascade is what somebody decided, which a freeze of the same project does not hold up: going back, or pointing a tag
/// elsewhere, by hand or by resuming it. `kind` and `actor_kind` are those that the cascade was opened with.
pub fn is_decided(kind: &str, actor_kind: &str) -> bool {
    match kind.parse() {
        Ok(EventKind::Rollback | EventKind::Restore) => true,
        Ok(EventKind::Api) => matches!(actor_kind.parse(), Ok(ActorKind::Person | ActorKind::Robot)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn freeze(begins_at: i64, ends_at: Option<i64>) -> Freeze {
        Freeze {
            id: String::new(),
            number: 3,
            begins_at,
            ends_at,
            reason: "the sale".to_owned(),
            actor: "ada".to_owned(),
            created_at: 0,
            sequence: 1,
            ended_at: None,
            ended_by: None,
        }
    }

    #[test]
    fn a_freeze_is_in_force_from_its_beginning_to_before_its_end() {
        let sale = freeze(10, Some(20));
        let states = [9, 10, 19, 20].map(|at| sale.state(at).as_str());
        assert_eq!(states, ["planned", "in-force", "in-force", "over"]);
        assert_eq!(freeze(10, None).state(i64::MAX), FreezeState::InForce);
        let ended = Freeze { ended_at: Some(5), ..sale };
        assert_eq!(ended.state(3), FreezeState::Over);
    }

    #[test]
    fn what_was_done_in_a_freeze_says_so_and_keeps_its_own_reason() {
        let sale = freeze(0, Some(1_796_126_400_000));
        assert_eq!(sale.waits(), "frozen until 2026-12-01T12:00:00Z");
        let told = sale.emergency(Some("it was (very) bad"));
        assert_eq!(told, "it was (very) bad (emergency: in freeze 3, frozen until 2026-12-01T12:00:00Z)");
        assert_eq!(own_reason(&told), Some("it was (very) bad"));
        assert_eq!(own_reason(&sale.emergency(None)), None);
        assert_eq!(own_reason("it was bad"), Some("it was bad"));
        assert_eq!(freeze(0, None).emergency(None), "emergency: in freeze 3, frozen until somebody ends that");
    }

    #[test]
    fn going_back_is_a_decision_and_a_push_is_none() {
        for (kind, actor, decided) in [
            ("rollback", "person", true),
            ("restore", "system", true),
            ("api", "person", true),
            ("api", "robot", true),
            ("api", "system", false),
            ("push", "person", false),
            ("import", "schedule", false),
            ("manual", "person", false),
            ("image", "system", false),
        ] {
            assert_eq!(is_decided(kind, actor), decided, "{kind} by {actor}");
        }
    }
}
