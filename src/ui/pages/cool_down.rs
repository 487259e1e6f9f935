//! What is new upstream and waits for a tag's cool-down: since when, until when, and the button that lets it pass now.

use axum::response::Response;
use axum::routing::post;
use leptos::prelude::*;

use super::tag::path_of;
use crate::model::{Cooling, Tag, TagImport};
use crate::server::auth::Right;
use crate::ui::components::{Act, Ago, DigestText, duration_words};
use crate::ui::context::{Cx, InProject};
use crate::ui::form::{Fields, Router};

/// What the button posts to.
pub fn router() -> Router {
    Router::new().route("/p/{project}/streams/{stream}/tags/{tag}/adopt", post(post_adopt))
}

/// What a tag's cool-down does, in words.
pub fn rule(tag: &Tag) -> String {
    match tag.cool_down_ms.unwrap_or(0) {
        0 => "none: what is new is taken over at once".to_owned(),
        ms => format!("what is new is taken over {} after it was first seen here", duration_words(ms)),
    }
}

/// What waits, as a line of a table with its button.
pub fn line(project: &InProject, path: &str, tag: &Tag, import: &TagImport) -> Option<AnyView> {
    let cooling = import.cooling(tag)?;
    let button = project.can_edit().then(|| adopt(path, &cooling, &tag.title()));
    Some(view! { <div class="cell-sub">{words(&cooling)} {button}</div> }.into_any())
}

/// What waits, above the page of the tag.
pub fn banner(project: &InProject, path: &str, tag: &Tag, import: &TagImport) -> Option<AnyView> {
    let cooling = import.cooling(tag)?;
    let button =
        project.can_edit().then(|| view! { <div class="banner-actions">{adopt(path, &cooling, &tag.title())}</div> });
    Some(
        view! {
            <section class="banner" aria-label="Cool-down" data-live="cool-down">
                <p>
                    <strong>"New upstream, and waiting: "</strong>
                    {words(&cooling)}
                </p>
                <p>"Check now looks for something newer, and does not make this one pass earlier; Adopt now does. If the source goes back to what the tag has, nothing waits any more."</p>
                {button}
            </section>
        }
        .into_any(),
    )
}

fn words(cooling: &Cooling<'_>) -> AnyView {
    let digest = cooling.digest.to_owned();
    let until = match cooling.adopt_by {
        Some(person) => view! { {format!("{person} said that it need not wait: it is taken over now")} }.into_any(),
        None => view! { "adopted "<Ago at=cooling.until />" at the earliest" }.into_any(),
    };
    view! { <DigestText digest />" first seen "<Ago at=cooling.first_seen_at />", "{until} }.into_any()
}

/// The button names what it lets pass: it is not for what may have come meanwhile.
fn adopt(path: &str, cooling: &Cooling<'_>, on: &str) -> AnyView {
    let fields = vec![("digest", cooling.digest.to_owned())];
    view! { <Act action=format!("{path}/adopt") label="Adopt now" fields on=on.to_owned() /> }.into_any()
}

async fn post_adopt(cx: Cx, fields: Fields) -> Response {
    let path = path_of(&cx);
    cx.submit(&fields, &path, async {
        let project = cx.project(Right::Edit).await?;
        let (stream, tag) = (cx.param("stream"), cx.param("tag"));
        cx.store().adopt_now(&project.name, stream, tag, fields.some("digest"), &cx.actor()?).await?;
        Ok(path.clone())
    })
    .await
}
