//! Kubernetes' strategic merge patch: a merge patch in which some lists are merged by a key of their entries, and in which `$patch` and its
//! like say what a merge cannot.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

/// By which key the entries of a list are told apart; all other lists are replaced as a whole. OpenShift's own types have few of them.
fn merge_key(plural: &str, list: &str) -> Option<&'static str> {
    match (plural, list) {
        ("imagestreams", "tags") => Some("name"),
        ("buildconfigs" | "builds", "volumes") => Some("name"),
        ("buildconfigs" | "builds", "mounts") => Some("destinationPath"),
        ("deployments", "containers" | "initContainers" | "env" | "volumes" | "imagePullSecrets") => Some("name"),
        ("deployments", "ports") => Some("containerPort"),
        ("deployments", "volumeMounts") => Some("mountPath"),
        _ => None,
    }
}

/// Merges a patch into an object of that noun.
pub fn merge(object: &mut Value, patch: &Value, plural: &str) -> Result<(), String> {
    let Some(patch) = patch.as_object() else {
        *object = patch.clone();
        return Ok(());
    };
    match patch.get("$patch").map(|word| word.as_str().unwrap_or_default()) {
        None | Some("merge") => {}
        Some("replace") => *object = json!({}),
        Some("delete") => {
            *object = Value::Null;
            return Ok(());
        }
        Some(other) => return Err(format!("\"$patch\" is replace, merge or delete, not {other:?}")),
    }
    if !object.is_object() {
        *object = json!({});
    }
    let Some(fields) = object.as_object_mut() else { return Ok(()) };
    if let Some(Value::Array(kept)) = patch.get("$retainKeys") {
        fields.retain(|name, _| kept.iter().any(|one| one == name));
    }
    for (name, value) in patch {
        merge_field(fields, name, value, plural)?;
    }
    Ok(())
}

fn merge_field(fields: &mut Map<String, Value>, name: &str, value: &Value, plural: &str) -> Result<(), String> {
    if let Some(list) = name.strip_prefix("$deleteFromPrimitiveList/") {
        if let (Some(Value::Array(found)), Some(gone)) = (fields.get_mut(list), value.as_array()) {
            let gone: HashSet<String> = gone.iter().map(Value::to_string).collect();
            found.retain(|one| !gone.contains(&one.to_string()));
        }
        return Ok(());
    }
    // The order of what is merged by key means nothing here.
    if name.starts_with('$') {
        return Ok(());
    }
    match (value, merge_key(plural, name)) {
        (Value::Null, _) => {
            fields.remove(name);
        }
        (Value::Object(_), _) => {
            let field = fields.entry(name).or_insert(Value::Null);
            merge(field, value, plural)?;
        }
        (Value::Array(entries), Some(key)) => {
            let field = fields.entry(name).or_insert(Value::Null);
            merge_list(field, entries, (name, key), plural)?;
        }
        _ => {
            fields.insert(name.to_owned(), value.clone());
        }
    }
    Ok(())
}

fn merge_list(list: &mut Value, entries: &[Value], (name, key): (&str, &str), plural: &str) -> Result<(), String> {
    let replaces = |entry: &Value| entry["$patch"] == "replace" && entry.get(key).is_none();
    if !list.is_array() || entries.iter().any(replaces) {
        *list = json!([]);
    }
    let Some(found) = list.as_array_mut() else { return Ok(()) };
    // Lists may be long: an entry is found by its key, and those that go do so together.
    let named = |(at, one): (usize, &Value)| Some((one.get(key)?.to_string(), at));
    let mut places: HashMap<String, usize> = found.iter().enumerate().rev().filter_map(named).collect();
    let mut gone = HashSet::new();
    for entry in entries.iter().filter(|entry| !replaces(entry)) {
        let Some(wanted) = entry.get(key) else { return Err(format!("an entry of {name} has no {key}")) };
        if entry["$patch"] == "delete" {
            gone.extend(places.remove(&wanted.to_string()));
            continue;
        }
        let at = *places.entry(wanted.to_string()).or_insert_with(|| {
            found.push(json!({}));
            found.len() - 1
        });
        merge(&mut found[at], entry, plural)?;
    }
    let mut at = 0..;
    found.retain(|_| at.next().is_none_or(|at| !gone.contains(&at)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(plural: &str, object: Value, patch: Value) -> Result<Value, String> {
        let mut object = object;
        merge(&mut object, &patch, plural).map(|()| object)
    }

    #[test]
    fn lists_with_a_key_are_merged_and_others_replaced() {
        let stream = json!({"spec": {"tags": [{"name": "a", "x": 1, "y": 2}, {"name": "b"}], "other": [1, 2]}});
        let patch = json!({"spec": {
            "$setElementOrder/tags": [{"name": "a"}, {"name": "c"}],
            "tags": [{"name": "c", "z": null}, {"name": "a", "x": 3, "y": null}, {"name": "b", "$patch": "delete"}],
            "other": [3],
        }});
        let expected = json!({"spec": {"tags": [{"name": "a", "x": 3}, {"name": "c"}], "other": [3]}});
        assert_eq!(merged("imagestreams", stream.clone(), patch), Ok(expected));
        let atomic = json!({"spec": {"tags": [{"x": 1}]}});
        assert_eq!(merged("buildconfigs", stream.clone(), atomic.clone()).unwrap()["spec"]["tags"], json!([{"x": 1}]));
        assert!(merged("imagestreams", stream, atomic).is_err_and(|why| why == "an entry of tags has no name"));
    }

    #[test]
    fn directives_replace_delete_and_keep() {
        let object = json!({"spec": {"a": 1, "b": 2}, "tags": [{"name": "x"}], "finalizers": ["p", "q"]});
        for (patch, expected) in [
            (json!({"spec": {"$patch": "replace", "c": 3}}), json!({"c": 3})),
            (json!({"spec": {"$patch": "delete"}}), Value::Null),
            (json!({"spec": {"$retainKeys": ["b", "c"], "c": 3}}), json!({"b": 2, "c": 3})),
        ] {
            assert_eq!(merged("imagestreams", object.clone(), patch).unwrap()["spec"], expected);
        }
        let all = json!({"tags": [{"$patch": "replace"}, {"name": "y"}], "$deleteFromPrimitiveList/finalizers": ["p"]});
        let changed = merged("imagestreams", object.clone(), all).unwrap();
        assert_eq!((&changed["tags"], &changed["finalizers"]), (&json!([{"name": "y"}]), &json!(["q"])));
        assert!(merged("imagestreams", object, json!({"spec": {"$patch": "burn"}})).is_err());
    }
}
