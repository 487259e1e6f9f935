//! Import rules of a stream: which tags it takes in of a repository in another registry. What a rule would do, `dry-run` tells before
//! there is one.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::model::{
    AppName, ImportRule, ImportRuleSpec, MOST_CHOSEN, PatternKind, RuleTrial, Standing, Stream, TagOrder, rfc3339,
};
use crate::server::importer::ImportError;
use crate::server::openshift::body::{Body, Warnings};
use crate::server::openshift::caller::Caller;
use crate::server::openshift::kind::IMPORT_RULES;
use crate::server::openshift::status::{Cause, Status};
use crate::server::openshift::{Door, Field};

/// Path of a stream.
type OfStream = Path<(String, String)>;
/// Path of a rule.
type OfRule = Path<(String, String, String)>;

/// A rule as it came.
struct Given {
    name: Option<AppName>,
    spec: ImportRuleSpec,
    is_paused: bool,
    version: Option<i64>,
}

/// A stream's rules by name.
pub async fn list(
    State(door): State<Door>,
    caller: Caller,
    Path((project, stream)): OfStream,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "list", &IMPORT_RULES, &project, "").await?;
    let stream = door.store.stream(&project, &stream).await?;
    let rules = door.store.list_import_rules(&stream.id).await?;
    Ok(Json(json!({"items": rules.iter().map(show).collect::<Vec<_>>(), "next": null, "mostTags": MOST_CHOSEN})))
}

/// Makes a rule: `repository`, and whatever else of it one likes. The repository is listed at once.
pub async fn create(
    State(door): State<Door>,
    caller: Caller,
    Path((project, stream)): OfStream,
    body: Body,
) -> Result<(StatusCode, Warnings, Json<Value>), Status> {
    caller.may(&door, "create", &IMPORT_RULES, &project, "").await?;
    let (given, warnings) = body.read(|root| read(&root))?;
    let name = given.name.as_ref();
    let made =
        door.store.create_import_rule(&project, &stream, name, &given.spec, given.is_paused, &caller.actor()).await;
    let about = name.map_or("", AppName::as_str);
    let rule = made.map_err(|error| Status::from(error).about(&IMPORT_RULES, about))?;
    Ok((StatusCode::CREATED, warnings, Json(show(&rule))))
}

/// One rule.
pub async fn get(
    State(door): State<Door>,
    caller: Caller,
    Path((project, stream, name)): OfRule,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "get", &IMPORT_RULES, &project, &name).await?;
    Ok(Json(show(&door.store.load_import_rule(&project, &stream, &name).await?)))
}

/// Sets all of a rule but its name; what is left out is as in a new one. `version` says which version the change is meant for.
pub async fn put(
    State(door): State<Door>,
    caller: Caller,
    Path((project, stream, name)): OfRule,
    body: Body,
) -> Result<(Warnings, Json<Value>), Status> {
    caller.may(&door, "update", &IMPORT_RULES, &project, &name).await?;
    let about = |status: Status| status.about(&IMPORT_RULES, &name);
    let (given, warnings) = body.read(|root| read(&root)).map_err(about)?;
    if given.name.as_ref().is_some_and(|given| given.as_str() != name) {
        return Err(Status::bad_request("a rule keeps its name: make another one, and delete this"));
    }
    let Given { spec, is_paused, version, .. } = given;
    let put = door.store.update_import_rule(&project, &stream, &name, &spec, is_paused, version, &caller.actor()).await;
    Ok((warnings, Json(show(&put.map_err(|error| about(error.into()))?))))
}

