//! What a tag resolves to, and why: on its page, on apps that run it and builds that take it in.

use leptos::prelude::*;

use crate::model::{ConfigInput, Lookup, Reason, Resolved, TagFacts, resolve};
use crate::ui::components::CopyText;

/// The card of the tag's page.
pub fn card(resolved: &Resolved) -> AnyView {
    let here = resolved.here.clone().filter(|here| *here != resolved.pull_spec).map(|here| {
        view! {
            <dt>"Builds and apps of this server pull"</dt>
            <dd>
                <CopyText text=here />
            </dd>
        }
    });
    view! {
        <section class="card" data-live="resolution">
            <h2>"Resolves to"</h2>
            <dl class="facts">
                <dt>"Pull spec"</dt>
                <dd>
                    <CopyText text=resolved.pull_spec.clone() />
                </dd>
                {here}
                <dt>"Why"</dt>
                <dd>{why(resolved)}</dd>
            </dl>
        </section>
    }
    .into_any()
}

/// The steps from the reference to the image.
pub fn why(resolved: &Resolved) -> AnyView {
    let steps: Vec<_> =
        resolved.why.iter().map(|reason| view! { <li class="break">{reason.to_string()}</li> }).collect();
    view! { <ol class="stack gap-1">{steps}</ol> }.into_any()
}

/// Why an input of a build comes to its image, in one line. That it points somewhere the table shows by itself.
pub fn why_input(input: &ConfigInput, host: &str) -> Option<AnyView> {
    let facts = TagFacts::of_input(input)?;
    let words: Vec<String> = match resolve(&facts, Lookup::Image, host) {
        Ok(found) => {
            let told = |reason: &&Reason| {
                !matches!(reason, Reason::Points { .. } | Reason::PolicySource | Reason::PolicyLocal)
            };
            found.why.iter().filter(told).map(ToString::to_string).collect()
        }
        Err(unresolved) => vec![unresolved.to_string()],
    };
    let short = (input.short_name == 1).then(|| {
        let (stream, project) = (facts.stream.to_owned(), facts.project.to_owned());
        Reason::ShortName { stream, project }.to_string()
    });
    let words: Vec<String> = short.into_iter().chain(words).collect();
    (!words.is_empty()).then(|| view! { <span class="cell-sub">{words.join("; ")}</span> }.into_any())
}
