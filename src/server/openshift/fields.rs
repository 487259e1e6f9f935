//! Reading JSON field by field, each with its path: whatever nobody read is an unknown field, and a near miss of one that somebody did
//! read is named as what was probably meant.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use secrecy::SecretString;
use serde_json::Value;

use super::status::{Cause, Status};

/// What was asked of a document while it was read.
#[derive(Debug, Default)]
struct Asked {
    /// Path of an object → the keys somebody read of it.
    keys: RefCell<BTreeMap<String, BTreeSet<&'static str>>>,
    /// Paths below which everything counts as read.
    whole: RefCell<BTreeSet<String>>,
    /// Fields that are known and have no effect here, to tell the caller.
    without_effect: RefCell<Vec<String>>,
}

/// A field of a document, present or not.
#[derive(Debug, Clone)]
pub struct Field<'a> {
    path: String,
    value: Option<&'a Value>,
    asked: &'a Asked,
}

/// What reading found besides the value.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Remarks {
    /// Fields nobody knows.
    pub unknown: Vec<Unknown>,
    /// Fields that are known, and have no effect here.
    pub without_effect: Vec<String>,
}

/// A field nobody knows, and the one it may be a slip of.
#[derive(Debug, PartialEq, Eq)]
pub struct Unknown {
    pub path: String,
    pub meant: Option<String>,
}

impl Unknown {
    /// The unknown field as a cause of an `Invalid`.
    pub fn cause(&self) -> Cause {
        let hint = self.meant.as_ref().map(|meant| format!(", did you mean \"{meant}\"?")).unwrap_or_default();
        Cause { reason: "FieldValueNotSupported", field: self.path.clone(), message: format!("unknown field{hint}") }
    }
}

