//! The form of an import rule: making one, changing one, and trying what it would choose before that.

use axum::response::Response;
use axum::routing::post;
use leptos::prelude::*;

use super::import_rule_trial;
use super::import_rules::{list_of, path_of};
use super::stream::open;
use crate::model::{AppName, ImportRule, ImportRuleSpec, MOST_CHOSEN, PatternKind, TagOrder};
use crate::server::auth::Right;
use crate::ui::app::PageResult;
use crate::ui::components::{CheckField, SelectField, TextField};
use crate::ui::context::Cx;
use crate::ui::error::UiError;
use crate::ui::form::{Fields, Router};
use crate::ui::shell::{Page, Section};

/// What the forms post to.
pub fn router() -> Router {
    Router::new()
        .route("/p/{project}/streams/{stream}/import-rules/new", post(post_create))
        .route("/p/{project}/streams/{stream}/import-rules/{rule}/edit", post(post_update))
}

/// `/p/:project/streams/:stream/import-rules/new`
pub async fn new_page(cx: Cx) -> PageResult {
    let (project, stream) = open(&cx, Right::Edit).await?;
    let body = view! {
        {form(&cx, &format!("{}/new", path_of(&cx)), None)}
        {import_rule_trial::below(&cx)}
    };
    Ok(Page::new("New import rule", body)
        .kind("stream")
        .within(&project, Section::Streams)
        .crumb("Streams", format!("/p/{}/streams", project.name))
        .crumb(stream.name, list_of(&cx)))
}

/// `/p/:project/streams/:stream/import-rules/:rule/edit`
pub async fn edit_page(cx: Cx) -> PageResult {
    let (project, stream) = open(&cx, Right::Edit).await?;
    let rule = cx.store().load_import_rule(&project.name, &stream.name, cx.param("rule")).await?;
    let here = format!("{}/{}", path_of(&cx), rule.name);
    let body = view! {
        {form(&cx, &format!("{here}/edit"), Some(&rule))}
        {import_rule_trial::below(&cx)}
        <form class="card stack content-narrow" id="delete" method="post" action=format!("{here}/delete")>
            <h2>"Delete this rule"</h2>
            <p>"The tags that it made stay as they are: they go on following, and are checked on their schedule. No new ones come."</p>
            <div class="form-actions">
                <button class="btn btn-danger">"Delete rule"</button>
            </div>
        </form>
    };
    Ok(Page::new(format!("Import rule {}", rule.name), body)
        .kind("stream")
        .within(&project, Section::Streams)
        .crumb("Streams", format!("/p/{}/streams", project.name))
        .crumb(stream.name, list_of(&cx)))
}

fn form(cx: &Cx, action: &str, rule: Option<&ImportRule>) -> AnyView {
    let spec = rule.map(|rule| &rule.spec);
    let text = |of: fn(&ImportRuleSpec) -> String| spec.map(of).unwrap_or_default();
    let name = rule.is_none().then(|| {
        view! { <TextField name="name" label="Name" autocomplete="off" hint="Left empty, it is made from the pattern." /> }
    });
    // A form that is shown again is still about the rule as its reader saw it first: what somebody else changed since is not on it.
    let version = rule.map(|rule| cx.form.value("version").map_or_else(|| rule.version.to_string(), str::to_owned));
    let version = version.map(|version| view! { <input type="hidden" name="version" value=version /> });
    let save = if rule.is_some() { "Save" } else { "Make rule" };
    view! {
        <form class="card stack content-narrow" method="post" action=action.to_owned()>
            {version} {name}
            <TextField
                name="repository"
                label="Repository"
                value=text(|spec| spec.repository.clone())
                required=true
                autocomplete="off"
                placeholder="docker.io/library/python"
                hint="In another registry, without a tag. Credentials are the project's secret for that registry, if it has one."
            />
            {which_fields(spec)}
            {when_fields(spec)}
            <CheckField
                name="insecure"
                label="Plain HTTP, or a certificate that is not trusted"
                checked=spec.is_some_and(|spec| spec.insecure == 1)
            />
            <CheckField
                name="paused"
                label="Paused"
                checked=rule.is_some_and(|rule| rule.paused_at.is_some())
                hint="Nothing is listed meanwhile; the tags there are go on being checked."
            />
            <div class="form-actions">
                <button class="btn btn-primary">{save}</button>
                <button class="btn" name="do" value="try">
                    "Try"
                </button>
            </div>
            <p class="hint">"Try asks the registry now and shows below which tags would be chosen. Nothing is kept."</p>
        </form>
    }
    .into_any()
}

/// Which tags it takes.
fn which_fields(spec: Option<&ImportRuleSpec>) -> AnyView {
    let kinds = [
        (PatternKind::All, "All tags"),
        (PatternKind::Glob, "Glob: 3.*, v[0-9]*, {stable,lts}"),
        (PatternKind::Semver, "Versions: 3.*, ~1.4, >=3.6, <4"),
        (PatternKind::Regex, "Regular expression: 3\\.[0-9]+(-slim)?"),
    ];
    let orders = [(TagOrder::Semver, "By version"), (TagOrder::Natural, "By numbers and letters")];
    let kind = spec.map_or(PatternKind::Semver, |spec| spec.pattern_kind);
    let order = spec.map_or(TagOrder::Semver, |spec| spec.tag_order);
    view! {
        <SelectField
            name="patternKind"
            label="Which tags"
            options=kinds.map(|(kind, words)| (kind.to_string(), words.to_owned())).to_vec()
            value=kind.to_string()
        />
        <TextField
            name="pattern"
            label="Pattern"
            value=spec.map(|spec| spec.pattern.clone()).unwrap_or_default()
            autocomplete="off"
            hint="It fits whole names. Versions before a release, like 3.13.0-rc1, fit only a range that names one itself."
        />
        <TextField
            name="limit"
            label="Only the newest"
            value=spec.and_then(|spec| spec.newest).map(|newest| newest.to_string()).unwrap_or_default()
            kind="number"
            autocomplete="off"
            hint=format!("So many of them. Left empty: all, and {MOST_CHOSEN} at the most.")
        />
        <SelectField
            name="order"
            label="Which are the newest"
            options=orders.map(|(order, words)| (order.to_string(), words.to_owned())).to_vec()
            value=order.to_string()
            hint="Registries do not tell when a tag was made."
        />
    }
    .into_any()
}

