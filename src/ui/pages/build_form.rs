//! Making a build config and changing one: the same form, read with every fault told at its field.

use axum::response::Response;
use axum::routing::post;
use leptos::prelude::*;

use super::build::{below, open, path_of};
use crate::model::{
    AppName, BuildConfig, BuildConfigSpec, EnvVar, GitSource, ImageReference, KnownInputs, NameError, Source,
    StrategyFrom, StreamName, StreamTag, TagName, TagTitle,
};
use crate::server::auth::Right;
use crate::server::builder::{dockerfile, git};
use crate::server::store::ConfigFields;
use crate::ui::app::PageResult;
use crate::ui::components::{AreaField, CheckField, SelectField, TextField};
use crate::ui::context::{Cx, InProject};
use crate::ui::error::UiError;
use crate::ui::form::{Fields, Router};
use crate::ui::shell::Page;

/// `POST …/builds/new` and `…/edit`
pub fn router() -> Router {
    Router::new()
        .route("/p/{project}/builds/new", post(post_new))
        .route("/p/{project}/builds/{build}/edit", post(post_edit))
}

/// `/p/:project/builds/new`
pub async fn new_page(cx: Cx) -> PageResult {
    let project = cx.project(Right::Edit).await?;
    let list = format!("/p/{}/builds", project.name);
    let form = form(&cx, &project, None, &list).await?;
    Ok(below(&project, Page::new("New build", form)).narrow())
}

/// `/p/:project/builds/:build/edit`
pub async fn edit_page(cx: Cx) -> PageResult {
    let (project, config) = open(&cx, Right::Edit).await?;
    let path = path_of(&cx);
    let form = form(&cx, &project, Some(&config), &path).await?;
    Ok(below(&project, Page::new(format!("Edit {}", config.name), form))
        .kind("build")
        .crumb(config.name, path)
        .narrow())
}

async fn form(cx: &Cx, project: &InProject, config: Option<&BuildConfig>, back: &str) -> Result<AnyView, UiError> {
    let spec = config.map(BuildConfig::spec).transpose().map_err(|error| UiError::Internal(error.to_string()))?;
    let output = spec.as_ref().map(|spec| format!("{}:{}", spec.output_stream, spec.output_tag)).unwrap_or_default();
    let source = spec.as_ref().map(|spec| spec.source.clone()).unwrap_or_default();
    let (args, env) = spec.as_ref().map(|spec| (pairs(&spec.build_args), pairs(&spec.env))).unwrap_or_default();
    let no_cache = spec.as_ref().is_some_and(|spec| spec.no_cache);
    let secrets = cx.store().list_secrets(&project.name).await?;
    let git_source = source.git.unwrap_or_default();
    let none = (String::new(), "None: the repository is public".to_owned());
    let known = secrets.into_iter().filter(|secret| secret.kind != crate::model::SecretKind::Registry);
    let secrets: Vec<_> = std::iter::once(none).chain(known.map(|secret| (secret.name.clone(), secret.name))).collect();
    let from = match spec.and_then(|spec| spec.strategy_from) {
        Some(StrategyFrom::ImageStreamTag(name) | StrategyFrom::DockerImage(name)) => name,
        None => String::new(),
    };
    let name = config.is_none().then(|| {
        view! {
            <TextField name="name" label="Name" required=true autofocus=true maxlength=63 hint="Lower-case letters, digits and dashes." />
        }
    });
    let go = if config.is_some() { "Save" } else { "Make build" };
    let edits = config
        .is_some()
        .then(|| view! { <p class="hint">"Saving starts no build; the next one uses what you save."</p> });
    let version = config.map(|config| view! { <input type="hidden" name="version" value=config.version /> });
    Ok(view! {
        <form class="stack" method="post">
            {version}
            <div class="card stack">
                {name}
                <TextField
                    name="output"
                    label="Output"
                    required=true
                    value=output
                    placeholder="httpd-base:latest"
                    hint="Stream and tag that take the image. The stream is made when there is none."
                />
            </div>
            <fieldset class="card stack">
                <legend>"Source"</legend>
                <TextField
                    name="git"
                    label="Git repository"
                    value=git_source.uri
                    placeholder="https://git.example.org/team/httpd-base.git"
                    hint="https://…, ssh://…, git://… or git@host:path. Leave it empty to build from the Dockerfile below alone."
                />
                <div class="field-row">
                    <TextField name="ref" label="Branch, tag or commit" value=git_source.reference.unwrap_or_default() placeholder="the default branch" />
                    <TextField name="directory" label="Directory" value=source.context_dir.unwrap_or_default() placeholder="the repository's root" />
                </div>
                <div class="field-row">
                    <SelectField name="secret" label="Secret for the repository" options=secrets value=git_source.secret.unwrap_or_default() />
                    <TextField
                        name="dockerfile_path"
                        label="Dockerfile's name in it"
                        value=source.dockerfile_path.unwrap_or_default()
                        placeholder="Dockerfile"
                    />
                </div>
                <AreaField
                    name="dockerfile"
                    label="Dockerfile written here"
                    mono=true
                    rows=8
                    value=source.dockerfile.unwrap_or_default()
                    hint="With a repository, it takes the place of the repository's own."
                />
            </fieldset>
            <div class="card">
            <details open=config.is_some() || cx.form.is_again()>
                <summary>"More: base image, arguments, environment"</summary>
                <div class="stack">
                    <TextField
                        name="from"
                        label="Base image instead of the last FROM"
                        value=from
                        placeholder="base:latest"
                        hint="A stream's tag of this project, project/stream:tag, or an image reference with its host."
                    />
                    <AreaField name="args" label="Build arguments" mono=true rows=3 value=args hint="NAME=value, one on a line." />
                    <AreaField name="env" label="Environment" mono=true rows=3 value=env hint="NAME=value, one on a line; set in the image." />
                    <CheckField name="no_cache" label="Build every step anew" checked=no_cache />
                </div>
            </details>
            </div>
            <fieldset class="card stack gap-2">
                <legend>"Starts by itself"</legend>
                <CheckField
                    name="image_trigger"
                    label="When an image it takes in moves"
                    checked=config.is_none_or(|config| config.image_trigger == 1)
                    hint="The images are found in the Dockerfile: every FROM, COPY --from and mount that names a stream's tag."
                />
                <CheckField name="config_trigger" label="When it is made" checked=config.is_none_or(|config| config.config_trigger == 1) />
            </fieldset>
            {edits}
            <div class="form-actions">
                <a class="btn" href=back.to_owned()>
                    "Cancel"
                </a>
                <button class="btn btn-primary">{go}</button>
            </div>
        </form>
    }
    .into_any())
}

