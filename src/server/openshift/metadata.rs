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
    /// What a name is made from where none is given.
    pub generate_name: Option<String>,
    /// The name was made here.
    pub is_generated: bool,
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

    /// Makes the name that a new object is to have, where it only says how that begins. A name that is given stands.
    #[must_use]
    pub fn with_name(mut self) -> Self {
        if self.name.is_empty()
            && let Some(prefix) = &self.generate_name
        {
            self.name = generated_name(prefix);
            self.is_generated = true;
        }
        self
    }

    /// The field that the name comes from.
    pub fn name_field(&self) -> &'static str {
        if self.is_generated { "metadata.generateName" } else { "metadata.name" }
    }

    /// An error about making the object: where a name made here is taken already, trying again helps.
    pub fn not_made(&self, status: Status) -> Status {
        if self.is_generated { status.of_generated_name() } else { status }
    }

    /// The version an update is meant for, on kinds that take none without.
    pub fn required_version(&self) -> Result<i64, Status> {
        self.version.ok_or_else(|| {
            // As Kubernetes shows the number of no version.
            let message = "Invalid value: 0x0: must be specified for an update".to_owned();
            let field = "metadata.resourceVersion".to_owned();
            Status::invalid(vec![Cause { reason: "FieldValueInvalid", field, message }])
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

/// As long as Kubernetes makes them.
const GENERATED_LENGTH: usize = 63;
/// Random characters at the end.
const RANDOM_LENGTH: usize = 5;
/// Kubernetes' alphabet: no vowels, which make words, and nothing that looks like something else.
const ALPHABET: [char; 27] = [
    'b', 'c', 'd', 'f', 'g', 'h', 'j', 'k', 'l', 'm', 'n', 'p', 'q', 'r', 's', 't', 'v', 'w', 'x', 'z', '2', '4', '5',
    '6', '7', '8', '9',
];

/// The prefix, cut so that all fits, and random characters.
fn generated_name(prefix: &str) -> String {
    let random = (0..RANDOM_LENGTH).map(|_| ALPHABET[rand::random_range(0..ALPHABET.len())]);
    prefix.chars().take(GENERATED_LENGTH - RANDOM_LENGTH).chain(random).collect()
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
        let meta = if url_name.is_empty() { meta.with_name() } else { meta };
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
        generate_name: meta.get("generateName").filled()?,
        is_generated: false,
        uid: meta.get("uid").filled()?,
        version: number,
        labels: meta.get("labels").map()?,
        annotations: meta.get("annotations").map()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::openshift::kind::IMAGE_STREAMS;

    #[test]
    fn a_name_is_made_from_its_beginning() {
        let given = |name: &str, prefix: Option<&str>| {
            let meta =
                GivenMeta { name: name.to_owned(), generate_name: prefix.map(str::to_owned), ..GivenMeta::default() };
            meta.with_name()
        };
        let made = given("", Some("app-"));
        let random = made.name.strip_prefix("app-").expect("it begins so");
        assert!(random.len() == 5 && random.chars().all(|c| ALPHABET.contains(&c)), "{random}");
        assert_eq!((made.is_generated, made.name_field()), (true, "metadata.generateName"));
        let all: std::collections::BTreeSet<String> = (0..1000).map(|_| given("", Some("app-")).name).collect();
        assert!(all.len() > 990, "{} of 1,000 differ", all.len());
        let long = given("", Some(&"x".repeat(100))).name;
        assert_eq!((long.len(), long.matches('x').count() >= 58), (63, true), "{long}");
        let named = given("app", Some("other-"));
        assert_eq!((named.name.as_str(), named.is_generated), ("app", false), "the name wins");
        assert_eq!((given("", None).name.as_str(), given("", None).name_field()), ("", "metadata.name"));
    }

    #[test]
    fn a_made_name_that_is_taken_may_be_tried_again() {
        let taken = || Status::already_exists(&IMAGE_STREAMS, "app-bcdfg");
        let made = GivenMeta { generate_name: Some("app-".to_owned()), ..GivenMeta::default() }.with_name();
        let told = made.not_made(taken()).to_json();
        let words = "imagestreams.image.openshift.io \"app-bcdfg\" already exists, the server was not able to generate a unique name for \
                     the object";
        assert_eq!(
            (&told["message"], &told["reason"], &told["code"]),
            (&words.into(), &"AlreadyExists".into(), &409.into())
        );
        assert_eq!(told["details"]["retryAfterSeconds"], 1);
        let given = GivenMeta { name: "app-bcdfg".to_owned(), ..GivenMeta::default() }.with_name();
        assert_eq!(given.not_made(taken()), taken());
        let other = Status::conflict("the project is full");
        assert_eq!(made.not_made(other.clone()), other);
    }
}
