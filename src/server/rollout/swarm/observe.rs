//! What Docker says of a service, its tasks and its nodes, as what was observed of an app. No calls here.

use std::collections::{HashMap, HashSet};

use bollard::models::{
    EndpointPortConfig, EndpointPortConfigPublishModeEnum, Node, NodeState, Service, ServiceUpdateStatusStateEnum,
    Task, TaskSpec, TaskState,
};

use super::super::{Observed, Replica};
use super::spec::{MONITOR_MS, ROLLOUT, SINCE};
use crate::model::Digest;

/// So many ends of one replica since the last change are no accident.
const FAILURES: usize = 3;
/// A task waits for a node no longer than this before people are told.
const PENDING_MS: i64 = 30_000;

/// All of it at one moment, with the clock's time.
pub(super) struct Snapshot<'a> {
    pub service: &'a Service,
    pub tasks: &'a [Task],
    pub nodes: &'a [Node],
    pub now: i64,
}

/// What a reason tells: the text, and whether the cause may be gone next time.
struct Failure {
    reason: String,
    retryable: bool,
}

impl Snapshot<'_> {
    pub(super) fn observed(&self) -> Observed {
        let updating = matches!(
            self.update_state(),
            Some(ServiceUpdateStatusStateEnum::UPDATING | ServiceUpdateStatusStateEnum::ROLLBACK_STARTED)
        );
        let failure = self.update_failure().or_else(|| self.repeated_failure()).or_else(|| self.without_node());
        let mut live: Vec<&Task> = self.tasks.iter().filter(|task| self.is_live(task)).collect();
        live.sort_by_key(|task| (task.slot, millis(task.created_at.as_deref()), task.id.clone()));
        Observed {
            exists: true,
            rollout: self.label(ROLLOUT).and_then(|text| text.parse().ok()),
            updating,
            retryable: failure.as_ref().is_some_and(|failure| failure.retryable),
            failed: failure.map(|failure| failure.reason),
            replicas: live.into_iter().map(|task| self.replica(task)).collect(),
        }
    }

    fn label(&self, name: &str) -> Option<&str> {
        self.service.spec.as_ref()?.labels.as_ref()?.get(name).map(String::as_str)
    }

    fn image(&self) -> Option<&str> {
        image(self.service.spec.as_ref()?.task_template.as_ref())
    }

    fn update_state(&self) -> Option<ServiceUpdateStatusStateEnum> {
        self.service.update_status.as_ref()?.state
    }

    fn node(&self, task: &Task) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id.is_some() && node.id == task.node_id)
    }

    /// The last word of a node that is away proves nothing.
    fn is_reachable(&self, task: &Task) -> bool {
        self.node(task).and_then(|node| node.status.as_ref()?.state).is_none_or(|state| state == NodeState::READY)
    }

    /// Should run, or still does. What should end on a node that is away is left out: nobody will report its end.
    fn is_live(&self, task: &Task) -> bool {
        if is_wanted(task) { !has_ended(task) } else { state(task) == TaskState::RUNNING && self.is_reachable(task) }
    }

    fn replica(&self, task: &Task) -> Replica {
        let status = task.status.as_ref();
        let reachable = self.is_reachable(task);
        let since = millis(status.and_then(|status| status.timestamp.as_deref()));
        let ready = reachable && is_wanted(task) && self.is_steady(task);
        let name = self.node(task).and_then(|node| node.description.as_ref()?.hostname.clone());
        let name = name.or_else(|| task.node_id.clone()).unwrap_or_default();
        let message = if reachable {
            let own = status.and_then(|status| status.err.clone()).filter(|err| !err.is_empty());
            own.or_else(|| self.ends_of(task.slot).last().filter(|_| !ready).map(|ended| reason(ended)))
        } else {
            Some(format!("node {name} does not answer"))
        };
        Replica {
            id: task.id.clone().unwrap_or_default(),
            digest: image(task.spec.as_ref()).and_then(|image| image.rsplit_once('@')?.1.parse::<Digest>().ok()),
            state: match (reachable, is_wanted(task)) {
                (false, _) => "unknown".to_owned(),
                (true, false) => "stopping".to_owned(),
                (true, true) => state(task).to_string(),
            },
            ready,
            since,
            message,
            ports: self.ports(task),
            node: name,
        }
    }

    /// Runs, and for long enough that an immediate crash can be excluded. Docker itself waits for a failing health
    /// check before it says `running`. A node's clock may differ from ours, so a time to come counts by its distance.
    fn is_steady(&self, task: &Task) -> bool {
        let since = millis(task.status.as_ref().and_then(|status| status.timestamp.as_deref()));
        state(task) == TaskState::RUNNING && self.now.abs_diff(since) >= MONITOR_MS.unsigned_abs()
    }

    fn ports(&self, task: &Task) -> Vec<(u16, u16)> {
        let mesh = self.service.endpoint.as_ref().and_then(|endpoint| endpoint.ports.as_deref());
        let mesh = mesh
            .unwrap_or_default()
            .iter()
            .filter(|port| port.publish_mode != Some(EndpointPortConfigPublishModeEnum::HOST));
        let mut ports: Vec<(u16, u16)> = own_ports(task).iter().chain(mesh).filter_map(published).collect();
        // Docker names a port once for IPv4 and once for IPv6.
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// Tasks of a slot that ended by themselves since the service got its present state, oldest first.
    fn ends_of(&self, slot: Option<i64>) -> Vec<&Task> {
        let since = self.label(SINCE).and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut ended: Vec<&Task> = self
            .tasks
            .iter()
            .filter(|task| {
                task.slot == slot
                    && matches!(state(task), TaskState::FAILED | TaskState::REJECTED | TaskState::COMPLETE)
                    && image(task.spec.as_ref()) == self.image()
                    && millis(task.created_at.as_deref()) >= since
            })
            .collect();
        ended.sort_by_key(|task| millis(task.created_at.as_deref()));
        ended
    }

    /// Docker paused the update (Weir never asks it to roll back; someone may have done so by hand).
    fn update_failure(&self) -> Option<Failure> {
        let what = match self.update_state()? {
            ServiceUpdateStatusStateEnum::PAUSED => "Docker stopped the update",
            ServiceUpdateStatusStateEnum::ROLLBACK_PAUSED | ServiceUpdateStatusStateEnum::ROLLBACK_COMPLETED => {
                "the service was rolled back in Docker, not in Weir"
            }
            _ => return None,
        };
        let slots: Vec<Option<i64>> = self.tasks.iter().map(|task| task.slot).collect();
        let last =
            slots.into_iter().flat_map(|slot| self.ends_of(slot)).max_by_key(|t| millis(t.created_at.as_deref()));
        let message = self.service.update_status.as_ref().and_then(|status| status.message.clone());
        Some(match last {
            Some(task) => Failure { reason: format!("{what}: {}", reason(task)), retryable: is_retryable(task) },
            None => Failure { reason: format!("{what}: {}", message.unwrap_or_default()), retryable: false },
        })
    }

    fn repeated_failure(&self) -> Option<Failure> {
        let mut slots: HashMap<Option<i64>, bool> = HashMap::new();
        for task in self.tasks {
            *slots.entry(task.slot).or_default() |= is_wanted(task) && self.is_steady(task);
        }
        let mut broken: Vec<Option<i64>> =
            slots.iter().filter(|(_, steady)| !**steady).map(|(slot, _)| *slot).collect();
        broken.sort_unstable();
        broken.into_iter().find_map(|slot| {
            let ended = self.ends_of(slot);
            let last = ended.last().filter(|_| ended.len() >= FAILURES)?;
            let number = slot.map_or_else(String::new, |slot| format!(" {slot}"));
            let reason = format!("replica{number} ended {} times: {}", ended.len(), reason(last));
            Some(Failure { reason, retryable: is_retryable(last) })
        })
    }

    /// Docker finds no node for a task: a host port taken, a constraint nothing meets.
    fn without_node(&self) -> Option<Failure> {
        let waiting = self.tasks.iter().filter(|task| is_wanted(task) && state(task) == TaskState::PENDING);
        waiting.filter(|task| self.now - millis(task.created_at.as_deref()) >= PENDING_MS).find_map(|task| {
            let err = task.status.as_ref()?.err.as_deref().filter(|err| !err.is_empty())?;
            let hint = if err.contains("host-mode port") {
                "; give each node at most one replica, or leave the published port to the engine"
            } else {
                ""
            };
            Some(Failure { reason: format!("{err}{hint}"), retryable: false })
        })
    }
}

