//! What all objects share: their metadata, as it is shown and as it is given.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::body::{Body, Warnings};
use super::fields::Field;
use super::kind::Kind;
use super::status::{Cause, Status};
use crate::model::rfc3339;

/// Kubernetes' `ObjectMeta`, as Weir shows it.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectMeta {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub creation_timestamp: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub owner_references: Vec<OwnerReference>,
}

/// What made an object and takes it along when it goes.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerReference {
    pub api_version: String,
    pub kind: &'static str,
    pub name: String,
    pub uid: String,
    pub controller: bool,
}

impl ObjectMeta {
    /// Name, project, id, version and age: what everything has.
    pub fn new(name: &str, project: &str, uid: &str, version: i64, created_at: i64) -> Self {
        Self {
            name: name.to_owned(),
            namespace: Some(project.to_owned()).filter(|project| !project.is_empty()),
            uid: uid.to_owned(),
            resource_version: version.to_string(),
            creation_timestamp: rfc3339(created_at),
            ..Self::default()
        }
    }

    /// With labels and annotations from the store's JSON.
    #[must_use]
    pub fn described(mut self, labels: &str, annotations: &str) -> Self {
        self.labels = texts(labels);
        self.annotations = texts(annotations);
        self
    }
}

/// A JSON object of texts; anything else in it is left out.
pub fn texts(json: &str) -> BTreeMap<String, String> {
    let map: BTreeMap<String, Value> = serde_json::from_str(json).unwrap_or_default();
    map.into_iter()
        .filter_map(|(key, value)| match value {
            Value::String(text) => Some((key, text)),
            _ => None,
        })
        .collect()
}

/// The metadata of a body.
#[derive(Debug, Clone, Default)]
pub struct GivenMeta {
    pub name: String,
    /// The object that is meant, where there may have been others of its name.
    pub uid: Option<String>,
    pub version: Option<i64>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

impl GivenMeta {
    /// Labels as the store keeps them.
    pub fn labels_json(&self) -> Result<String, Status> {
        Ok(serde_json::to_string(&self.labels)?)
    }

    /// Annotations as the store keeps them.
    pub fn annotations_json(&self) -> Result<String, Status> {
        Ok(serde_json::to_string(&self.annotations)?)
    }

    /// The version an update is meant for, on kinds that take none without.
    pub fn required_version(&self) -> Result<i64, Status> {
        self.version.ok_or_else(|| {
            let cause = Cause::invalid_value("metadata.resourceVersion", "0x0", "must be specified for an update");
            Status::invalid(vec![cause])
        })
    }

    /// An update names the object of its URL, or none.
    pub fn check_name(&self, name: &str) -> Result<(), Status> {
        if self.name.is_empty() || self.name == name {
            return Ok(());
        }
        Err(Status::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({name})",
            self.name
        )))
    }
}

/// Reads an object of a kind: its `kind`, `apiVersion` and `metadata` here, the rest of it by `read`. Errors name the object.
pub fn read_object<T>(
    body: &Body,
    kind: &'static Kind,
    project: &str,
    url_name: &str,
    read: impl FnOnce(&Field<'_>, GivenMeta) -> Result<T, Status>,
) -> Result<(T, Warnings), Status> {
    let mut name = url_name.to_owned();
    let given = body.read(|root| {
        let meta = read_head(&root, kind, project)?;
        if name.is_empty() {
            name.clone_from(&meta.name);
        }
        // What became of it is the server's to say.
        root.pass_over_all(&["status"]);
        read(&root, meta)
    });
    given.map_err(|status| status.about(kind, &name))
}

/// Reads `kind`, `apiVersion` and `metadata` of an object.
pub fn read_head(root: &Field<'_>, kind: &Kind, project: &str) -> Result<GivenMeta, Status> {
    for (key, expected) in [("kind", kind.kind.to_owned()), ("apiVersion", kind.api_version())] {
        let field = root.get(key);
        if field.filled()?.is_some_and(|given| given != expected) {
            return Err(Status::bad_request(format!(
                "the {key} of the object is not the one of the URL, which is {expected}"
            )));
        }
    }
    read_meta(&root.get("metadata"), project)
}

fn read_meta(meta: &Field<'_>, project: &str) -> Result<GivenMeta, Status> {
    meta.pass_over_all(&[
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "generation",
        "managedFields",
        "ownerReferences",
        "selfLink",
    ]);
    let namespace = meta.get("namespace").text_or_empty()?;
    if !namespace.is_empty() && namespace != project {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let version = meta.get("resourceVersion");
    let number = match version.filled()? {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| version.invalid("must be a number this server gave"))?),
    };
    Ok(GivenMeta {
        name: meta.get("name").text_or_empty()?,
        uid: meta.get("uid").filled()?,
        version: number,
        labels: meta.get("labels").map()?,
        annotations: meta.get("annotations").map()?,
    })
}
