//! What an import rule would choose, below its form.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use leptos::prelude::*;

use super::import_rule_form::read;
use super::stream::open;
use crate::model::{ImportRule, RuleTrial, Standing};
use crate::server::auth::Right;
use crate::server::importer::ImportError;
use crate::ui::components::{Badge, Col, DataTable, Tone};
use crate::ui::context::Cx;
use crate::ui::error::UiError;
use crate::ui::form::{Fields, FormState};

/// How many tags are shown.
const SHOWN: usize = 100;

/// What was tried: travels to the page of the same answer.
#[derive(Clone)]
struct Tried(Arc<RuleTrial>);

/// Answers with the page itself: the form as it was typed, and below it what it would do.
pub async fn answer(cx: &Cx, fields: &Fields, here: &str, rule: Option<&ImportRule>) -> Response {
    let tried = async {
        let (_, stream) = open(cx, Right::Edit).await?;
        let tried = cx.state.app.importer.try_rule(&stream, &read(fields)?, rule, &cx.actor()?).await;
        tried.map_err(|error| match error {
            ImportError::Store(error) => error.into(),
            ImportError::Crowded => UiError::TooMany(error.to_string()),
            error => UiError::field("repository", error.to_string()),
        })
    };
    match tried.await {
        Ok(trial) => {
            cx.with_extension(Tried(Arc::new(trial))).render(here, FormState::of(fields), StatusCode::OK).await
        }
        Err(error) => cx.refuse(fields, here, &error).await,
    }
}

/// What was tried, below the form.
pub fn below(cx: &Cx) -> Option<AnyView> {
    let Tried(trial) = cx.parts.extensions.get::<Tried>().cloned()?;
    let seen = match trial.is_whole {
        true => format!("The repository has {} tags; {} fit.", trial.seen, trial.fitting),
        false => format!("Of the first {} tags {} fit; the list was not read to its end.", trial.seen, trial.fitting),
    };
    let count = |wanted: fn(&Standing) -> bool| trial.tags.iter().filter(|(_, standing)| wanted(standing)).count();
    let new = count(|standing| *standing == Standing::New);
    let left_alone = count(|standing| matches!(standing, Standing::LeftAlone(_)));
    let chosen = format!(
        "{} would be selected: {new} new here, {} made by this rule before, {left_alone} left alone.",
        trial.tags.len(),
        trial.tags.len() - new - left_alone
    );
    let more = trial.tags.len().checked_sub(SHOWN + 1).map(|more| {
        let words = format!("… and {} more.", more + 1);
        view! { <p class="muted">{words}</p> }
    });
    let rows: Vec<_> = trial.tags.iter().take(SHOWN).map(|(tag, standing)| row(tag, *standing)).collect();
    let table = (!rows.is_empty()).then(|| {
        view! { <DataTable columns=&[Col::Text("Tag"), Col::Text("Here")]>{rows}</DataTable> }
    });
    let section = view! {
        <section class="stack content-narrow" role="status">
            <h2>"What this rule would choose"</h2>
            <p>{seen}" "{chosen}</p>
            {table}
            {more}
        </section>
    };
    Some(section.into_any())
}

fn row(tag: &str, standing: Standing) -> AnyView {
    let here = match standing {
        Standing::New => view! { <Badge tone=Tone::Ok text="New" /> }.into_any(),
        Standing::Own => view! { <Badge tone=Tone::Muted text="Made by this rule" /> }.into_any(),
        Standing::LeftAlone(why) => {
            view! { <Badge tone=Tone::Warn text="Left alone" /> <span class="cell-sub">{why.words()}</span> }.into_any()
        }
    };
    view! {
        <tr>
            <th scope="row" class="break">{tag.to_owned()}</th>
            <td data-label="Here">{here}</td>
        </tr>
    }
    .into_any()
}
