//! JSON patches (RFC 6902), step by step: a few bytes of them could otherwise make an object of any size and depth.

use json_patch::{PatchOperation, patch_unsafe};
use serde_json::Value;

use super::super::body::LIMIT;
use super::super::status::Status;
use super::refused;

/// The most steps of one patch.
const MOST_STEPS: usize = 1000;
/// How deep a value may lie in the object, with all that is in it.
const DEEPEST: usize = 100;

/// Changes an object by a patch. Of an object for which that fails nothing can be said.
pub fn take(object: &mut Value, patch: &Value) -> Result<(), Status> {
    let steps: json_patch::Patch = serde_json::from_value(patch.clone())
        .map_err(|error| Status::bad_request(format!("the patch is no JSON patch: {error}")))?;
    if steps.0.len() > MOST_STEPS {
        return Err(refused(&format!("it has {} steps, and {MOST_STEPS} are the most", steps.0.len())));
    }
    let mut handled = 0;
    for step in &steps.0 {
        let path = step.path();
        let moved = match step {
            PatchOperation::Copy(copy) => object.pointer(copy.from.as_str()),
            PatchOperation::Move(moving) => object.pointer(moving.from.as_str()),
            PatchOperation::Add(add) => Some(&add.value),
            PatchOperation::Replace(replace) => Some(&replace.value),
            PatchOperation::Remove(_) | PatchOperation::Test(_) => None,
        };
        // What is not there is the crate's to tell of.
        let (bytes, depth) = moved.map_or((0, 0), measure);
        handled += bytes;
        if handled > LIMIT {
            return Err(Status::too_large(LIMIT));
        }
        if path.count() + depth > DEEPEST {
            return Err(refused(&format!("it would lie more than {DEEPEST} levels deep: {path}")));
        }
        patch_unsafe(object, std::slice::from_ref(step)).map_err(|error| refused(&error.to_string()))?;
    }
    Ok(())
}

/// About how many bytes a value takes, and how many levels it has.
fn measure(value: &Value) -> (usize, usize) {
    let below = |found: (usize, usize), value: &Value| {
        let (bytes, depth) = measure(value);
        (found.0 + bytes, found.1.max(depth + 1))
    };
    match value {
        Value::Array(values) => values.iter().fold((2 + values.len(), 1), below),
        Value::Object(fields) => {
            fields.iter().fold((2, 1), |found, (name, value)| below((found.0 + name.len() + 4, found.1), value))
        }
        Value::String(text) => (text.len() + 2, 1),
        _ => (8, 1),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::response::IntoResponse as _;
    use serde_json::json;

    use super::*;

    /// The status of what these steps make of an object, 200 for all that is right.
    fn status(steps: Vec<Value>) -> StatusCode {
        let mut object = json!({"kind": "ImageStream", "metadata": {"name": "x"}, "spec": {"tags": []}});
        match take(&mut object, &Value::Array(steps)) {
            Ok(()) => StatusCode::OK,
            Err(refusal) => refusal.into_response().status(),
        }
    }

    #[test]
    fn copies_do_not_grow_without_end() {
        let mut steps = vec![json!({"op": "add", "path": "/x", "value": ["a".repeat(100)]})];
        steps.extend((0..10).map(|_| json!({"op": "copy", "from": "/x", "path": "/x/-"})));
        assert_eq!(status(steps.clone()), StatusCode::OK);
        steps.extend((0..30).map(|_| json!({"op": "copy", "from": "/x", "path": "/x/-"})));
        assert_eq!(status(steps), StatusCode::PAYLOAD_TOO_LARGE);
        let named = |n| json!({"op": "copy", "from": "", "path": format!("/{n}")});
        assert_eq!(status((0..40).map(named).collect()), StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[test]
    fn nothing_comes_to_lie_deeper_than_can_be_read_again() {
        let mut steps = vec![json!({"op": "replace", "path": "", "value": {}})];
        steps.extend((0..500).map(|_| json!({"op": "copy", "from": "", "path": "/a"})));
        assert_eq!(status(steps), StatusCode::UNPROCESSABLE_ENTITY);
        let mut steps = vec![json!({"op": "add", "path": "/x", "value": {}})];
        for _ in 0..300 {
            steps.push(json!({"op": "add", "path": "/y", "value": {}}));
            steps.push(json!({"op": "move", "from": "/x", "path": "/y/x"}));
            steps.push(json!({"op": "move", "from": "/y", "path": "/x"}));
        }
        assert_eq!(status(steps), StatusCode::UNPROCESSABLE_ENTITY);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_never_undone() {
        let into_itself =
            [json!({"op": "move", "from": "/kind", "path": ""}), json!({"op": "test", "path": "", "value": 1})];
        assert_eq!(status(into_itself.to_vec()), StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(status(vec![json!({"op": "remove", "path": "/none"})]), StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(
            status(vec![json!({"op": "test", "path": "/kind", "value": "ImageStream"}); 1001]),
            StatusCode::UNPROCESSABLE_ENTITY
        );
        assert_eq!(status(vec![json!({"op": "burn", "path": "/kind"})]), StatusCode::BAD_REQUEST);
    }
}