/// Forgets a rule. Its tags stay as they are.
pub async fn delete(
    State(door): State<Door>,
    caller: Caller,
    Path((project, stream, name)): OfRule,
) -> Result<StatusCode, Status> {
    caller.may(&door, "delete", &IMPORT_RULES, &project, &name).await?;
    door.store.delete_import_rule(&project, &stream, &name, &caller.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the repository now, rather than on schedule, as soon as its registry lets itself be asked.
pub async fn check(
    State(door): State<Door>,
    caller: Caller,
    Path((project, stream, name)): OfRule,
    body: Body,
) -> Result<(StatusCode, Warnings, Json<Value>), Status> {
    caller.may(&door, "update", &IMPORT_RULES, &project, &name).await?;
    let ((), warnings) = body.read(|_| Ok(()))?;
    let rule = door.store.request_listing(&project, &stream, &name, &caller.actor()).await?;
    Ok((StatusCode::ACCEPTED, warnings, Json(show(&rule))))
}

/// What such a rule would choose now. Nothing is kept.
pub async fn try_out(
    State(door): State<Door>,
    caller: Caller,
    Path((project, stream)): OfStream,
    body: Body,
) -> Result<(Warnings, Json<Value>), Status> {
    caller.may(&door, "create", &IMPORT_RULES, &project, "").await?;
    let (given, warnings) = body.read(|root| read(&root))?;
    let stream = door.store.stream(&project, &stream).await?;
    let trial = trial(&door, &caller, &stream, &given).await?;
    Ok((warnings, Json(show_trial(&trial))))
}

async fn trial(door: &Door, caller: &Caller, stream: &Stream, given: &Given) -> Result<RuleTrial, Status> {
    let rule = match &given.name {
        Some(name) => door.store.find_import_rule(&stream.project, &stream.name, name.as_str()).await?,
        None => None,
    };
    let tried = door.importer.try_rule(stream, &given.spec, rule.as_ref(), &caller.actor()).await;
    tried.map_err(|error| match error {
        ImportError::Store(error) => Status::from(error),
        error if error.retry_after().is_some() || matches!(error, ImportError::Crowded) => {
            Status::conflict(error.to_string())
        }
        error => Status::invalid(vec![Cause::invalid_value("repository", &given.spec.repository, error)]),
    })
}

fn read(root: &Field<'_>) -> Result<Given, Status> {
    let name = root.get("name");
    let parsed = name.filled()?.map(|text| text.parse::<AppName>().map_err(|error| name.invalid(error))).transpose()?;
    let kind = root.get("patternKind");
    let pattern = root.get("pattern").text_or_empty()?;
    let usual_kind = if pattern.is_empty() { PatternKind::All } else { PatternKind::Glob };
    let order = root.get("order");
    let seconds = |field: &Field<'_>| -> Result<Option<i64>, Status> {
        Ok(field.number::<i64>()?.map(|seconds| seconds.saturating_mul(1000)))
    };
    let spec = ImportRuleSpec {
        repository: root.get("repository").required()?,
        pattern_kind: word(&kind)?.unwrap_or(usual_kind),
        pattern,
        tag_order: word(&order)?.unwrap_or(TagOrder::Semver),
        newest: root.get("limit").number()?,
        insecure: root.get("insecure").flag()?.into(),
        import_mode: root.get("importMode").filled()?.unwrap_or_else(|| "PreserveOriginal".to_owned()),
        reference_policy: root.get("referencePolicy").filled()?.unwrap_or_else(|| "Source".to_owned()),
        interval_ms: seconds(&root.get("intervalSeconds"))?,
        listing_interval_ms: seconds(&root.get("listingIntervalSeconds"))?
            .unwrap_or(ImportRuleSpec::LEAST_LISTING_INTERVAL_MS),
    };
    root.get("listing").pass_over();
    root.pass_over_all(&["project", "stream", "createdAt", "createdBy"]);
    Ok(Given { name: parsed, spec, is_paused: root.get("paused").flag()?, version: root.get("version").number()? })
}

fn word<T: std::str::FromStr<Err: std::fmt::Display>>(field: &Field<'_>) -> Result<Option<T>, Status> {
    field.filled()?.map(|text| text.parse().map_err(|error| field.invalid(error))).transpose()
}

fn show(rule: &ImportRule) -> Value {
    let spec = &rule.spec;
    json!({
        "name": rule.name,
        "project": rule.project,
        "stream": rule.stream,
        "repository": spec.repository,
        "patternKind": spec.pattern_kind,
        "pattern": spec.pattern,
        "order": spec.tag_order,
        "limit": spec.newest,
        "insecure": spec.insecure == 1,
        "importMode": spec.import_mode,
        "referencePolicy": spec.reference_policy,
        "intervalSeconds": spec.interval_ms.map(|ms| ms / 1000),
        "listingIntervalSeconds": spec.listing_interval_ms / 1000,
        "paused": rule.paused_at.is_some(),
        "createdAt": rfc3339(rule.created_at),
        "createdBy": rule.created_by,
        "version": rule.version,
        "listing": {
            "seen": rule.seen,
            "fitting": rule.fitting,
            "selected": rule.chosen,
            "new": rule.made,
            "leftAlone": rule.left_alone,
            "pages": rule.pages,
            "lastAt": rule.listed_at.map(rfc3339),
            "nextAt": rule.next_listing_at().map(rfc3339),
            "triedAt": rule.tried_at.map(rfc3339),
            "outcome": rule.outcome,
            "reason": rule.reason,
            "message": rule.message,
            "failingSince": rule.failing_since.map(rfc3339),
        },
    })
}

fn show_trial(trial: &RuleTrial) -> Value {
    let tags: Vec<_> = trial
        .tags
        .iter()
        .map(|(tag, standing)| match standing {
            Standing::New => json!({"tag": tag, "standing": "new"}),
            Standing::Own => json!({"tag": tag, "standing": "own"}),
            Standing::LeftAlone(why) => json!({"tag": tag, "standing": "left-alone", "why": why.words()}),
        })
        .collect();
    json!({"seen": trial.seen, "whole": trial.is_whole, "fitting": trial.fitting, "selected": tags})
}
