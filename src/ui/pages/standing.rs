//! How an app stands, in one word: always from what was observed, never from what was asked for.

use leptos::prelude::*;

use crate::model::{App, RolloutPhase};
use crate::server::rollout::Observed;
use crate::ui::components::{Badge, Tone};

/// An app's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub tone: Tone,
    pub word: String,
    /// Replicas seen ready with the wanted image.
    pub ready: usize,
    /// Replicas there should be.
    pub replicas: u32,
    /// What the engine said last.
    pub observed: Option<Observed>,
}

impl Standing {
    /// Where the app stands.
    pub fn of(app: &App) -> Self {
        let observed: Option<Observed> = app.observed.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let replicas = app.spec().map_or(1, |spec| spec.replicas);
        let wanted = app.wanted_digest.as_deref().and_then(|digest| digest.parse().ok());
        let ready = observed.as_ref().zip(wanted.as_ref()).map_or(0, |(seen, wanted)| seen.ready_with(wanted));
        let all = ready == usize::try_from(replicas).unwrap_or(usize::MAX);
        let phase: Option<RolloutPhase> = app.wanted_phase.as_deref().and_then(|phase| phase.parse().ok());
        let (tone, word) = match phase {
            None if app.tag_digest.is_none() => (Tone::Warn, "No image".to_owned()),
            None if app.held_since.is_some() => (Tone::Held, "Held".to_owned()),
            None => (Tone::Muted, "Not rolled out".to_owned()),
            Some(_) if app.observe_error.is_some() || observed.is_none() => (Tone::Warn, "Not confirmed".to_owned()),
            Some(RolloutPhase::Failed) => (Tone::Fail, "Failed".to_owned()),
            Some(RolloutPhase::Pending | RolloutPhase::Running) => {
                (Tone::Running, format!("Rolling {ready}/{replicas}"))
            }
            // It was complete once, and replicas are missing now.
            Some(_) if !all => (Tone::Running, format!("Rolling {ready}/{replicas}")),
            Some(_) if app.held_since.is_some() => (Tone::Held, "Held".to_owned()),
            Some(_) if app.is_behind() => (Tone::Warn, "Behind".to_owned()),
            Some(_) => (Tone::Ok, "In step".to_owned()),
        };
        Self { tone, word, ready, replicas, observed }
    }

    /// The word on its colour; and that it is held, when the word says something else.
    pub fn badges(&self, app: &App) -> AnyView {
        let held = (app.held_since.is_some() && self.tone != Tone::Held)
            .then(|| view! { " " <Badge tone=Tone::Held text="Held" /> });
        view! {
            <Badge tone=self.tone text=self.word.clone() />
            {held}
        }
        .into_any()
    }

    /// The digests observed running, each once.
    pub fn running(&self) -> Vec<String> {
        let mut digests: Vec<String> = Vec::new();
        for replica in self.observed.iter().flat_map(|seen| &seen.replicas).filter(|replica| replica.ready) {
            let digest = replica.digest.as_ref().map(ToString::to_string);
            digests.extend(digest.filter(|digest| !digests.contains(digest)));
        }
        digests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const NEW: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn app(phase: &str, running: &[&str]) -> App {
        let replica = |digest: &&str| {
            serde_json::json!({"id": "1", "node": "n", "digest": digest, "state": "running", "ready": true, "since": 0,
                "message": null, "ports": []})
        };
        let replicas: Vec<_> = running.iter().map(replica).collect();
        let observed =
            serde_json::json!({"exists": true, "rollout": 1, "updating": false, "failed": null, "replicas": replicas});
        let text = |text: &str| text.to_owned();
        App {
            id: text("a"),
            project_id: text("p"),
            project: text("demo"),
            name: text("web"),
            labels: text("{}"),
            annotations: text("{}"),
            spec: text(r#"{"replicas":2}"#),
            tag_id: text("t"),
            image_project: text("demo"),
            image_stream: text("web"),
            image_tag: text("latest"),
            tag_digest: Some(text(NEW)),
            automatic: 1,
            generation: 1,
            last_number: 1,
            wanted_digest: Some(text(NEW)),
            wanted_phase: Some(text(phase)),
            wanted_message: None,
            observed: Some(observed.to_string()),
            observed_at: Some(0),
            observe_error: None,
            held_since: None,
            created_at: 0,
            created_by: text("developer"),
            deleted_at: None,
            version: 1,
        }
    }

    fn word(app: &App) -> String {
        Standing::of(app).word
    }

    #[test]
    fn only_what_was_seen_counts() {
        assert_eq!(word(&app("Complete", &[NEW, NEW])), "In step");
        assert_eq!(word(&app("Running", &[OLD, NEW])), "Rolling 1/2");
        // The rollout was complete, yet one replica runs something else now.
        assert_eq!(word(&app("Complete", &[OLD, NEW])), "Rolling 1/2");
        assert_eq!(word(&app("Failed", &[OLD, OLD])), "Failed");
        let away = App { observe_error: Some("the engine does not answer".to_owned()), ..app("Complete", &[NEW, NEW]) };
        assert_eq!(word(&away), "Not confirmed");
        assert_eq!(word(&App { observed: None, ..away }), "Not confirmed");
    }

    #[test]
    fn held_behind_and_without_image() {
        let behind = App { wanted_digest: Some(OLD.to_owned()), ..app("Complete", &[OLD, OLD]) };
        assert_eq!(word(&behind), "Behind");
        assert_eq!(word(&App { held_since: Some(1), ..behind }), "Held");
        let bare = App { wanted_phase: None, wanted_digest: None, tag_digest: None, observed: None, ..app("", &[]) };
        assert_eq!(word(&bare), "No image");
        assert_eq!(Standing::of(&app("Complete", &[NEW, OLD])).running(), [NEW, OLD]);
    }
}
