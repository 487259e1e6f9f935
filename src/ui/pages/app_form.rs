//! Making an app and changing one: the same form, read with every fault told at its field.

use axum::response::Response;
use axum::routing::post;
use leptos::prelude::*;

use super::app::{below, open, path_of};
use super::build_form::read_pairs;
use crate::model::{App, AppName, AppPort, AppSpec, PublishMode, StreamTag};
use crate::server::auth::Right;
use crate::server::store::AppFields;
use crate::ui::app::PageResult;
use crate::ui::components::{AreaField, CheckField, SelectField, TextField};
use crate::ui::context::Cx;
use crate::ui::error::UiError;
use crate::ui::form::{Fields, Router};
use crate::ui::shell::Page;

/// `POST …/apps/new` and `…/edit`
pub fn router() -> Router {
    Router::new().route("/p/{project}/apps/new", post(post_new)).route("/p/{project}/apps/{app}/edit", post(post_edit))
}

/// `/p/:project/apps/new`
pub async fn new_page(cx: Cx) -> PageResult {
    let project = cx.project(Right::Edit).await?;
    let list = format!("/p/{}/apps", project.name);
    let form = form(None, cx.query("image"), &list)?;
    Ok(below(&project, Page::new("New app", form)).narrow())
}

/// `/p/:project/apps/:app/edit`
pub async fn edit_page(cx: Cx) -> PageResult {
    let (project, app) = open(&cx, Right::Edit).await?;
    let path = path_of(&cx);
    let form = form(Some(&app), "", &path)?;
    Ok(below(&project, Page::new(format!("Edit {}", app.name), form)).kind("app").crumb(app.name, path).narrow())
}

