//! What a tag should be: OpenShift's `TagReference`, read and shown.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Door;
use super::caller::Caller;
use super::fields::Field;
use super::kind::Kind;
use super::metadata::texts;
use super::status::{Cause, Status};
use crate::model::{ImageReference, SourceKind, SourceName, Tag};
use crate::server::store::{TagSpec, WantedTag};

/// How often a scheduled tag is checked, for instance `15m`; on the tag.
const INTERVAL: &str = "weir.dev/import-interval";
/// How old what is new in another registry must be before the tag takes it over, for instance `24h`; on the tag.
const COOL_DOWN: &str = "weir.dev/import-cool-down";
/// The longest cool-down.
const A_YEAR: i64 = 365 * 24 * 3_600_000;

/// The tag's spec as it goes over the wire.
pub fn show(tag: &Tag) -> Value {
    let annotations = annotations(tag);
    let mut policy = json!({"importMode": tag.import_mode});
    for (key, flag) in [("insecure", tag.insecure), ("scheduled", tag.scheduled)] {
        if flag != 0 {
            policy[key] = true.into();
        }
    }
    let mut spec = json!({
        "name": tag.name,
        "annotations": if annotations.is_empty() { Value::Null } else { json!(annotations) },
        "generation": tag.generation,
        "importPolicy": policy,
        "referencePolicy": {"type": tag.reference_policy},
    });
    if let (Some(kind), Some(name)) = (&tag.source_kind, &tag.source) {
        spec["from"] = json!({"kind": kind, "name": name});
        if let Some(project) = &tag.source_project {
            spec["from"]["namespace"] = project.as_str().into();
        }
    }
    if tag.reference_only != 0 {
        spec["reference"] = true.into();
    }
    spec
}

/// The tag's annotations, those that set something as the tag has it: it may have been set elsewhere since.
pub fn annotations(tag: &Tag) -> BTreeMap<String, String> {
    let mut annotations = texts(&tag.annotations);
    for (key, set) in [(INTERVAL, tag.interval_ms), (COOL_DOWN, tag.cool_down_ms)] {
        let says = annotations.get(key).and_then(|text| milliseconds(text));
        match set {
            None => _ = annotations.remove(key),
            Some(ms) if says != Some(ms) => _ = annotations.insert(key.to_owned(), in_units(ms)),
            Some(_) => {}
        }
    }
    annotations
}

/// Takes annotations that say what the tag's own were shown as for those: what sets something may not stand in them, or in other words.
pub fn echo(spec: &mut TagSpec, tag: &Tag) {
    if tag.has_spec != 0 && texts(&spec.annotations) == annotations(tag) {
        spec.annotations.clone_from(&tag.annotations);
        (spec.interval_ms, spec.cool_down_ms) = (tag.interval_ms, tag.cool_down_ms);
    }
}

/// A tag's spec as it came.
#[derive(Debug, Clone)]
pub struct GivenTag {
    pub spec: TagSpec,
    /// The client asks to take the source's image again (`generation: 0`).
    pub again: bool,
}