fn state(task: &Task) -> TaskState {
    task.status.as_ref().and_then(|status| status.state).unwrap_or(TaskState::NEW)
}

fn is_wanted(task: &Task) -> bool {
    task.desired_state.unwrap_or(TaskState::NEW) <= TaskState::RUNNING
}

fn has_ended(task: &Task) -> bool {
    state(task) > TaskState::RUNNING
}

fn image(spec: Option<&TaskSpec>) -> Option<&str> {
    spec?.container_spec.as_ref()?.image.as_deref()
}

fn published(port: &EndpointPortConfig) -> Option<(u16, u16)> {
    Some((u16::try_from(port.target_port?).ok()?, u16::try_from(port.published_port?).ok()?))
}

/// Ports on its node that Docker opened for this task alone.
fn own_ports(task: &Task) -> &[EndpointPortConfig] {
    task.status.as_ref().and_then(|status| status.port_status.as_ref()?.ports.as_deref()).unwrap_or_default()
}

/// Whether one port of the container has several on the node.
pub(super) fn has_ambiguous_ports(task: &Task) -> bool {
    let ports = own_ports(task);
    let same =
        |a: &EndpointPortConfig, b: &EndpointPortConfig| (a.target_port, a.protocol) == (b.target_port, b.protocol);
    ports.iter().any(|a| ports.iter().any(|b| same(a, b) && a.published_port != b.published_port))
}