fn pairs(pairs: &[EnvVar]) -> String {
    pairs.iter().map(|pair| format!("{}={}", pair.name, pair.value)).collect::<Vec<_>>().join("\n")
}

/// `NAME=value` lines, or a refusal at the field.
pub fn read_pairs(fields: &Fields, field: &'static str) -> Result<Vec<EnvVar>, UiError> {
    let mut pairs: Vec<EnvVar> = Vec::new();
    for (number, line) in (1..).zip(fields.raw(field).lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let Some((name, value)) =
            line.trim().split_once('=').filter(|(name, _)| !name.is_empty() && !name.contains(char::is_whitespace))
        else {
            return Err(UiError::field(field, format!("Line {number}: write NAME=value")));
        };
        if pairs.iter().any(|pair| pair.name == name) {
            return Err(UiError::field(field, format!("Line {number}: {name} is given twice")));
        }
        pairs.push(EnvVar { name: name.to_owned(), value: value.to_owned() });
    }
    Ok(pairs)
}

/// `stream:tag`; without a tag it is `latest`.
pub fn read_stream_tag(fields: &Fields, field: &'static str) -> Result<(StreamName, TagName), UiError> {
    let text = fields.required(field, "Say which stream and tag, for instance httpd-base:latest")?;
    let TagTitle { stream, tag } = text.parse().map_err(|error: NameError| UiError::field(field, error.to_string()))?;
    Ok((stream, tag))
}

fn read_source(fields: &Fields) -> Result<Source, UiError> {
    let text = |name: &str| fields.some(name).map(str::to_owned);
    let dockerfile = Some(fields.raw("dockerfile").replace("\r\n", "\n")).filter(|text| !text.trim().is_empty());
    let git_source = text("git").map(|uri| GitSource { uri, reference: text("ref"), secret: text("secret") });
    if git_source.is_none() && dockerfile.is_none() {
        return Err(UiError::field("git", "Give a git repository, or write a Dockerfile below"));
    }
    if let Some(source) = &git_source {
        // Whether the operator allows this very directory is said when the source is fetched.
        let anywhere = git::GitConfig { file_roots: vec!["/".into()], ..git::GitConfig::default() };
        let uri = GitSource { reference: None, ..source.clone() };
        git::validate(&uri, &anywhere).map_err(|message| UiError::field("git", message))?;
        git::validate(source, &anywhere).map_err(|message| UiError::field("ref", message))?;
    }
    for (field, path) in [("directory", text("directory")), ("dockerfile_path", text("dockerfile_path"))] {
        if path.is_some_and(|path| path.starts_with('/') || path.split('/').any(|part| part == "..")) {
            return Err(UiError::field(
                field,
                "Give a path below the repository's root, without a leading / and without ..",
            ));
        }
    }
    Ok(Source { git: git_source, dockerfile, context_dir: text("directory"), dockerfile_path: text("dockerfile_path") })
}