/// How often it looks.
fn when_fields(spec: Option<&ImportRuleSpec>) -> AnyView {
    let checks = [
        ("", "The server's default"),
        ("300", "5 minutes"),
        ("900", "15 minutes"),
        ("3600", "1 hour"),
        ("86400", "1 day"),
    ];
    let listings = [("3600", "1 hour"), ("21600", "6 hours"), ("86400", "1 day"), ("604800", "1 week")];
    let check = spec.and_then(|spec| spec.interval_ms).map(seconds).unwrap_or_default();
    let listing = seconds(spec.map_or(ImportRuleSpec::LEAST_LISTING_INTERVAL_MS, |spec| spec.listing_interval_ms));
    view! {
        <SelectField name="intervalSeconds" label="Check each tag every" options=choices(&checks, &check) value=check />
        <SelectField
            name="listingIntervalSeconds"
            label="Look for new tags every"
            options=choices(&listings, &listing)
            value=listing
            hint="Listing a repository counts with many registries, so it is done once an hour at the most."
        />
    }
    .into_any()
}

fn seconds(ms: i64) -> String {
    (ms / 1000).to_string()
}

/// The choices, with the present value when it is none of them.
fn choices(known: &[(&str, &str)], present: &str) -> Vec<(String, String)> {
    let mut choices: Vec<_> = known.iter().map(|(value, words)| ((*value).to_owned(), (*words).to_owned())).collect();
    if !known.iter().any(|(value, _)| *value == present) {
        choices.push((present.to_owned(), format!("{present} seconds")));
    }
    choices
}

/// The rule that the form describes.
pub fn read(fields: &Fields) -> Result<ImportRuleSpec, UiError> {
    let kind: PatternKind = fields.parse("patternKind")?;
    let number = |name: &str| -> Result<Option<i64>, UiError> {
        fields.some(name).map(|text| text.parse().map_err(|_| UiError::field(name, "Write a whole number"))).transpose()
    };
    let listing = number("listingIntervalSeconds")?.map(|seconds| seconds.saturating_mul(1000));
    Ok(ImportRuleSpec {
        repository: fields.required("repository", "Write the repository")?.to_owned(),
        pattern_kind: kind,
        pattern: fields.get("pattern").to_owned(),
        tag_order: fields.parse("order")?,
        newest: number("limit")?,
        insecure: fields.ticked("insecure").into(),
        import_mode: "PreserveOriginal".to_owned(),
        reference_policy: "Source".to_owned(),
        interval_ms: number("intervalSeconds")?.map(|seconds| seconds.saturating_mul(1000)),
        listing_interval_ms: listing.unwrap_or(ImportRuleSpec::LEAST_LISTING_INTERVAL_MS),
    })
}

async fn post_create(cx: Cx, fields: Fields) -> Response {
    let here = format!("{}/new", path_of(&cx));
    if fields.get("do") == "try" {
        return import_rule_trial::answer(&cx, &fields, &here, None).await;
    }
    cx.submit(&fields, &here, async {
        let (project, stream) = open(&cx, Right::Edit).await?;
        let name: Option<AppName> = fields.some("name").map(|_| fields.parse("name")).transpose()?;
        let (spec, is_paused) = (read(&fields)?, fields.ticked("paused"));
        let store = cx.store();
        store.create_import_rule(&project.name, &stream.name, name.as_ref(), &spec, is_paused, &cx.actor()?).await?;
        Ok(list_of(&cx))
    })
    .await
}

async fn post_update(cx: Cx, fields: Fields) -> Response {
    let here = format!("{}/{}/edit", path_of(&cx), cx.param("rule"));
    let work = async {
        let (project, stream) = open(&cx, Right::Edit).await?;
        let rule = cx.store().load_import_rule(&project.name, &stream.name, cx.param("rule")).await?;
        Ok::<_, UiError>((project, stream, rule))
    };
    let (project, stream, rule) = match work.await {
        Ok(found) => found,
        Err(error) => return cx.refuse(&fields, &here, &error).await,
    };
    if fields.get("do") == "try" {
        return import_rule_trial::answer(&cx, &fields, &here, Some(&rule)).await;
    }
    cx.submit(&fields, &here, async {
        let spec = keep(read(&fields)?, &rule);
        let unreadable = |_| {
            UiError::Conflict("the form does not say which version of the rule it is about: open it again".to_owned())
        };
        let (is_paused, version) = (fields.ticked("paused"), fields.get("version").parse::<i64>().map_err(unreadable)?);
        let (store, actor) = (cx.store(), cx.actor()?);
        store
            .update_import_rule(&project.name, &stream.name, &rule.name, &spec, is_paused, Some(version), &actor)
            .await?;
        Ok(list_of(&cx))
    })
    .await
}

/// What the form does not ask for stays.
fn keep(spec: ImportRuleSpec, rule: &ImportRule) -> ImportRuleSpec {
    let (import_mode, reference_policy) = (rule.spec.import_mode.clone(), rule.spec.reference_policy.clone());
    ImportRuleSpec { import_mode, reference_policy, ..spec }
}
