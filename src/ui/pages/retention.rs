//! What a stream keeps of its tags' histories: a part of its settings. What would go is shown before the rule is kept.

use axum::response::Response;
use leptos::prelude::*;

use super::stream::open;
use crate::model::{Garbage, GarbageKind, RetentionRule, Stream, now};
use crate::server::auth::Right;
use crate::server::store::{self, Moment, bytes_of};
use crate::ui::components::{Col, DataTable, DigestText, TextField, size_words};
use crate::ui::context::{Cx, InProject};
use crate::ui::error::UiError;
use crate::ui::form::Fields;

/// The most rows shown; the numbers above them count all.
const SHOWN: usize = 100;

/// The form, and below it what would go when the address says which rule.
pub async fn card(cx: &Cx, project: &InProject, stream: &Stream, path: &str) -> Result<AnyView, UiError> {
    let rule = cx.store().find_retention(&stream.id).await?.unwrap_or_default();
    if !project.can_admin() {
        let words = format!("Of its history it keeps {rule}. A project admin may change that.");
        return Ok(
            view! { <section class="card stack content-narrow"><h2>"What it keeps"</h2><p>{words}</p></section> }
                .into_any(),
        );
    }
    let asked = (!cx.query("rule").is_empty()).then(|| read(|name| cx.query(name).to_owned())).transpose()?;
    let preview = match &asked {
        Some(asked) => {
            let preview =
                cx.store().preview_retention(stream, asked, &moment(cx), &cx.actor()?).await.map_err(at_field)?;
            Some(going(asked, &preview.swept))
        }
        None => None,
    };
    let shown = asked.unwrap_or(rule);
    let number = |value: Option<i64>| value.map(|value| value.to_string()).unwrap_or_default();
    Ok(view! {
        <section class="card stack content-narrow">
            <h2>"What it keeps"</h2>
            <p>{format!("Now: {rule}. A row of a tag's history loses its image only when it is beyond both limits; what tags point to and what apps may go back to always stays.")}</p>
            <form class="stack" method="post" action=format!("{path}/retention")>
                <div class="field-row">
                    <TextField name="keep_versions" label="Versions of each tag" value=number(shown.keep_versions) autocomplete="off" hint="Empty: no limit by number." />
                    <TextField name="keep_days" label="Days" value=number(shown.keep_days) autocomplete="off" hint="Empty: no limit by age." />
                    <TextField name="untagged_days" label="Days without a tag" value=number(shown.untagged_days) autocomplete="off" hint="For images that never had one. Empty: they stay." />
                </div>
                <div class="form-actions">
                    <button class="btn" name="preview" value="1">"Show what would go"</button>
                    <button class="btn btn-primary">"Save"</button>
                </div>
            </form>
            {preview}
        </section>
    }
    .into_any())
}

/// What would go by a rule.
fn going(rule: &RetentionRule, rows: &[Garbage]) -> AnyView {
    let manifests: Vec<_> = rows.iter().filter(|row| row.kind == GarbageKind::Manifest).collect();
    let words = match manifests.len() {
        0 => format!("With {rule}, nothing would go now."),
        count => {
            let bytes = size_words(bytes_of(rows));
            format!("With {rule}, {count} images would go once the grace is over, and {bytes} with them:")
        }
    };
    let table = (!manifests.is_empty()).then(|| {
        let rows: Vec<_> = manifests
            .into_iter()
            .take(SHOWN)
            .map(|row| {
                view! {
                    <tr>
                        <th scope="row"><DigestText digest=row.digest.clone() /></th>
                        <td class="num nowrap" data-label="Size">{size_words(row.size)}</td>
                    </tr>
                }
            })
            .collect();
        view! { <DataTable columns=&[Col::Text("Image"), Col::Number("Size")]>{rows}</DataTable> }
    });
    view! { <p role="status">{words}</p> {table} }.into_any()
}

fn moment(cx: &Cx) -> Moment {
    let grace_ms = i64::try_from(cx.settings().gc_grace.as_millis()).unwrap_or(i64::MAX);
    cx.store().moment(now(), grace_ms)
}

fn read(field: impl Fn(&str) -> String) -> Result<RetentionRule, UiError> {
    let number = |name: &str| match field(name).as_str() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| UiError::field(name, "Type a number, or nothing for no limit")),
    };
    Ok(RetentionRule {
        keep_versions: number("keep_versions")?,
        keep_days: number("keep_days")?,
        untagged_days: number("untagged_days")?,
    })
}

/// A refusal at the field that the form has for it.
fn at_field(error: store::Error) -> UiError {
    match error {
        store::Error::Invalid { field, message } => {
            let name = match field.as_str() {
                "keepDays" => "keep_days",
                "untaggedDays" => "untagged_days",
                _ => "keep_versions",
            };
            UiError::field(name, message)
        }
        other => other.into(),
    }
}

/// Keeps the rule, or leads to what would go by it.
pub async fn post(cx: Cx, fields: Fields) -> Response {
    let path = format!("/p/{}/streams/{}/settings", cx.param("project"), cx.param("stream"));
    cx.submit(&fields, &path, async {
        let (_, stream) = open(&cx, Right::Admin).await?;
        let rule = read(|name| fields.get(name).to_owned())?;
        let (moment, actor) = (moment(&cx), cx.actor()?);
        if fields.ticked("preview") {
            // Refused here, where what was typed is still in the form.
            cx.store().preview_retention(&stream, &rule, &moment, &actor).await.map_err(at_field)?;
            let number = |value: Option<i64>| value.map(|value| value.to_string()).unwrap_or_default();
            let (versions, days, untagged) =
                (number(rule.keep_versions), number(rule.keep_days), number(rule.untagged_days));
            let query = format!("rule=1&keep_versions={versions}&keep_days={days}&untagged_days={untagged}");
            return Ok(format!("{path}?{query}"));
        }
        cx.store().set_retention(&stream, &rule, &moment, &actor).await.map_err(at_field)?;
        Ok(path.clone())
    })
    .await
}
