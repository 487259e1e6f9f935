//! What the messages of registries name, as far as it is of use here: repositories and tags. What does not read so is passed over.

use serde_json::Value;

/// Repositories and tags that one message may name; more are passed over.
const MOST: usize = 100;
/// The longest name of a repository or a tag.
const LONGEST_NAME: usize = 512;

/// Something was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// Without the host: registries know themselves by other names than we do.
    pub repository: String,
    /// None when the message does not tell which.
    pub tag: Option<String>,
}

/// What a message of any of the registries we know tells.
pub fn pushes(message: &Value) -> Vec<Push> {
    let mut found = Vec::new();
    docker_hub(message, &mut found);
    quay(message, &mut found);
    harbor(message, &mut found);
    github(message, &mut found);
    distribution(message, &mut found);
    let is_named = |name: &str| !name.is_empty() && name.len() <= LONGEST_NAME;
    found.retain(|push: &Push| is_named(&push.repository) && push.tag.as_deref().is_none_or(is_named));
    found.truncate(MOST);
    found
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str()
}

fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten().take(MOST)
}

fn push(repository: &str, tag: Option<&str>) -> Push {
    Push { repository: repository.to_owned(), tag: tag.map(str::to_owned) }
}

/// <https://docs.docker.com/docker-hub/repos/manage/webhooks/>
fn docker_hub(message: &Value, found: &mut Vec<Push>) {
    if let (Some(repository), true) = (text(message, "/repository/repo_name"), message.get("push_data").is_some()) {
        found.push(push(repository, text(message, "/push_data/tag")));
    }
}

/// <https://docs.quay.io/guides/notifications.html>
fn quay(message: &Value, found: &mut Vec<Push>) {
    let (Some(repository), Some(_)) = (text(message, "/repository"), message.get("docker_url")) else { return };
    let tags: Vec<_> = list(message, "/updated_tags").filter_map(Value::as_str).collect();
    if tags.is_empty() {
        found.push(push(repository, None));
    }
    found.extend(tags.into_iter().map(|tag| push(repository, Some(tag))));
}

/// <https://goharbor.io/docs/main/working-with-projects/project-configuration/configure-webhooks/>
fn harbor(message: &Value, found: &mut Vec<Push>) {
    let Some(repository) = text(message, "/event_data/repository/repo_full_name") else { return };
    if text(message, "/type").is_none_or(|kind| kind.eq_ignore_ascii_case("push_artifact")) {
        found.extend(list(message, "/event_data/resources").map(|one| push(repository, text(one, "/tag"))));
    }
}

/// <https://docs.github.com/en/webhooks/webhook-events-and-payloads#registry_package>
fn github(message: &Value, found: &mut Vec<Push>) {
    for noun in ["registry_package", "package"] {
        let Some(package) = message.get(noun) else { continue };
        let (Some(owner), Some(name)) =
            (text(package, "/namespace").or(text(package, "/owner/login")), text(package, "/name"))
        else {
            continue;
        };
        let repository = format!("{}/{}", owner.to_lowercase(), name.to_lowercase());
        let tag = text(package, "/package_version/container_metadata/tag/name").filter(|tag| !tag.is_empty());
        found.push(push(&repository, tag));
    }
}

/// <https://distribution.github.io/distribution/about/notifications/>
fn distribution(message: &Value, found: &mut Vec<Push>) {
    let pushed = list(message, "/events").filter(|event| text(event, "/action") == Some("push"));
    for event in pushed {
        // Blobs and the manifests of an index have no tag; the tag that matters comes with a push of its own.
        if let (Some(repository), Some(tag)) = (text(event, "/target/repository"), text(event, "/target/tag")) {
            found.push(push(repository, Some(tag)));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_of_each_registry_name_what_was_pushed() {
        let hub = json!({"callback_url": "https://registry.hub.docker.com/u/org/app/hook/1/", "push_data": {"pusher": "ada", "tag": "latest"},
            "repository": {"name": "app", "namespace": "org", "repo_name": "org/app"}});
        assert_eq!(pushes(&hub), [push("org/app", Some("latest"))]);
        let quay = json!({"name": "app", "repository": "org/app", "namespace": "org", "docker_url": "quay.io/org/app",
            "homepage": "https://quay.io/repository/org/app", "updated_tags": ["1", "latest"]});
        assert_eq!(pushes(&quay), [push("org/app", Some("1")), push("org/app", Some("latest"))]);
        let harbor = json!({"type": "PUSH_ARTIFACT", "occur_at": 1, "operator": "ada", "event_data": {
            "resources": [{"digest": "sha256:0", "tag": "1", "resource_url": "harbor.example.com/team/app:1"}],
            "repository": {"name": "app", "namespace": "team", "repo_full_name": "team/app", "repo_type": "private"}}});
        assert_eq!(pushes(&harbor), [push("team/app", Some("1"))]);
        let deleted = json!({"type": "DELETE_ARTIFACT", "event_data": {"resources": [{"tag": "1"}],
            "repository": {"repo_full_name": "team/app"}}});
        assert_eq!(pushes(&deleted), []);
        let version = json!({"container_metadata": {"tag": {"name": "v1", "digest": "sha256:0"}}});
        for noun in ["registry_package", "package"] {
            let github = json!({"action": "published", noun: {"name": "App", "namespace": "Org", "package_type": "CONTAINER",
                "package_version": version}});
            assert_eq!(pushes(&github), [push("org/app", Some("v1"))]);
        }
        let distribution = json!({"events": [
            {"action": "push", "target": {"mediaType": "application/octet-stream", "repository": "org/app", "digest": "sha256:0"}},
            {"action": "pull", "target": {"repository": "org/app", "tag": "0"}},
            {"action": "push", "target": {"repository": "org/app", "tag": "1"}, "request": {"host": "registry:5000"}}]});
        assert_eq!(pushes(&distribution), [push("org/app", Some("1"))]);
    }

    #[test]
    fn anything_else_names_nothing() {
        for other in
            [json!(null), json!([]), json!({"events": 1}), json!({"repository": {"repo_name": 1}, "push_data": {}})]
        {
            assert_eq!(pushes(&other), [], "{other}");
        }
        let many: Vec<_> =
            (0..1000).map(|n| json!({"action": "push", "target": {"repository": "a", "tag": n.to_string()}})).collect();
        assert_eq!(pushes(&json!({"events": many})).len(), MOST);
        let long = json!({"events": [{"action": "push", "target": {"repository": "a".repeat(1000), "tag": "1"}}]});
        assert_eq!(pushes(&long), []);
    }
}
