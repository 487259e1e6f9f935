//! Apps as their authors write them: how the containers of an image run.

use serde::{Deserialize, Serialize};

/// How a port is reached from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PublishMode {
    /// Every node answers on the port and forwards to a replica.
    #[default]
    Ingress,
    /// Each node answers for its own replica only; needs no routing mesh.
    Host,
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppPort {
    /// The port the container listens on, TCP.
    pub container: u16,
    /// The port on the node; absent lets the engine choose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<u16>,
    #[serde(default)]
    pub mode: PublishMode,
}

/// An environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvVar {
    pub name: String,
    #[serde(default)]
    pub value: String,
}

/// Everything about an app but its image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppSpec {
    #[serde(default = "one")]
    pub replicas: u32,
    #[serde(default)]
    pub ports: Vec<AppPort>,
    #[serde(default)]
    pub env: Vec<EnvVar>,
    /// Replaces the image's entrypoint when not empty.
    #[serde(default)]
    pub command: Vec<String>,
    /// Replaces the image's command when not empty.
    #[serde(default)]
    pub args: Vec<String>,
    /// How many replicas an update replaces at a time.
    #[serde(default = "one")]
    pub parallelism: u32,
    /// Pause between two such steps, in milliseconds.
    #[serde(default)]
    pub delay_ms: u64,
}

impl Default for AppSpec {
    fn default() -> Self {
        Self {
            replicas: 1,
            ports: Vec::new(),
            env: Vec::new(),
            command: Vec::new(),
            args: Vec::new(),
            parallelism: 1,
            delay_ms: 0,
        }
    }
}

fn one() -> u32 {
    1
}
