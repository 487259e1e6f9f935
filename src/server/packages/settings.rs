//! How two images' configurations differ: what runs, as whom, with which environment, ports and labels.

use std::collections::BTreeMap;

use crate::model::ImageConfig;

/// What stands in place of a value that may be a secret.
const HIDDEN: &str = "hidden";

/// What part of a configuration differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingPart {
    /// How the container is started.
    Run,
    Environment,
    Label,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingChange {
    pub part: SettingPart,
    /// What it is called: `User`, the name of a variable or of a label.
    pub name: String,
    /// `None` where it is not set.
    pub from: Option<String>,
    pub to: Option<String>,
    /// It deserves a second look: the image may run with more rights, or not where it ran before.
    pub caution: bool,
}

impl SettingChange {
    /// `User: 1001 → root`
    pub fn in_words(&self) -> String {
        let words = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
        match self.part {
            SettingPart::Run => format!("{}: {} → {}", self.name, words(&self.from), words(&self.to)),
            SettingPart::Environment | SettingPart::Label => {
                let what = if self.part == SettingPart::Label { "Label" } else { "Environment" };
                let verb = match (&self.from, &self.to) {
                    (None, _) => "is set",
                    (_, None) => "is gone",
                    _ => "changes",
                };
                format!("{what}: {} {verb}", self.name)
            }
        }
    }
}

/// Everything that differs, what starts the container first.
pub fn setting_changes(from: &ImageConfig, to: &ImageConfig) -> Vec<SettingChange> {
    let mut changes = Vec::new();
    let mut compare = |part, name: &str, from: Option<String>, to: Option<String>, caution: bool| {
        if from != to {
            changes.push(SettingChange { part, name: name.to_owned(), from, to, caution });
        }
    };
    let (a, b) = (&from.config, &to.config);
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let words = |words: &[String]| text(&words.join(" "));
    let user = |user: &str| Some(if is_root(user) { "root".to_owned() } else { user.to_owned() });
    let run = SettingPart::Run;
    compare(run, "User", user(&a.user), user(&b.user), is_root(&b.user));
    compare(run, "Entrypoint", words(&a.entrypoint), words(&b.entrypoint), false);
    compare(run, "Command", words(&a.cmd), words(&b.cmd), false);
    compare(run, "Working directory", text(&a.working_dir), text(&b.working_dir), false);
    compare(run, "Ports", words(&a.exposed_ports), words(&b.exposed_ports), true);
    compare(run, "Volumes", words(&a.volumes), words(&b.volumes), false);
    compare(run, "Stop signal", text(&a.stop_signal), text(&b.stop_signal), false);
    let platform = |config: &ImageConfig| match (config.os.as_str(), config.architecture.as_str()) {
        ("", "") => None,
        (os, architecture) => Some(format!("{os}/{architecture}")),
    };
    compare(run, "Platform", platform(from), platform(to), true);
    for (name, from, to) in differing(&variables(&a.env), &variables(&b.env)) {
        let shown = |value: String| if sounds_secret(&name) && !value.is_empty() { HIDDEN.to_owned() } else { value };
        // Not `compare`, for which one hidden value is like another.
        let (from, to) = (from.map(shown), to.map(shown));
        changes.push(SettingChange { part: SettingPart::Environment, name, from, to, caution: false });
    }
    for (name, from, to) in differing(&a.labels, &b.labels) {
        changes.push(SettingChange { part: SettingPart::Label, name, from, to, caution: false });
    }
    changes
}

fn is_root(user: &str) -> bool {
    matches!(user.split(':').next(), None | Some("" | "0" | "root"))
}

fn variables(pairs: &[String]) -> BTreeMap<String, String> {
    let pairs = pairs.iter().map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What differs, by name.
fn differing(
    from: &BTreeMap<String, String>,
    to: &BTreeMap<String, String>,
) -> Vec<(String, Option<String>, Option<String>)> {
    let names: std::collections::BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    let all = names.into_iter().map(|name| (name.clone(), from.get(name).cloned(), to.get(name).cloned()));
    all.filter(|(_, from, to)| from != to).collect()
}

/// Whether a variable's name sounds like a secret. Those who need the value pull the image.
pub fn sounds_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["PASSWORD", "PASSWD", "SECRET", "TOKEN", "APIKEY", "API_KEY", "PRIVATE_KEY", "ACCESS_KEY", "CREDENTIAL"]
        .iter()
        .any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> ImageConfig {
        serde_json::from_str(&format!("{{\"os\": \"linux\", \"architecture\": \"amd64\", \"config\": {text}}}"))
            .unwrap()
    }

    #[test]
    fn tells_what_differs_and_what_deserves_a_look() {
        let from = config(
            r#"{"User": "1001:0", "Cmd": ["httpd", "-f"], "ExposedPorts": {"80/tcp": {}}, "Env": ["A=1", "B=2", "DB_PASSWORD=x"],
                "Labels": {"v": "1", "gone": "y"}}"#,
        );
        let to = config(
            r#"{"User": "0", "Entrypoint": ["/start"], "Cmd": ["httpd", "-f"], "ExposedPorts": {"80/tcp": {}},
                "Env": ["A=1", "C=3", "DB_PASSWORD=y"], "Labels": {"v": "2"}}"#,
        );
        let changes = setting_changes(&from, &to);
        let words: Vec<_> = changes.iter().map(SettingChange::in_words).collect();
        assert_eq!(
            words,
            [
                "User: 1001:0 → root",
                "Entrypoint: none → /start",
                "Environment: B is gone",
                "Environment: C is set",
                "Environment: DB_PASSWORD changes",
                "Label: gone is gone",
                "Label: v changes",
            ]
        );
        assert_eq!(changes.iter().filter(|change| change.caution).count(), 1);
        assert!(!format!("{changes:?}").contains("Some(\"x\")"), "values that sound secret stay hidden");
        assert_eq!(setting_changes(&from, &from), []);
        assert!(!setting_changes(&to, &from)[0].caution, "from root to somebody else is no worse");
    }

    #[test]
    fn hides_what_sounds_like_a_secret() {
        assert!(sounds_secret("db_password") && sounds_secret("GITHUB_TOKEN"));
        assert!(!sounds_secret("PATH") && !sounds_secret("KEYBOARD"));
    }
}