/// Reads a `TagReference`. Its `name` is the caller's business.
pub fn read(tag: &Field<'_>, project: &str) -> Result<GivenTag, Status> {
    let generation = tag.get("generation").number::<i64>()?;
    let annotations = tag.get("annotations");
    let given = annotations.map()?;
    let interval_ms = match given.get(INTERVAL) {
        None => None,
        Some(text) => Some(milliseconds(text).filter(|ms| *ms >= 10_000).ok_or_else(|| {
            annotations.invalid(format!("{INTERVAL} must be a time like 90s, 15m or 6h, of at least 10s"))
        })?),
    };
    let cool_down_ms = match given.get(COOL_DOWN) {
        None => None,
        Some(text) => Some(milliseconds(text).filter(|ms| (0..=A_YEAR).contains(ms)).ok_or_else(|| {
            annotations
                .invalid(format!("{COOL_DOWN} must be a time like 90m, 24h or 7d, of at most a year; 0s is none"))
        })?),
    };
    let import = tag.get("importPolicy");
    let from = tag.get("from");
    let source = read_source(&from)?;
    let scheduled = import.get("scheduled");
    let is_external = matches!(source, Some((SourceKind::DockerImage, _)));
    if scheduled.flag()? && !is_external {
        return Err(
            scheduled.invalid("only tags pointing to Docker repositories may be scheduled for background import")
        );
    }
    if cool_down_ms.is_some_and(|ms| ms > 0) && !is_external {
        return Err(annotations.invalid(format!("{COOL_DOWN} is for tags that follow an image in another registry")));
    }
    let source_project = from.get("namespace").filled()?.filter(|other| other != project && !is_external);
    let defaults = TagSpec::default();
    let spec = TagSpec {
        source,
        source_project,
        reference_only: tag.get("reference").flag()?,
        insecure: import.get("insecure").flag()?,
        scheduled: scheduled.flag()?,
        interval_ms,
        cool_down_ms,
        import_mode: import_mode(&import.get("importMode"), &defaults)?,
        reference_policy: reference_policy(&tag.get("referencePolicy").get("type"), &defaults)?,
        annotations: serde_json::to_string(&given)?,
    };
    Ok(GivenTag { spec, again: generation == Some(0) })
}

/// Reads the policies of an image to import; where it comes from is the caller's business.
pub fn read_policies(image: &Field<'_>) -> Result<GivenTag, Status> {
    let import = image.get("importPolicy");
    let defaults = TagSpec::default();
    let spec = TagSpec {
        insecure: import.get("insecure").flag()?,
        scheduled: import.get("scheduled").flag()?,
        import_mode: import_mode(&import.get("importMode"), &defaults)?,
        reference_policy: reference_policy(&image.get("referencePolicy").get("type"), &defaults)?,
        ..defaults
    };
    Ok(GivenTag { spec, again: true })
}

fn read_source(from: &Field<'_>) -> Result<Option<(SourceKind, String)>, Status> {
    from.pass_over_all(&["apiVersion", "fieldPath", "resourceVersion", "uid"]);
    if !from.is_present() {
        return Ok(None);
    }
    let kind = from.get("kind");
    let source: SourceKind = kind
        .required()?
        .parse()
        .map_err(|_| kind.invalid("valid values are 'DockerImage', 'ImageStreamImage', 'ImageStreamTag'"))?;
    let name = from.get("name");
    let text = name.required()?;
    match source {
        SourceKind::DockerImage => {
            text.parse::<ImageReference>().map_err(|error| name.invalid(error))?;
        }
        SourceKind::ImageStreamTag => drop(SourceName::tag(&text).map_err(|error| name.invalid(error))?),
        SourceKind::ImageStreamImage => drop(SourceName::image(&text).map_err(|error| name.invalid(error))?),
    }
    Ok(Some((source, text)))
}

/// Passes when whoever sets these tags of a stream may pull from where they point to, which is asked once for each project. `kind` and
/// `name` are those of the object that says so.
pub async fn check_sources(
    door: &Door,
    caller: &Caller,
    (kind, name): (&Kind, &str),
    stream: &str,
    tags: &[&WantedTag],
) -> Result<(), Status> {
    let (mut allowed, mut causes) = (BTreeMap::new(), Vec::new());
    for tag in tags {
        let Some(project) = &tag.spec.source_project else { continue };
        let may = match allowed.get(project) {
            Some(may) => *may,
            None => caller.can_pull_from(door, project).await?,
        };
        allowed.insert(project.clone(), may);
        if !may {
            let source = format!("{project}/{}", source_stream(&tag.spec).as_deref().unwrap_or(stream));
            causes.push(Cause::forbidden(format!("spec.tags[{}].from", tag.name), source));
        }
    }
    if causes.is_empty() { Ok(()) } else { Err(Status::forbidden_fields(kind, name, causes)) }
}

/// The stream that a tag's source names; without one it is the tag's own.
fn source_stream(spec: &TagSpec) -> Option<String> {
    let (kind, name) = spec.source.as_ref()?;
    let named = match kind {
        SourceKind::DockerImage => return None,
        SourceKind::ImageStreamTag => SourceName::tag(name),
        SourceKind::ImageStreamImage => SourceName::image(name),
    };
    let (SourceName::Tag { stream, .. } | SourceName::Image { stream, .. }) = named.ok()?;
    stream.map(|stream| stream.to_string())
}