fn read_from(fields: &Fields, project: &str) -> Result<Option<StrategyFrom>, UiError> {
    let Some(name) = fields.some("from") else { return Ok(None) };
    let reference = name.parse::<ImageReference>().map_err(|error| UiError::field("from", error.to_string()))?;
    if !reference.registry.is_empty() && !reference.name.is_empty() {
        return Ok(Some(StrategyFrom::DockerImage(name.to_owned())));
    }
    let tag = StreamTag::parse(name, project).map_err(|error| UiError::field("from", error.to_string()))?;
    Ok(Some(StrategyFrom::ImageStreamTag(tag.title_in(project))))
}

async fn read(cx: &Cx, fields: &Fields, project: &str, before: Option<&BuildConfig>) -> Result<ConfigFields, UiError> {
    let (output_stream, output_tag) = read_stream_tag(fields, "output")?;
    let spec = BuildConfigSpec {
        source: read_source(fields)?,
        strategy_from: read_from(fields, project)?,
        build_args: read_pairs(fields, "args")?,
        env: read_pairs(fields, "env")?,
        no_cache: fields.ticked("no_cache"),
        output_stream,
        output_tag,
    };
    Ok(ConfigFields {
        labels: before.map_or_else(|| "{}".to_owned(), |config| config.labels.clone()),
        annotations: before.map_or_else(|| "{}".to_owned(), |config| config.annotations.clone()),
        inputs: inputs(cx, &spec, project).await?,
        spec,
        image_trigger: fields.ticked("image_trigger"),
        config_trigger: fields.ticked("config_trigger"),
        paused: before.is_some_and(|config| config.paused_at.is_some()),
    })
}

/// What its definition takes in, which must be images that whoever defines it may pull.
async fn inputs(cx: &Cx, spec: &BuildConfigSpec, project: &str) -> Result<KnownInputs, UiError> {
    let own_hosts = cx.settings().own_hosts();
    let known = dockerfile::known_inputs(spec, project, &own_hosts)
        .map_err(|error| UiError::field("dockerfile", error.to_string()))?;
    for input in known.as_slice() {
        if let Some(tag) = input.stands_for.as_ref().filter(|tag| tag.project != project)
            && cx.project_named(&tag.project, Right::Pull).await.is_err()
        {
            let field = if input.declared { "from" } else { "dockerfile" };
            let message = format!("You may not pull {tag}: there is no such project, or you have no role in it");
            return Err(UiError::field(field, message));
        }
    }
    Ok(known)
}

/// The store names fields as the REST door does; here a cycle is told where the output was typed.
fn at_field(error: crate::server::store::Error) -> UiError {
    match UiError::from(error) {
        UiError::Field { field, message } if field.starts_with("spec.output") => UiError::field("output", message),
        error => error,
    }
}

async fn post_new(cx: Cx, fields: Fields) -> Response {
    let page = format!("/p/{}/builds/new", cx.param("project"));
    let work = async {
        let project = cx.project(Right::Edit).await?;
        let name: AppName = fields.parse("name")?;
        let values = read(&cx, &fields, &project.name, None).await?;
        cx.store().create_config(&project.name, &name, &values, &cx.actor()?).await.map_err(at_field)?;
        Ok(format!("/p/{}/builds/{name}", project.name))
    };
    cx.submit(&fields, &page, work).await
}

async fn post_edit(cx: Cx, fields: Fields) -> Response {
    let path = path_of(&cx);
    let work = async {
        let (project, config) = open(&cx, Right::Edit).await?;
        let values = read(&cx, &fields, &project.name, Some(&config)).await?;
        let version = fields.get("version").parse().ok();
        cx.store()
            .update_config(&project.name, &config.name, &values, version, &cx.actor()?)
            .await
            .map_err(at_field)?;
        Ok(path.clone())
    };
    cx.submit(&fields, &format!("{path}/edit"), work).await
}
