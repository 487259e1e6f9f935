//! Apps on Docker Engine in swarm mode: one service per app, which Docker keeps running and updates step by step.
//!
//! Services are found by their labels, never by name: several Weir servers may share an engine.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use bollard::auth::DockerCredentials;
use bollard::errors::Error as DockerError;
use bollard::models::{LocalNodeState, PortBinding, Service, ServiceSpec, Task};
use bollard::query_parameters::{
    ListNodesOptionsBuilder, ListServicesOptionsBuilder, ListTasksOptionsBuilder, UpdateServiceOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use secrecy::ExposeSecret;
use tokio::sync::OnceCell;

use self::observe::Snapshot;
use super::{Desired, Observed, Rollout, RolloutError};
use crate::model::{PublishMode, now};

mod ipvs;
mod observe;
mod spec;
#[cfg(test)]
pub(in crate::server) mod tests;

/// For one call; Docker answers these from memory.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Attempts at a change that others disturb: Docker refuses an update based on an older version of the service.
const ATTEMPTS: usize = 8;

/// A Docker Engine that is a manager of a swarm.
pub struct Swarm {
    /// As configured, for instance `unix:///var/run/docker.sock`.
    host: String,
    instance: String,
    /// Connected at first use, and then talking the newest API both sides know.
    docker: OnceCell<Docker>,
}

/// A refusal that `apply` may answer itself.
enum Refused {
    /// The name is taken.
    Conflict(String),
    /// Someone else changed or removed the service since it was read.
    OutOfSequence,
    Other(RolloutError),
}

impl Swarm {
    /// An engine at `unix:///path` or `tcp://host:port`; `instance` tells this Weir's services from those of others.
    /// Connects later: an engine that is away now may come.
    pub fn new(host: &str, instance: String) -> Result<Self, String> {
        if !["unix://", "tcp://", "http://"].iter().any(|scheme| host.starts_with(scheme)) {
            return Err(format!("\"{host}\" is no Docker host: write unix:///var/run/docker.sock or tcp://host:port"));
        }
        Ok(Self { host: host.to_owned(), instance, docker: OnceCell::new() })
    }

    async fn docker(&self) -> Result<&Docker, DockerError> {
        let connect = || async {
            let seconds = TIMEOUT.as_secs();
            let docker = if self.host.starts_with("unix://") {
                Docker::connect_with_unix(&self.host, seconds, API_DEFAULT_VERSION)?
            } else {
                Docker::connect_with_http(&self.host, seconds, API_DEFAULT_VERSION)?
            };
            docker.negotiate_version().await
        };
        self.docker.get_or_try_init(connect).await
    }

    /// One call with its deadline, which covers connecting and reading the answer.
    async fn call<'a, T, F, R>(&'a self, request: F) -> Result<T, DockerError>
    where
        F: FnOnce(&'a Docker) -> R,
        R: Future<Output = Result<T, DockerError>>,
    {
        let whole = async { request(self.docker().await?).await };
        tokio::time::timeout(TIMEOUT, whole).await.unwrap_or(Err(DockerError::RequestTimeoutError))
    }

    /// What an error means for whoever asked, in words that say what to do.
    fn error(&self, error: &DockerError) -> RolloutError {
        match error {
            DockerError::DockerResponseServerError { message, .. } if message.contains("not a swarm manager") => {
                RolloutError::Transient(self.no_manager(message))
            }
            DockerError::DockerResponseServerError { status_code, message } if (400..500).contains(status_code) => {
                RolloutError::Permanent(format!("Docker refused: {message}"))
            }
            DockerError::DockerResponseServerError { message, .. } => {
                RolloutError::Transient(format!("Docker at {} failed: {message}", self.host))
            }
            other => RolloutError::Transient(self.unreachable(other)),
        }
    }

    fn no_manager(&self, message: &str) -> String {
        if message.contains("worker") {
            format!("Docker at {} is a worker of its swarm: choose a manager with --docker-host", self.host)
        } else {
            format!("Docker at {} is not in swarm mode: run `docker swarm init`", self.host)
        }
    }

    fn unreachable(&self, error: &DockerError) -> String {
        let host = &self.host;
        match error {
            DockerError::JsonDataError { .. }
            | DockerError::JsonSerdeError { .. }
            | DockerError::APIVersionParseError {} => {
                format!("what answers at {host} does not speak Docker's API ({error}): check --docker-host")
            }
            _ if io_kind(error) == Some(io::ErrorKind::PermissionDenied) => {
                format!("Weir may not use Docker at {host}: add its user to the group docker (usermod -aG docker …)")
            }
            _ => {
                format!("Docker does not answer at {host}: start it (systemctl start docker) or choose --rollout none")
            }
        }
    }

    async fn services(&self, labels: &[String]) -> Result<Vec<Service>, RolloutError> {
        let mut filters = HashMap::from([("label", vec![format!("{}={}", spec::INSTANCE, self.instance)])]);
        filters.entry("label").or_default().extend_from_slice(labels);
        let options = ListServicesOptionsBuilder::default().filters(&filters).build();
        self.call(|docker| docker.list_services(Some(options))).await.map_err(|error| self.error(&error))
    }

    async fn find(&self, project: &str, app: &str) -> Result<Option<Service>, RolloutError> {
        let labels = [format!("{}={project}", spec::PROJECT), format!("{}={app}", spec::APP)];
        let mut found = self.services(&labels).await?;
        // Two only if two servers of one instance created it in the same moment under both names: the older counts.
        found.sort_by(|a, b| a.created_at.cmp(&b.created_at));
        Ok(found.into_iter().next())
    }

    async fn look_at(&self, service: &Service) -> Result<Observed, RolloutError> {
        let filters = HashMap::from([("service", vec![service.id.clone().unwrap_or_default()])]);
        let options = ListTasksOptionsBuilder::default().filters(&filters).build();
        let mut tasks =
            self.call(|docker| docker.list_tasks(Some(options))).await.map_err(|error| self.error(&error))?;
        for task in &mut tasks {
            self.drop_ports_for_ipv6(task).await;
        }
        let options = ListNodesOptionsBuilder::default().build();
        let nodes = self.call(|docker| docker.list_nodes(Some(options))).await.map_err(|error| self.error(&error))?;
        Ok(Snapshot { service, tasks: &tasks, nodes: &nodes, now: now() }.observed())
    }

    /// A host port that Docker chose itself may be one number for IPv4 and another for IPv6, and the task does not say which is which.
    /// The container does, where this very engine runs it; on other nodes both numbers stay.
    async fn drop_ports_for_ipv6(&self, task: &mut Task) {
        if !observe::has_ambiguous_ports(task) {
            return;
        }
        let Some(id) = observe::container_id(task) else { return };
        let Ok(container) = self.call(|docker| docker.inspect_container(&id, None)).await else { return };
        let ports = container.network_settings.and_then(|settings| settings.ports).unwrap_or_default();
        let for_ipv4 = |binding: &PortBinding| {
            let ip: Option<IpAddr> = binding.host_ip.as_ref().and_then(|ip| ip.parse().ok());
            binding.host_port.as_ref().and_then(|port| port.parse().ok()).filter(|_| ip.is_none_or(|ip| ip.is_ipv4()))
        };
        let reachable = ports.into_values().flatten().flatten().filter_map(|binding| for_ipv4(&binding)).collect();
        observe::keep_ports(task, &reachable);
    }

    /// The mesh fails in silence without IPVS, so it is refused in words; only for an engine on this machine, whose
    /// kernel can be looked at.
    fn refuse_mesh_without_ipvs(&self, desired: &Desired) -> Result<(), RolloutError> {
        let mesh = desired.spec.ports.iter().find(|port| port.mode == PublishMode::Ingress);
        match mesh {
            Some(port) if self.host.starts_with("unix://") && ipvs::is_missing() => {
                Err(RolloutError::Permanent(format!(
                    "port {} cannot be published through Docker's routing mesh: this kernel has no IPVS (module ip_vs); \
                 publish it with mode host",
                    port.container
                )))
            }
            _ => Ok(()),
        }
    }

    async fn create(&self, wanted: ServiceSpec, auth: Option<DockerCredentials>) -> Result<(), Refused> {
        match self.call(|docker| docker.create_service(wanted, auth)).await {
            Ok(_) => Ok(()),
            Err(DockerError::DockerResponseServerError { status_code: 409, message }) => {
                Err(Refused::Conflict(message))
            }
            Err(error) => Err(Refused::Other(self.error(&error))),
        }
    }

    async fn update(
        &self,
        service: &Service,
        wanted: ServiceSpec,
        auth: Option<DockerCredentials>,
    ) -> Result<(), Refused> {
        let id = service.id.clone().unwrap_or_default();
        let version = service.version.as_ref().and_then(|version| version.index).unwrap_or_default();
        let Ok(version) = i32::try_from(version) else {
            let message = "the swarm's version counter is beyond what the client can send".to_owned();
            return Err(Refused::Other(RolloutError::Permanent(message)));
        };
        let options = UpdateServiceOptionsBuilder::default().version(version).build();
        match self.call(|docker| docker.update_service(&id, wanted, options, auth)).await {
            Ok(_) => Ok(()),
            Err(DockerError::DockerResponseServerError { status_code, message })
                if status_code == 404 || message.contains("out of sequence") =>
            {
                Err(Refused::OutOfSequence)
            }
            Err(error) => Err(Refused::Other(self.error(&error))),
        }
    }

    /// Brings an existing service to the wanted state, if it is not there.
    async fn bring(&self, service: &Service, desired: &Desired) -> Result<(), Refused> {
        let broken = |error| Refused::Other(RolloutError::Permanent(format!("reading Docker's service: {error}")));
        let actual = service.spec.clone().unwrap_or_default();
        let name = actual.name.clone().unwrap_or_default();
        let wanted = spec::service_spec(desired, &self.instance, &name, now());
        let next = match spec::changed(&actual, &wanted).map_err(broken)? {
            Some(next) => next,
            // The same state once more: Docker takes up an update it gave up only when it is given something new,
            // and the time of the change is new.
            None if self.look_at(service).await.map_err(Refused::Other)?.failed.is_some() => {
                let mut next = actual;
                next.labels.get_or_insert_default().insert(spec::SINCE.to_owned(), now().to_string());
                next
            }
            None => return Ok(()),
        };
        self.update(service, next, credentials(desired).map_err(Refused::Other)?).await
    }
}

#[async_trait]
impl Rollout for Swarm {
    async fn check(&self) -> Result<(), String> {
        let info = match self.call(|docker| docker.info()).await {
            Ok(info) => info,
            Err(error) => return Err(self.error(&error).to_string()),
        };
        let swarm = info.swarm.unwrap_or_default();
        match swarm.local_node_state {
            Some(LocalNodeState::ACTIVE) if swarm.control_available == Some(true) => Ok(()),
            Some(LocalNodeState::ACTIVE) => Err(self.no_manager("worker")),
            Some(LocalNodeState::LOCKED) => {
                Err(format!("the swarm of Docker at {} is locked: run `docker swarm unlock`", self.host))
            }
            Some(LocalNodeState::PENDING | LocalNodeState::ERROR) => Err(format!(
                "Docker at {} has not joined its swarm ({}): see `docker info`",
                self.host,
                swarm.error.filter(|error| !error.is_empty()).unwrap_or_else(|| "pending".to_owned())
            )),
            _ => Err(self.no_manager("")),
        }
    }

    async fn apply(&self, desired: &Desired) -> Result<(), RolloutError> {
        self.refuse_mesh_without_ipvs(desired)?;
        let mut name = spec::service_name(&desired.project, &desired.app);
        let fallback = spec::fallback_name(&self.instance, &desired.project, &desired.app);
        for _ in 0..ATTEMPTS {
            let outcome = match self.find(&desired.project, &desired.app).await? {
                Some(service) => self.bring(&service, desired).await,
                None => {
                    let wanted = spec::service_spec(desired, &self.instance, &name, now());
                    self.create(wanted, credentials(desired)?).await
                }
            };
            match outcome {
                Ok(()) => return Ok(()),
                // Another process of this Weir was faster, or the name belongs to someone else: look again.
                Err(Refused::Conflict(message)) if name == fallback => return Err(RolloutError::Transient(message)),
                Err(Refused::Conflict(_)) => name.clone_from(&fallback),
                Err(Refused::OutOfSequence) => {}
                Err(Refused::Other(error)) => return Err(error),
            }
        }
        let name = format!("{}/{}", desired.project, desired.app);
        Err(RolloutError::Transient(format!("someone else keeps changing the service of {name} in Docker")))
    }

    async fn observe(&self, project: &str, app: &str) -> Result<Observed, RolloutError> {
        match self.find(project, app).await? {
            Some(service) => self.look_at(&service).await,
            None => Ok(Observed::default()),
        }
    }

    async fn remove(&self, project: &str, app: &str) -> Result<(), RolloutError> {
        let labels = [format!("{}={project}", spec::PROJECT), format!("{}={app}", spec::APP)];
        for service in self.services(&labels).await? {
            let id = service.id.unwrap_or_default();
            match self.call(|docker| docker.delete_service(&id)).await {
                Ok(()) | Err(DockerError::DockerResponseServerError { status_code: 404, .. }) => {}
                Err(error) => return Err(self.error(&error)),
            }
        }
        Ok(())
    }

    async fn list(&self) -> Result<Vec<(String, String)>, RolloutError> {
        let services = self.services(&[]).await?;
        let name = |service: Service| {
            let mut labels = service.spec?.labels?;
            Some((labels.remove(spec::PROJECT)?, labels.remove(spec::APP)?))
        };
        let mut names: Vec<_> = services.into_iter().filter_map(name).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }
}

/// What Docker hands to the nodes that pull.
fn credentials(desired: &Desired) -> Result<Option<DockerCredentials>, RolloutError> {
    let Some((user, token)) = &desired.registry else { return Ok(None) };
    let token = token.expose_secret();
    // The client encodes this header in standard base64, Docker reads it as the URL-safe one, and they agree only while
    // no byte yields `+` or `/`; these characters can, and Docker would then pull without credentials and not say so.
    let risky = |text: &str| text.contains(['>', '?', '~']) || !text.is_ascii();
    if risky(user) || risky(token) {
        let message =
            "user name or token for the registry contains characters Docker cannot be given (> ? ~ or beyond ASCII)";
        return Err(RolloutError::Permanent(message.to_owned()));
    }
    Ok(Some(DockerCredentials {
        username: Some(user.clone()),
        password: Some(token.to_owned()),
        serveraddress: desired.image.split_once('/').map(|(host, _)| host.to_owned()),
        ..Default::default()
    }))
}

fn io_kind(error: &DockerError) -> Option<io::ErrorKind> {
    if let DockerError::IOError { err } = error {
        return Some(err.kind());
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        cause = error.source();
    }
    None
}