fn form(app: Option<&App>, image: &str, back: &str) -> Result<AnyView, UiError> {
    let spec =
        app.map(App::spec).transpose().map_err(|error| UiError::Internal(error.to_string()))?.unwrap_or_default();
    let image = match app {
        Some(app) if app.image_project == app.project => format!("{}:{}", app.image_stream, app.image_tag),
        Some(app) => format!("{}/{}:{}", app.image_project, app.image_stream, app.image_tag),
        None => image.to_owned(),
    };
    let mode = if spec.ports.iter().any(|port| port.mode == PublishMode::Host) { "host" } else { "ingress" };
    let modes = [
        ("ingress", "Every node answers and forwards to a replica"),
        ("host", "Each node answers for its own replica only"),
    ];
    let modes = modes.into_iter().map(|(value, words)| (value.to_owned(), words.to_owned())).collect();
    let env: Vec<String> = spec.env.iter().map(|pair| format!("{}={}", pair.name, pair.value)).collect();
    let name = app.is_none().then(|| {
        view! { <TextField name="name" label="Name" required=true autofocus=true maxlength=63 hint="Lower-case letters, digits and dashes." /> }
    });
    let (go, effect) = match app {
        Some(_) => ("Save", "Saving rolls the app out anew when how it runs changes; the image stays the one it has."),
        None => ("Make app", "It starts as soon as its tag points to an image."),
    };
    let version = app.map(|app| view! { <input type="hidden" name="version" value=app.version /> });
    Ok(view! {
        <form class="stack" method="post">
            {version}
            <div class="card stack">
                {name}
                <TextField
                    name="image"
                    label="Image"
                    required=true
                    value=image
                    placeholder="app-a:latest"
                    hint="A stream's tag of this project, or project/stream:tag."
                />
                <TextField name="replicas" label="Replicas" kind="number" required=true value=spec.replicas.to_string() />
                <CheckField
                    name="automatic"
                    label="Follow the tag"
                    checked=app.is_none_or(|app| app.automatic == 1)
                    hint="Each move of the tag rolls the app out, unless it is held. Otherwise only Deploy newest now does."
                />
            </div>
            <div class="card stack">
                <div class="field-row">
                    <AreaField
                        name="ports"
                        label="Ports"
                        mono=true
                        rows=3
                        value=ports_text(&spec.ports)
                        placeholder="8081:80"
                        hint="One on a line: port on the node, colon, port in the container. Without the first, the engine chooses."
                    />
                    <SelectField name="mode" label="How ports are reached" options=modes value=mode />
                </div>
                <AreaField
                    name="env"
                    label="Environment"
                    mono=true
                    rows=3
                    value=env.join("\n")
                    hint="NAME=value, one on a line. Everyone who sees the app sees it."
                />
                <div class="field-row">
                    <AreaField
                        name="command"
                        label="Command"
                        mono=true
                        rows=3
                        value=spec.command.join("\n")
                        hint="One word on a line; in place of the image's entrypoint."
                    />
                    <AreaField
                        name="args"
                        label="Arguments"
                        mono=true
                        rows=3
                        value=spec.args.join("\n")
                        hint="One on a line; in place of the image's command."
                    />
                </div>
            </div>
            <div class="card stack">
                <div class="field-row">
                    <TextField
                        name="parallelism"
                        label="Replaced at a time"
                        kind="number"
                        value=spec.parallelism.to_string()
                        hint="How many replicas a rollout replaces together."
                    />
                    <TextField
                        name="delay"
                        label="Seconds between"
                        value=seconds(spec.delay_ms)
                        hint="Pause between two such steps."
                    />
                </div>
            </div>
            <p class="hint">{effect}</p>
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

fn seconds(ms: u64) -> String {
    if ms.is_multiple_of(1000) { (ms / 1000).to_string() } else { format!("{}.{:03}", ms / 1000, ms % 1000) }
}

fn ports_text(ports: &[AppPort]) -> String {
    let line = |port: &AppPort| match port.published {
        Some(published) => format!("{published}:{}", port.container),
        None => port.container.to_string(),
    };
    ports.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn read_ports(text: &str, mode: PublishMode) -> Result<Vec<AppPort>, UiError> {
    let words = text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
    words
        .map(|word| {
            let bad = || {
                UiError::field("ports", format!("\"{word}\": write 8081:80, or 80 alone, with ports from 1 to 65535"))
            };
            let (published, container) = match word.split_once(':') {
                Some((published, container)) => (Some(published.parse().map_err(|_| bad())?), container),
                None => (None, word),
            };
            Ok(AppPort { container: container.parse().map_err(|_| bad())?, published, mode })
        })
        .collect()
}

fn read_number(fields: &Fields, field: &'static str) -> Result<u32, UiError> {
    fields.some(field).unwrap_or("1").parse().map_err(|_| UiError::field(field, "Write a whole number"))
}

fn read_spec(fields: &Fields) -> Result<AppSpec, UiError> {
    let lines = |field: &str| -> Vec<String> {
        fields
            .raw(field)
            .lines()
            .map(|line| line.trim_end_matches('\r').to_owned())
            .filter(|line| !line.is_empty())
            .collect()
    };
    let mode = if fields.get("mode") == "host" { PublishMode::Host } else { PublishMode::Ingress };
    let delay: f64 = fields
        .some("delay")
        .unwrap_or("0")
        .parse()
        .map_err(|_| UiError::field("delay", "Write seconds, for instance 2 or 0.5"))?;
    if !(0.0..=86_400.0).contains(&delay) {
        return Err(UiError::field("delay", "From 0 to 86400 seconds, a day"));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to a day")]
    let delay_ms = (delay * 1000.0).round() as u64;
    let spec = AppSpec {
        replicas: read_number(fields, "replicas")?,
        ports: read_ports(fields.raw("ports"), mode)?,
        env: read_pairs(fields, "env")?,
        command: lines("command"),
        args: lines("args"),
        parallelism: read_number(fields, "parallelism")?,
        delay_ms,
    };
    spec.check().map_err(|error| {
        let text = error.to_string();
        // The text begins with the field it is about.
        match text.split_once(": ") {
            Some((field, message)) => UiError::field(if field == "delayMs" { "delay" } else { field }, message),
            None => UiError::field("replicas", text.clone()),
        }
    })?;
    Ok(spec)
}

/// The tag an app runs. One of another project only for those who may pull there.
async fn read_image(cx: &Cx, fields: &Fields, project: &str) -> Result<StreamTag, UiError> {
    let text = fields.required("image", "Say which stream and tag, for instance app-a:latest")?;
    let tag = StreamTag::parse(text, project).map_err(|error| UiError::field("image", error.to_string()))?;
    if tag.project != project && cx.project_named(&tag.project, Right::Pull).await.is_err() {
        return Err(UiError::field("image", format!("There is no project {} that you may pull from", tag.project)));
    }
    Ok(tag)
}

async fn read(cx: &Cx, fields: &Fields, project: &str, before: Option<&App>) -> Result<AppFields, UiError> {
    Ok(AppFields {
        labels: before.map_or_else(|| "{}".to_owned(), |app| app.labels.clone()),
        annotations: before.map_or_else(|| "{}".to_owned(), |app| app.annotations.clone()),
        spec: read_spec(fields)?,
        image: read_image(cx, fields, project).await?,
        automatic: fields.ticked("automatic"),
    })
}

async fn post_new(cx: Cx, fields: Fields) -> Response {
    let page = format!("/p/{}/apps/new", cx.param("project"));
    let work = async {
        let project = cx.project(Right::Edit).await?;
        let name: AppName = fields.parse("name")?;
        let values = read(&cx, &fields, &project.name, None).await?;
        cx.store().create_app(&project.name, &name, &values, &cx.actor()?).await?;
        Ok(format!("/p/{}/apps/{name}", project.name))
    };
    cx.submit(&fields, &page, work).await
}

async fn post_edit(cx: Cx, fields: Fields) -> Response {
    let path = path_of(&cx);
    let work = async {
        let (project, app) = open(&cx, Right::Edit).await?;
        let values = read(&cx, &fields, &project.name, Some(&app)).await?;
        let version = fields.get("version").parse().ok();
        cx.store().update_app(&project.name, &app.name, &values, version, &cx.actor()?).await?;
        Ok(path.clone())
    };
    cx.submit(&fields, &format!("{path}/edit"), work).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_they_are_written() {
        let ports = read_ports("8081:80, 443\n", PublishMode::Host).unwrap();
        assert_eq!(ports_text(&ports), "8081:80\n443");
        for bad in ["80:", "x", "70000", "1:2:3"] {
            assert!(read_ports(bad, PublishMode::Host).is_err(), "{bad}");
        }
        assert_eq!((seconds(2000), seconds(500)), ("2".to_owned(), "0.500".to_owned()));
    }
}