/// Leaves of the task's own ports only these, if any of them is one.
pub(super) fn keep_ports(task: &mut Task, reachable: &HashSet<u16>) {
    let is_reachable = |port: &EndpointPortConfig| published(port).is_some_and(|(_, port)| reachable.contains(&port));
    if !own_ports(task).iter().any(is_reachable) {
        return;
    }
    let status = task.status.as_mut().and_then(|status| status.port_status.as_mut()?.ports.as_mut());
    if let Some(ports) = status {
        ports.retain(is_reachable);
    }
}

/// The container it runs in.
pub(super) fn container_id(task: &Task) -> Option<String> {
    task.status.as_ref()?.container_status.as_ref()?.container_id.clone().filter(|id| !id.is_empty())
}

fn millis(text: Option<&str>) -> i64 {
    text.and_then(|text| text.parse::<jiff::Timestamp>().ok()).map_or(0, |time| time.as_millisecond())
}

/// Why a task ended, in words.
fn reason(task: &Task) -> String {
    let status = task.status.as_ref();
    let err = status.and_then(|status| status.err.as_deref()).filter(|err| !err.is_empty());
    match (state(task), err) {
        (TaskState::COMPLETE, _) => {
            "its process ended by itself with exit code 0; a server must keep running".to_owned()
        }
        (_, Some(err)) if err.contains("No such image") => format!("the image could not be fetched ({err})"),
        (_, Some(err)) => err.to_owned(),
        (_, None) => status.and_then(|status| status.message.clone()).unwrap_or_else(|| "no reason given".to_owned()),
    }
}

