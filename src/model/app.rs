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
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppPort {
    /// The port the container listens on, TCP.
    pub container: u16,
    /// The port on the node; absent lets the engine choose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<u16>,
    #[serde(default)]
    pub mode: PublishMode,
}

/// An environment variable; its value is shown to everyone who may see the app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// How many replicas an update replaces at a time; at least one.
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

/// More is a slip of the keyboard rather than a plan.
const MAX_REPLICAS: u32 = 10_000;
const MAX_DELAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Why an app cannot run as written; the text names the field and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppSpecError {
    #[error("replicas: at most {MAX_REPLICAS}, not {0}")]
    Replicas(u32),
    #[error("parallelism: at least 1, the number of replicas an update replaces at a time")]
    Parallelism,
    #[error("delayMs: at most {MAX_DELAY_MS} (a day), not {0}")]
    Delay(u64),
    #[error(
        "ports: container and published ports are numbers from 1 to 65535; leave published out to let the engine choose"
    )]
    PortZero,
    #[error("ports: published port {0} is given twice")]
    PublishedTwice(u16),
    #[error("ports: container port {0} is given twice with the same mode")]
    ContainerTwice(u16),
    #[error("env: \"{0}\" is no name for a variable: it must not be empty nor contain '=' or a null character")]
    EnvName(String),
    #[error("env: {0} is given twice")]
    EnvTwice(String),
    #[error("{0}: must not contain a null character")]
    Null(&'static str),
}

impl AppSpec {
    /// Refuses what no engine can run, before it is stored.
    pub fn check(&self) -> Result<(), AppSpecError> {
        if self.replicas > MAX_REPLICAS {
            return Err(AppSpecError::Replicas(self.replicas));
        }
        if self.parallelism == 0 {
            return Err(AppSpecError::Parallelism);
        }
        if self.delay_ms > MAX_DELAY_MS {
            return Err(AppSpecError::Delay(self.delay_ms));
        }
        self.check_ports()?;
        self.check_env()?;
        for (field, texts) in [("command", &self.command), ("args", &self.args)] {
            if texts.iter().any(|text| text.contains('\0')) {
                return Err(AppSpecError::Null(field));
            }
        }
        Ok(())
    }

    fn check_ports(&self) -> Result<(), AppSpecError> {
        for (index, port) in self.ports.iter().enumerate() {
            let before = &self.ports[..index];
            if port.container == 0 || port.published == Some(0) {
                return Err(AppSpecError::PortZero);
            }
            if let Some(published) = port.published.filter(|_| before.iter().any(|p| p.published == port.published)) {
                return Err(AppSpecError::PublishedTwice(published));
            }
            let same = |other: &AppPort| other.container == port.container && other.mode == port.mode;
            if before.iter().any(same) {
                return Err(AppSpecError::ContainerTwice(port.container));
            }
        }
        Ok(())
    }

    fn check_env(&self) -> Result<(), AppSpecError> {
        for (index, var) in self.env.iter().enumerate() {
            if var.name.is_empty() || var.name.contains(['=', '\0']) {
                return Err(AppSpecError::EnvName(var.name.clone()));
            }
            if var.value.contains('\0') {
                return Err(AppSpecError::Null("env"));
            }
            if self.env[..index].iter().any(|other| other.name == var.name) {
                return Err(AppSpecError::EnvTwice(var.name.clone()));
            }
        }
        Ok(())
    }
}

fn one() -> u32 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(container: u16, published: Option<u16>) -> AppPort {
        AppPort { container, published, mode: PublishMode::Host }
    }

    fn var(name: &str) -> EnvVar {
        EnvVar { name: name.to_owned(), value: String::new() }
    }

    #[test]
    fn accepts_what_runs() {
        let spec =
            AppSpec { ports: vec![port(80, None), port(81, Some(81))], env: vec![var("A")], ..AppSpec::default() };
        assert_eq!(spec.check(), Ok(()));
        assert_eq!(AppSpec { replicas: 0, ..AppSpec::default() }.check(), Ok(()));
    }

    #[test]
    fn refuses_what_no_engine_can_run() {
        let with = |ports: Vec<AppPort>| AppSpec { ports, ..AppSpec::default() }.check();
        assert_eq!(with(vec![port(0, None)]), Err(AppSpecError::PortZero));
        assert_eq!(with(vec![port(80, Some(8080)), port(81, Some(8080))]), Err(AppSpecError::PublishedTwice(8080)));
        assert_eq!(with(vec![port(80, None), port(80, None)]), Err(AppSpecError::ContainerTwice(80)));
        let with = |env: Vec<EnvVar>| AppSpec { env, ..AppSpec::default() }.check();
        assert_eq!(with(vec![var("A=B")]), Err(AppSpecError::EnvName("A=B".to_owned())));
        assert_eq!(with(vec![var("A"), var("A")]), Err(AppSpecError::EnvTwice("A".to_owned())));
        assert_eq!(AppSpec { parallelism: 0, ..AppSpec::default() }.check(), Err(AppSpecError::Parallelism));
        assert_eq!(AppSpec { replicas: 10_001, ..AppSpec::default() }.check(), Err(AppSpecError::Replicas(10_001)));
        let args = vec!["a\0b".to_owned()];
        assert_eq!(AppSpec { args, ..AppSpec::default() }.check(), Err(AppSpecError::Null("args")));
    }

    #[test]
    fn unknown_fields_are_named() {
        let error = serde_json::from_str::<AppSpec>(r#"{"ports":[{"container":80,"publish":81}]}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `publish`"), "{error}");
    }
}
