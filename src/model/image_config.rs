//! An image's configuration as images carry it: what runs in it and how it was made.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

/// The configuration of an image (OCI image-spec "Image Configuration", and Docker's, which it grew from).
///
/// Read leniently: every field may be absent or null, unknown ones are passed over. Whoever needs the exact bytes keeps
/// them beside this.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// The image's own word for when it was made, RFC 3339. Builders lie about it for reproducibility's sake.
    pub created: Option<String>,
    pub author: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub architecture: String,
    #[serde(default, deserialize_with = "or_default")]
    pub os: String,
    pub variant: Option<String>,
    /// What the container starts with.
    #[serde(default, deserialize_with = "or_default")]
    pub config: ContainerConfig,
    #[serde(default, deserialize_with = "or_default")]
    pub rootfs: RootFs,
    /// The steps that made the image, oldest first.
    #[serde(default, deserialize_with = "or_default")]
    pub history: Vec<HistoryStep>,
}

/// Execution defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerConfig {
    #[serde(default, deserialize_with = "or_default")]
    pub user: String,
    /// `NAME=value`.
    #[serde(default, deserialize_with = "or_default")]
    pub env: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub entrypoint: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub cmd: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub working_dir: String,
    /// `8080/tcp`; the values are empty objects.
    #[serde(default, deserialize_with = "keys", serialize_with = "as_keys")]
    pub exposed_ports: Vec<String>,
    /// Paths; the values are empty objects.
    #[serde(default, deserialize_with = "keys", serialize_with = "as_keys")]
    pub volumes: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    pub stop_signal: String,
}

/// The layers as the root filesystem's parts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Digests of the layers uncompressed, lowest first.
    #[serde(default, deserialize_with = "or_default")]
    pub diff_ids: Vec<String>,
}

/// One step of an image's making.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryStep {
    pub created: Option<String>,
    /// The instruction, often with `/bin/sh -c #(nop)` before it.
    #[serde(default, deserialize_with = "or_default")]
    pub created_by: String,
    #[serde(default, deserialize_with = "or_default")]
    pub comment: String,
    /// Whether the step made no layer.
    #[serde(default, deserialize_with = "or_default")]
    pub empty_layer: bool,
}

/// Which step of the history made each layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerSteps {
    /// Of each layer, lowest first, its step's place in the history.
    pub of_layers: Vec<Option<usize>>,
    /// The history tells of fewer layers than there are: these are likely to be the upper ones.
    pub guessed: bool,
}

impl LayerSteps {
    /// Of each of so many steps, the place of the layer that it made.
    pub fn of_steps(&self, steps: usize) -> Vec<Option<usize>> {
        let mut layers = vec![None; steps];
        for (layer, step) in self.of_layers.iter().enumerate() {
            if let Some(made) = step.and_then(|step| layers.get_mut(step)) {
                *made = Some(layer);
            }
        }
        layers
    }
}

impl ImageConfig {
    /// The steps that made so many layers. As the OCI image-spec has it, those that are not `empty_layer` are the layers' in their order, as
    /// many as there are. A builder that goes on from an image without a history leaves the steps of the upper layers alone; of more
    /// steps than layers nobody can say which is whose.
    pub fn layer_steps(&self, layers: usize) -> LayerSteps {
        let made: Vec<usize> =
            self.history.iter().enumerate().filter(|(_, step)| !step.empty_layer).map(|(place, _)| place).collect();
        let Some(unknown) = layers.checked_sub(made.len()) else {
            return LayerSteps { of_layers: vec![None; layers], guessed: false };
        };
        let guessed = unknown > 0 && !made.is_empty();
        let of_layers = std::iter::repeat_n(None, unknown).chain(made.into_iter().map(Some)).collect();
        LayerSteps { of_layers, guessed }
    }

    /// The value of an environment variable.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.config.env.iter().find_map(|pair| pair.split_once('=').filter(|(n, _)| *n == name).map(|(_, value)| value))
    }
}

/// Go writes `null` for what is empty.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let map = Option::<BTreeMap<String, serde::de::IgnoredAny>>::deserialize(deserializer)?;
    Ok(map.unwrap_or_default().into_keys().collect())
}

fn as_keys<S: serde::Serializer>(keys: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(keys.iter().map(|key| (key, BTreeMap::<(), ()>::new())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_docker_writes() {
        let text = r#"{
            "architecture": "amd64", "os": "linux", "created": "2024-01-02T03:04:05.6Z", "container": "ignored",
            "config": {
                "Env": ["PATH=/bin", "A=b=c"], "Cmd": null, "Entrypoint": ["/start"], "ExposedPorts": {"80/tcp": {}, "443/tcp": {}},
                "Volumes": null, "WorkingDir": "/srv", "User": "1001", "Labels": {"a": "1"}, "OnBuild": null
            },
            "rootfs": {"type": "layers", "diff_ids": ["sha256:aa", "sha256:bb"]},
            "history": [
                {"created_by": "/bin/sh -c #(nop) ADD file"}, {"created_by": "ENV A=b=c", "empty_layer": true}, {"created_by": "RUN x"}
            ]
        }"#;
        let config: ImageConfig = serde_json::from_str(text).expect("a configuration");
        assert_eq!(config.env("A"), Some("b=c"));
        assert_eq!(config.env("PAT"), None);
        assert_eq!(config.config.exposed_ports, ["443/tcp", "80/tcp"]);
        assert_eq!(config.config.working_dir, "/srv");
        assert!(config.config.cmd.is_empty() && config.config.volumes.is_empty());
        assert_eq!(config.layer_steps(2).of_layers, [Some(0), Some(2)]);
        let again = serde_json::from_str(&serde_json::to_string(&config).expect("written")).expect("read again");
        assert_eq!(config, again);
    }

    #[test]
    fn an_incomplete_history_is_that_of_the_upper_layers_and_one_with_too_many_steps_of_none() {
        let step = |created_by: &str, empty_layer: bool| HistoryStep {
            created_by: created_by.to_owned(),
            empty_layer,
            ..HistoryStep::default()
        };
        let history = vec![step("COPY a", false), step("ENV b=c", true), step("RUN d", false)];
        let config = ImageConfig { history, ..ImageConfig::default() };
        let steps = |layers: usize| {
            let LayerSteps { of_layers, guessed } = config.layer_steps(layers);
            (of_layers, guessed)
        };
        assert_eq!(steps(2), (vec![Some(0), Some(2)], false));
        assert_eq!(steps(4), (vec![None, None, Some(0), Some(2)], true), "what is below was made elsewhere");
        assert_eq!(steps(1), (vec![None], false));
        assert_eq!(steps(0), (vec![], false));
        assert_eq!(ImageConfig::default().layer_steps(2), LayerSteps { of_layers: vec![None; 2], guessed: false });
        assert_eq!(config.layer_steps(4).of_steps(3), [Some(2), None, Some(3)]);
        assert_eq!(config.layer_steps(1).of_steps(3), [None; 3]);
    }

    #[test]
    fn reads_what_says_nothing() {
        for text in ["{}", r#"{"config": null, "rootfs": null, "history": null, "os": null}"#] {
            assert_eq!(serde_json::from_str::<ImageConfig>(text).expect("lenient"), ImageConfig::default());
        }
    }
}