/// The registry may have been away: Docker says "No such image" for that too.
fn is_retryable(task: &Task) -> bool {
    state(task) == TaskState::REJECTED
        && task
            .status
            .as_ref()
            .and_then(|status| status.err.as_deref())
            .is_some_and(|err| err.contains("No such image"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    fn time(before_ms: i64) -> String {
        jiff::Timestamp::from_millisecond(NOW - before_ms).unwrap().to_string()
    }

    fn image_of(letter: char) -> String {
        format!("127.0.0.1:5000/demo/app@sha256:{}", letter.to_string().repeat(64))
    }

    fn task(id: &str, slot: i64, letter: char, (desired, state): (&str, &str), age_ms: i64) -> Value {
        json!({
            "ID": id, "Slot": slot, "NodeID": "n1", "DesiredState": desired, "CreatedAt": time(age_ms),
            "Spec": { "ContainerSpec": { "Image": image_of(letter) } },
            "Status": { "State": state, "Timestamp": time(age_ms), "Err": if state == "rejected" { "No such image: x" } else { "" } },
        })
    }

    fn observe(update: Option<&str>, node: &str, tasks: Vec<Value>) -> Observed {
        let service: Service = serde_json::from_value(json!({
            "Spec": {
                "Labels": { "weir.rollout": "7", "weir.since": (NOW - 60_000).to_string() },
                "TaskTemplate": { "ContainerSpec": { "Image": image_of('b') } },
            },
            "UpdateStatus": update.map(|state| json!({ "State": state, "Message": "update paused due to …" })),
        }))
        .unwrap();
        let tasks: Vec<Task> = tasks.into_iter().map(|task| serde_json::from_value(task).unwrap()).collect();
        let node = json!({ "ID": "n1", "Description": { "Hostname": "left" }, "Status": { "State": node } });
        let nodes = [serde_json::from_value(node).unwrap()];
        Snapshot { service: &service, tasks: &tasks, nodes: &nodes, now: NOW }.observed()
    }

    fn digest(letter: char) -> Digest {
        format!("sha256:{}", letter.to_string().repeat(64)).parse().unwrap()
    }

    #[test]
    fn complete_only_when_every_replica_was_seen_steady_with_the_digest() {
        let running = ("running", "running");
        let seen = observe(
            Some("completed"),
            "ready",
            vec![task("1", 1, 'b', running, 9_000), task("2", 2, 'b', running, 9_000)],
        );
        assert!(seen.settled(&digest('b'), 2));
        assert!(!seen.settled(&digest('b'), 3));
        assert_eq!((seen.rollout, seen.replicas[0].node.as_str()), (Some(7), "left"));

        let fresh = observe(None, "ready", vec![task("1", 1, 'b', running, 100)]);
        assert!(!fresh.settled(&digest('b'), 1), "it may crash at once");
        let updating = observe(Some("updating"), "ready", vec![task("1", 1, 'b', running, 9_000)]);
        assert!(!updating.settled(&digest('b'), 1));
        let old = observe(None, "ready", vec![task("1", 1, 'a', running, 9_000)]);
        assert!(!old.settled(&digest('b'), 1));
    }

    #[test]
    fn the_old_replica_is_shown_until_it_ends() {
        let tasks = vec![
            task("new", 1, 'b', ("running", "running"), 9_000),
            task("old", 1, 'a', ("shutdown", "running"), 50_000),
            task("gone", 1, 'a', ("shutdown", "shutdown"), 90_000),
        ];
        let seen = observe(None, "ready", tasks);
        let states: Vec<_> = seen.replicas.iter().map(|r| (r.id.as_str(), r.state.as_str(), r.ready)).collect();
        assert_eq!(states, [("old", "stopping", false), ("new", "running", true)]);
        assert!(!seen.settled(&digest('b'), 1));
    }

    #[test]
    fn a_paused_update_fails_with_the_tasks_reason() {
        let tasks = vec![
            task("old", 1, 'a', ("running", "running"), 90_000),
            task("bad", 1, 'b', ("shutdown", "rejected"), 3_000),
        ];
        let seen = observe(Some("paused"), "ready", tasks);
        let failed = seen.failed.unwrap();
        assert!(failed.contains("could not be fetched (No such image"), "{failed}");
        assert!(seen.retryable);
    }

    #[test]
    fn three_ends_of_the_present_state_are_a_failure_and_older_ones_are_not() {
        let failed = ("shutdown", "failed");
        let next = || task("next", 1, 'b', ("running", "starting"), 100);
        let mut tasks: Vec<Value> = (1..=3).map(|i| task(&i.to_string(), 1, 'b', failed, i * 1_000)).collect();
        tasks.push(next());
        assert!(observe(None, "ready", tasks).failed.unwrap().starts_with("replica 1 ended 3 times"));
        let mut older: Vec<Value> = (1..=3).map(|i| task(&i.to_string(), 1, 'b', failed, 60_000 + i)).collect();
        older.push(next());
        assert_eq!(observe(None, "ready", older).failed, None);
    }

    #[test]
    fn a_node_that_is_away_confirms_nothing() {
        let tasks =
            vec![task("1", 1, 'b', ("running", "running"), 90_000), task("2", 1, 'b', ("shutdown", "running"), 90_000)];
        let seen = observe(None, "down", tasks);
        assert_eq!(seen.replicas.len(), 1);
        assert_eq!((seen.replicas[0].state.as_str(), seen.replicas[0].ready), ("unknown", false));
    }

    #[test]
    fn of_two_ports_for_one_only_those_that_answer_are_kept() {
        let with_ports = |ports: &[(i64, &str, i64)]| {
            let mut task = task("1", 1, 'b', ("running", "running"), 9_000);
            let port = |(target, protocol, published): &(i64, &str, i64)| json!({ "TargetPort": target, "Protocol": protocol, "PublishedPort": published, "PublishMode": "host" });
            task["Status"]["PortStatus"] = json!({ "Ports": ports.iter().map(port).collect::<Vec<_>>() });
            serde_json::from_value::<Task>(task).unwrap()
        };
        let kept = |task: &Task| own_ports(task).iter().filter_map(published).collect::<Vec<_>>();
        assert!(!has_ambiguous_ports(&with_ports(&[(80, "tcp", 32_768), (80, "tcp", 32_768), (80, "udp", 32_900)])));
        let mut task = with_ports(&[(80, "tcp", 32_768), (80, "tcp", 32_769)]);
        assert!(has_ambiguous_ports(&task));
        keep_ports(&mut task, &HashSet::from([1]));
        assert_eq!(kept(&task), [(80, 32_768), (80, 32_769)], "nothing is known, so nothing goes");
        keep_ports(&mut task, &HashSet::from([32_769]));
        assert_eq!(kept(&task), [(80, 32_769)]);
    }
}