fn import_mode(field: &Field<'_>, defaults: &TagSpec) -> Result<String, Status> {
    match field.filled()? {
        None => Ok(defaults.import_mode.clone()),
        Some(mode) if ["Legacy", "PreserveOriginal"].contains(&mode.as_str()) => Ok(mode),
        Some(_) => Err(field.invalid("invalid import mode, valid modes are '', 'Legacy', 'PreserveOriginal'")),
    }
}

fn reference_policy(field: &Field<'_>, defaults: &TagSpec) -> Result<String, Status> {
    match field.filled()? {
        None => Ok(defaults.reference_policy.clone()),
        Some(policy) if ["Source", "Local"].contains(&policy.as_str()) => Ok(policy),
        Some(_) => Err(field.invalid("valid values are \"Source\", \"Local\"")),
    }
}

/// `90s`, `15m`, `6h`, `7d` in milliseconds.
fn milliseconds(text: &str) -> Option<i64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let factor = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 24 * 3_600_000,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(factor)
}

/// The same the other way round, in the largest unit that fits, rounded up to a second.
fn in_units(ms: i64) -> String {
    for (factor, unit) in [(24 * 3_600_000, "d"), (3_600_000, "h"), (60_000, "m")] {
        if ms > 0 && ms % factor == 0 {
            return format!("{}{unit}", ms / factor);
        }
    }
    format!("{}s", ms.div_euclid(1000) + i64::from(ms % 1000 > 0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::server::openshift::fields;

    fn given(tag: Value) -> Result<GivenTag, Status> {
        fields::read(&tag, |root| read(&root, "demo")).map(|(given, _)| given)
    }

    #[test]
    fn reads_what_oc_sends() {
        let given = given(json!({
            "name": "3.7", "annotations": null, "generation": 0, "importPolicy": {"scheduled": true, "importMode": "Legacy"},
            "referencePolicy": {"type": ""}, "from": {"kind": "DockerImage", "name": "docker.io/python:3.7"},
        }))
        .unwrap();
        assert!(given.again && given.spec.scheduled);
        assert_eq!(given.spec.reference_policy, "Source");
        assert_eq!(given.spec.import_mode, "Legacy");
    }

    #[test]
    fn refuses_what_cannot_be() {
        let from = |kind: &str, name: &str| json!({"from": {"kind": kind, "name": name}});
        assert!(given(from("Image", "x")).is_err());
        assert!(given(from("DockerImage", "Foo/Bar:")).is_err());
        assert!(given(from("ImageStreamTag", "a/b:c")).is_err());
        let mut scheduled = from("ImageStreamTag", "a:b");
        scheduled["importPolicy"] = json!({"scheduled": true});
        assert!(given(scheduled).is_err());
        assert!(given(json!({"annotations": {INTERVAL: "1s"}})).is_err());
        assert_eq!(given(json!({"annotations": {INTERVAL: "5m"}})).unwrap().spec.interval_ms, Some(300_000));
    }

    #[test]
    fn a_cool_down_is_a_time_and_for_what_is_imported() {
        let of = |kind: &str, name: &str, text: &str| {
            given(json!({"from": {"kind": kind, "name": name}, "annotations": {COOL_DOWN: text}}))
        };
        let read =
            |text| of("DockerImage", "quay.io/org/a:1", text).map(|given| given.spec.cool_down_ms).ok().flatten();
        assert_eq!([read("24h"), read("7d"), read("0s")], [Some(86_400_000), Some(604_800_000), Some(0)]);
        assert_eq!([read("soon"), read("366d"), read("-1h"), read("é")], [None; 4]);
        assert!(of("ImageStreamTag", "a:1", "1h").is_err());
        assert!(of("ImageStreamTag", "a:1", "0s").is_ok());
        for text in ["90s", "15m", "6h", "7d", "0s", "25h"] {
            assert_eq!(milliseconds(text).map(in_units).as_deref(), Some(text));
        }
    }
}
