//! Cascades as they were at a moment: those that had begun, each as far as it was. What one had still to do is not kept, nor whether it was
//! paused. Nothing here acts.

use leptos::prelude::*;

use super::cascade::{moves, step_table};
use super::cascade_steps::steps_then;
use super::cascades::{counts, number_of, state};
use super::sight::Sight;
use crate::server::auth::Right;
use crate::server::store::{CascadeSteps, CascadeSummary};
use crate::ui::app::PageResult;
use crate::ui::components::{Ago, AsOf, Col, DataTable, Empty, PageSize, Pager, Who};
use crate::ui::context::Cx;
use crate::ui::shell::{Page, Section};

/// `/p/:project/cascades?as-of=`
pub async fn page(cx: Cx, as_of: AsOf) -> PageResult {
    let project = cx.project(Right::View).await?;
    let (size, before) = (PageSize::of(&cx), cx.query("after").parse().ok());
    let mut cascades = cx.store().list_cascades_then(&project.name, &as_of.0, before, size.limit()).await?;
    let more = size.cut(&mut cascades);
    let next = cascades.last().filter(|_| more).map(|last| last.number.to_string());
    let list = if cascades.is_empty() {
        view! { <Empty heading="Nothing had cascaded"><p>"None had begun by that moment, or there are no more of them."</p></Empty> }
            .into_any()
    } else {
        table(&project.name, &as_of, &cascades)
    };
    let body = view! {
        <p class="muted">"Each as far as it was. Whether one that went on was paused is not kept."</p>
        {list}
        <Pager cx=cx.clone() next />
    };
    Ok(Page::new("Cascades", body).within(&project, Section::Cascades).past(&cx, &as_of))
}

/// Cascades with how they stood.
pub fn table(project: &str, as_of: &AsOf, cascades: &[CascadeSummary]) -> AnyView {
    let rows: Vec<_> = cascades.iter().map(|cascade| row(project, as_of, cascade)).collect();
    let columns = ["Cascade", "State then", "Done", "Moved", "By", "Began"].map(Col::Text).to_vec();
    view! { <DataTable columns>{rows}</DataTable> }.into_any()
}

fn row(project: &str, as_of: &AsOf, cascade: &CascadeSummary) -> AnyView {
    let path = as_of.link(&format!("/p/{project}/cascades/{}", cascade.number));
    let (steps, tags) = counts(cascade);
    view! {
        <tr>
            <th scope="row">
                <a class="cell-main" href=path>
                    {cascade.title.clone()}
                </a>
                <span class="cell-sub">{format!("#{}, {}", cascade.number, cascade.kind)}</span>
            </th>
            <td data-label="State then">{state(cascade)}</td>
            <td data-label="Done">{steps}</td>
            <td data-label="Moved">{tags}</td>
            <td data-label="By">{who(cascade)}</td>
            <td data-label="Began">
                <Ago at=cascade.created_at />
            </td>
        </tr>
    }
    .into_any()
}

fn who(cascade: &CascadeSummary) -> Option<AnyView> {
    let kind = cascade.actor_kind.parse().ok()?;
    Some(view! { <Who kind name=cascade.actor.clone() /> }.into_any())
}

/// What a cascade had done, as far as the viewer may see it: it goes on into other projects. The rest is counted, as lists count all of it.
struct Seen {
    done: CascadeSteps,
    other_steps: Option<String>,
    other_moves: Option<String>,
}

impl Seen {
    async fn of(cx: &Cx, own: &str, all: CascadeSteps) -> Self {
        let (mut steps, mut moves) = (Sight::of(cx, own), Sight::of(cx, own));
        let mut done = CascadeSteps::default();
        for build in all.builds {
            if steps.reaches(&build.project).await {
                done.builds.push(build);
            }
        }
        for rollout in all.rollouts {
            if steps.reaches(&rollout.project).await {
                done.rollouts.push(rollout);
            }
        }
        for event in all.events {
            if moves.reaches(&event.project).await {
                done.events.push(event);
            }
        }
        Self { done, other_steps: steps.in_words(), other_moves: moves.in_words() }
    }
}

/// `/p/:project/cascades/:cascade?as-of=`
pub async fn one_page(cx: Cx, as_of: AsOf) -> PageResult {
    let project = cx.project(Right::View).await?;
    let cascade = cx.store().cascade_then(&project.name, number_of(&cx)?, &as_of.0).await?;
    let done = cx.store().cascade_steps_then(&cascade.id, &as_of.0).await?;
    let seen = Seen::of(&cx, &project.name, done).await;
    let steps = steps_then(&seen.done.builds, &seen.done.rollouts);
    let body = view! {
        <p class="muted">"As far as it was. What it had still to do is not kept, nor whether it was paused."</p>
        <section class="stack gap-2">
            <h2>"Steps that had begun"</h2>
            {step_table(&steps, Some(&as_of))}
            {seen.other_steps.map(|words| view! { <p class="muted">{words}</p> })}
        </section>
        <section class="stack gap-2">
            <h2>"Tags it had moved"</h2>
            {moves(&project.name, &seen.done.events, Some(&as_of))}
            {seen.other_moves.map(|words| view! { <p class="muted">{words}</p> })}
        </section>
    };
    let meta = view! {
        <span>{format!("{} by ", cascade.kind)} {who(&cascade)}</span>
        <Ago at=cascade.created_at />
        {cascade.undone_by.clone().map(|by| view! { <span>{format!("undone by {by}")}</span> })}
    };
    Ok(Page::new(cascade.title.clone(), body)
        .kind("cascade")
        .within(&project, Section::Cascades)
        .crumb("Cascades", as_of.link(&format!("/p/{}/cascades", project.name)))
        .crumb(format!("#{}", cascade.number), as_of.link(cx.path()))
        .beside(state(&cascade))
        .meta(meta)
        .past(&cx, &as_of))
}