/// Reads a document with `read` and reports what it left unread.
pub fn read<T>(root: &Value, read: impl FnOnce(Field<'_>) -> Result<T, Status>) -> Result<(T, Remarks), Status> {
    let asked = Asked::default();
    let found = read(Field { path: String::new(), value: Some(root), asked: &asked })?;
    let mut unknown = Vec::new();
    asked.unread(root, "", &mut unknown)?;
    Ok((found, Remarks { unknown, without_effect: asked.without_effect.into_inner() }))
}

impl Asked {
    /// Finds fields that nobody read. Whatever had fields read of it must be an object: else it would count as an empty one.
    fn unread(&self, value: &Value, path: &str, unknown: &mut Vec<Unknown>) -> Result<(), Status> {
        if self.whole.borrow().contains(path) {
            return Ok(());
        }
        match value {
            Value::Object(object) => {
                let keys = self.keys.borrow();
                let known = keys.get(path);
                for (key, value) in object {
                    let path = join(path, key);
                    if known.is_some_and(|known| known.contains(key.as_str())) {
                        self.unread(value, &path, unknown)?;
                    } else {
                        unknown.push(Unknown { path, meant: known.and_then(|known| nearest(key, known)) });
                    }
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.unread(item, &format!("{path}[{index}]"), unknown)?;
                }
            }
            _ => {}
        }
        if !value.is_object() && !value.is_null() && self.keys.borrow().contains_key(path) {
            return Err(Field { path: path.to_owned(), value: Some(value), asked: self }.wrong("an object"));
        }
        Ok(())
    }
}

impl<'a> Field<'a> {
    /// A field of this object.
    pub fn get(&self, key: &'static str) -> Self {
        self.asked.keys.borrow_mut().entry(self.path.clone()).or_default().insert(key);
        let value = self.value.and_then(|value| value.get(key)).filter(|value| !value.is_null());
        Self { path: join(&self.path, key), value, asked: self.asked }
    }

    /// It is there and not null.
    pub fn is_present(&self) -> bool {
        self.value.is_some()
    }

    /// Its path, for messages.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Counts everything below as read: what only describes, and what is the server's own.
    pub fn pass_over(&self) {
        self.asked.whole.borrow_mut().insert(self.path.clone());
    }

    /// Passes over these fields of the object.
    pub fn pass_over_all(&self, keys: &[&'static str]) {
        for key in keys {
            self.get(key).pass_over();
        }
    }

    /// Known fields of Kubernetes that Weir does not act on: the caller is told so when they are written.
    pub fn without_effect(&self, keys: &[&'static str]) {
        for key in keys {
            let field = self.get(key);
            field.pass_over();
            let says_something = match field.value {
                None => false,
                Some(Value::Array(items)) => !items.is_empty(),
                Some(Value::Object(object)) => !object.is_empty(),
                Some(_) => true,
            };
            if says_something {
                self.asked.without_effect.borrow_mut().push(field.path);
            }
        }
    }

    /// The text, if it is there.
    pub fn text(&self) -> Result<Option<String>, Status> {
        match self.value {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.wrong("text")),
        }
    }

    /// The text; empty counts as absent.
    pub fn filled(&self) -> Result<Option<String>, Status> {
        Ok(self.text()?.filter(|text| !text.is_empty()))
    }

    /// The text, which must be there.
    pub fn required(&self) -> Result<String, Status> {
        self.filled()?.ok_or_else(|| Status::invalid(vec![Cause::required(&self.path, "")]))
    }

    /// A secret text, which must be there. No message ever quotes it.
    pub fn secret(&self) -> Result<SecretString, Status> {
        match self.value {
            Some(Value::String(text)) if !text.is_empty() => Ok(text.as_str().into()),
            _ => Err(self.missing("must be text")),
        }
    }

    /// The text, or the empty one.
    pub fn text_or_empty(&self) -> Result<String, Status> {
        Ok(self.text()?.unwrap_or_default())
    }

    /// True or false; absent is false. The texts "true" and "false" are taken for what they say, since that is how annotations and
    /// templates often carry them.
    pub fn flag(&self) -> Result<bool, Status> {
        Ok(self.flag_or_none()?.unwrap_or(false))
    }

    /// True or false, if it is there.
    pub fn flag_or_none(&self) -> Result<Option<bool>, Status> {
        match self.value {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::String(text)) if text == "true" || text == "false" => Ok(Some(text == "true")),
            Some(_) => Err(self.wrong("true or false")),
        }
    }

    /// A whole number of the type's range, if it is there.
    pub fn number<N: TryFrom<i64>>(&self) -> Result<Option<N>, Status> {
        let Some(value) = self.value else { return Ok(None) };
        let number = value.as_i64().and_then(|number| N::try_from(number).ok());
        number.map(Some).ok_or_else(|| self.wrong("a whole number in range"))
    }

    /// The items of a list; absent is empty.
    pub fn items(&self) -> Result<Vec<Field<'a>>, Status> {
        match self.value {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => Ok(items
                .iter()
                .enumerate()
                .map(|(index, item)| Field {
                    path: format!("{}[{index}]", self.path),
                    value: Some(item).filter(|item| !item.is_null()),
                    asked: self.asked,
                })
                .collect()),
            Some(_) => Err(self.wrong("a list")),
        }
    }

    /// A list of texts; absent is empty.
    pub fn texts(&self) -> Result<Vec<String>, Status> {
        self.items()?.iter().map(Field::text_or_empty).collect()
    }

    /// Text by text, as labels and annotations are; absent is empty.
    pub fn map(&self) -> Result<BTreeMap<String, String>, Status> {
        self.pass_over();
        let object = match self.value {
            None => return Ok(BTreeMap::new()),
            Some(Value::Object(object)) => object,
            Some(_) => return Err(self.wrong("an object of texts")),
        };
        object
            .iter()
            .map(|(key, value)| match value {
                Value::String(text) => Ok((key.clone(), text.clone())),
                _ => {
                    let field = format!("{}[{key}]", self.path);
                    Err(Status::invalid(vec![Cause::invalid_value(field, &value.to_string(), "must be text")]))
                }
            })
            .collect()
    }

    /// The value as it is, all of it counted as read.
    pub fn raw(&self) -> Option<&'a Value> {
        self.pass_over();
        self.value
    }

    /// The error that this field cannot be what it is.
    pub fn invalid(&self, message: impl std::fmt::Display) -> Status {
        let shown = match self.value {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        };
        Status::invalid(vec![Cause::invalid_value(&self.path, &shown, message)])
    }

    /// The error that this field is missing.
    pub fn missing(&self, message: &str) -> Status {
        Status::invalid(vec![Cause::required(&self.path, message)])
    }

    fn wrong(&self, expected: &str) -> Status {
        self.invalid(format!("must be {expected}"))
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The known key that differs least, when it differs little enough to be a slip: other case, or one or two letters.
fn nearest(key: &str, known: &BTreeSet<&'static str>) -> Option<String> {
    let lower = key.to_lowercase();
    known
        .iter()
        .map(|candidate| (distance(&lower, &candidate.to_lowercase()), *candidate))
        .filter(|(distance, candidate)| *distance <= 2 && *distance * 2 < candidate.len())
        .min()
        .map(|(_, candidate)| candidate.to_owned())
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_unread_field_is_unknown_and_a_near_miss_is_named() {
        let body = json!({"spec": {"triggers": [{"pause": true, "type": "x"}], "volumes": [1]}, "extra": 1});
        let (paused, remarks) = read(&body, |root| {
            let spec = root.get("spec");
            spec.without_effect(&["volumes", "absent"]);
            let trigger = &spec.get("triggers").items()?[0];
            trigger.get("type").text()?;
            trigger.get("paused").flag()
        })
        .unwrap();
        assert!(!paused);
        assert_eq!(remarks.without_effect, ["spec.volumes"]);
        let unknown: Vec<_> =
            remarks.unknown.iter().map(|unknown| (unknown.path.as_str(), unknown.meant.as_deref())).collect();
        assert_eq!(unknown, [("extra", None), ("spec.triggers[0].pause", Some("paused"))]);
    }

    #[test]
    fn what_has_fields_is_an_object() {
        for (document, path) in
            [(json!({"spec": "x"}), "spec"), (json!({"spec": {"tags": [1]}}), "spec.tags[0]"), (json!([]), "")]
        {
            let read = read(&document, |root| {
                let spec = root.get("spec");
                let tags = spec.get("tags").items()?;
                tags.iter().map(|tag| tag.get("name").text()).collect::<Result<Vec<_>, _>>()
            });
            assert!(read.is_err_and(|error| format!("{error:?}").contains(path)), "{document}");
        }
        assert!(read(&json!({"spec": null}), |root| root.get("spec").get("a").text()).is_ok());
    }

    #[test]
    fn wrong_types_name_their_path() {
        let body = json!({"spec": {"replicas": "two"}});
        let error = read(&body, |root| root.get("spec").get("replicas").number::<u32>()).unwrap_err();
        assert_eq!(error.to_json()["details"]["causes"][0]["field"], "spec.replicas");
        assert!(error.to_json()["message"].as_str().unwrap().contains("must be a whole number"));
    }

    #[test]
    fn flags_are_also_read_from_texts() {
        let body = json!({"a": "false", "b": true, "c": "no"});
        let (flags, _) = read(&body, |root| Ok((root.get("a").flag()?, root.get("b").flag()?))).unwrap();
        assert_eq!(flags, (false, true));
        assert!(read(&body, |root| root.get("c").flag()).is_err());
    }
}
