//! Rows of a tag's history, as the tag's page and the stream's page list them.

use leptos::prelude::*;

use super::streams::kind_words;
use crate::model::{EventKind, Outcome, TagEvent, counted};
use crate::ui::components::{Act, Ago, AsOf, Badge, Col, DataTable, DigestText, Icon, More, Tone, Who, size_words};
use crate::ui::context::address;

/// How a row is shown.
#[derive(Debug, Clone, Default)]
pub struct RowPlace {
    /// `/p/<project>`
    pub project_path: String,
    /// Sequence of the row the tag points to now; `None` where the list is of many tags.
    pub current: Option<i64>,
    /// Its digest.
    pub current_digest: Option<String>,
    /// Sequence of the row it pointed to at the moment that is looked back at.
    pub then: Option<i64>,
    /// Digests no automation may put back.
    pub rejected: Vec<String>,
    /// The reader may roll back.
    pub can_edit: bool,
    /// Going back takes more than one click: an admin, and a reason.
    pub asks_first: bool,
    /// Rows name their tag.
    pub with_tag: bool,
    /// The moment that is looked back at, which links keep.
    pub as_of: Option<AsOf>,
}

impl RowPlace {
    fn link(&self, path: &str) -> String {
        AsOf::keep(self.as_of.as_ref(), path)
    }
}

/// A table of history rows.
#[component]
pub fn HistoryTable(place: RowPlace, events: Vec<TagEvent>) -> impl IntoView {
    let with_tag = place.with_tag;
    let rows: Vec<_> = events.into_iter().map(|event| row(&place, event)).collect();
    let mut columns = vec![Col::Number("#")];
    columns.extend(with_tag.then_some(Col::Text("Tag")));
    columns.extend(["Moved", "Image", "How", "Why"].map(Col::Text));
    columns.extend([Col::Number("Size"), Col::Actions]);
    view! {
        <DataTable columns live="history">{rows}</DataTable>
    }
}

fn row(place: &RowPlace, event: TagEvent) -> AnyView {
    let tag_path = format!("{}/streams/{}/tags/{}", place.project_path, event.stream, event.tag);
    let current = place.current == Some(event.sequence);
    let rejected = event.digest.as_ref().is_some_and(|digest| place.rejected.contains(digest))
        || event.outcome == Outcome::Rejected;
    let then = place.then == Some(event.sequence);
    let class = if current || then {
        "is-current"
    } else if rejected {
        "is-rejected"
    } else {
        ""
    };
    let image = event.digest.clone().map(|digest| {
        let href = place.link(&format!("{}/streams/{}/images/{digest}", place.project_path, event.stream));
        view! { <DigestText digest href /> }
    });
    let state = match event.outcome {
        Outcome::Held => Some((Tone::Held, "Held back")),
        Outcome::Rejected => Some((Tone::Muted, "Skipped: rejected")),
        Outcome::Immutable => Some((Tone::Muted, "Refused: immutable")),
        Outcome::OtherKind => Some((Tone::Muted, "Refused: other kind")),
        Outcome::Deleted => Some((Tone::Muted, "Tag deleted")),
        Outcome::Moved if current => Some((Tone::Ok, "Current")),
        Outcome::Moved if then => Some((Tone::Muted, "Pointed to then")),
        Outcome::Moved if rejected => Some((Tone::Muted, "Rejected")),
        Outcome::Moved => None,
    };
    let state = state.map(|(tone, text)| view! { <Badge tone text /> });
    let gone = event.is_gone().then(|| view! { <Badge tone=Tone::Muted text="Gone" /> });
    let broken = event.problem.clone().filter(|_| !event.is_gone());
    let broken = broken.map(|problem| view! { <span title=problem><Badge tone=Tone::Fail text="Not whole" /></span> });
    let tag = place.with_tag.then(|| {
        view! {
            <td data-label="Tag">
                <a href=place.link(&tag_path)>{event.tag.clone()}</a>
            </td>
        }
    });
    view! {
        <tr class=class data-row=event.sequence>
            <th scope="row" class="num" data-label="#">
                {event.number}
            </th>
            {tag}
            <td data-label="Moved">
                <Ago at=event.at />
                <span class="cell-sub">
                    <Who kind=event.actor_kind name=event.actor.clone() />
                </span>
                {event.repeated_at.map(|at| {
                    let times = counted(event.repeats, "more time");
                    view! { <span class="cell-sub">{format!("{times}, last ")}<Ago at /></span> }
                })}
            </td>
            <td data-label="Image">
                <span class="cluster gap-x-2 gap-y-0">{image} {state} {gone} {broken}</span>
                {event.kind_change().map(|words| view! { <span class="cell-sub">{words}</span> })}
            </td>
            <td data-label="How">{how(place, &event)}</td>
            <td data-label="Why">{why(place, &event)}</td>
            <td class="num nowrap" data-label="Size">
                {event.size.map(size_words)}
            </td>
            <td>{actions(place, &tag_path, &event)}</td>
        </tr>
    }
    .into_any()
}

/// The kind as icon and words, with the build or the row it leads to.
fn how(place: &RowPlace, event: &TagEvent) -> AnyView {
    let icon = match event.kind {
        EventKind::Push => "push",
        EventKind::Import => "import",
        EventKind::Build => "build",
        EventKind::Follow => "follow",
        EventKind::Rollback => "rollback",
        EventKind::Restore => "restore",
        EventKind::Api if event.outcome == Outcome::Deleted => "delete",
        EventKind::Api => "api",
    };
    let words = match (event.kind, event.to_number) {
        (EventKind::Rollback, Some(number)) => format!("rolled back to #{number}"),
        (EventKind::Restore, Some(number)) => format!("restored to #{number}"),
        (EventKind::Api, _) if event.outcome == Outcome::Deleted => "deleted".to_owned(),
        (kind, _) => kind_words(Some(kind)).to_owned(),
    };
    let build = event.build.as_ref().and_then(|build| {
        let (config, number) = build.rsplit_once('-')?;
        let href = place.link(&format!("{}/builds/{config}/runs/{number}", place.project_path));
        Some(view! { " "<a href=href>{format!("{config} #{number}")}</a> })
    });
    view! {
        <span class="icon-text">
            <Icon name=icon />
            <span>{words} {build}</span>
        </span>
    }
    .into_any()
}

/// The reason given, and the cascade it belongs to.
fn why(place: &RowPlace, event: &TagEvent) -> AnyView {
    let reason = event.reason.clone().map(|reason| view! { <span class="break">{reason}</span> });
    let cascade = event.cascade_number.map(|number| {
        let href = place.link(&format!("{}/cascades/{number}", place.project_path));
        view! { <a class="cell-sub nowrap" href=href>{format!("cascade {number}")}</a> }
    });
    view! { {reason} {cascade} }.into_any()
}

fn actions(place: &RowPlace, tag_path: &str, event: &TagEvent) -> AnyView {
    let Some(digest) = &event.digest else { return ().into_any() };
    let open = place.link(&format!("{}/streams/{}/images/{digest}", place.project_path, event.stream));
    let differs = place.current_digest.as_ref().is_some_and(|current| current != digest);
    let here = format!("to #{}", event.number);
    // What a hold kept back is applied by resuming, not by going back.
    let back = (place.can_edit && differs && event.outcome == Outcome::Moved && !event.is_gone()).then(|| {
        let fields = vec![
            ("to", event.sequence.to_string()),
            ("seen", place.current.map(|seen| seen.to_string()).unwrap_or_default()),
        ];
        let click = (!place.asks_first)
            .then(|| view! { <Act action=format!("{tag_path}/rollback") label="Roll back" fields on=here.clone() /> });
        view! {
            {click}
            <a class="btn btn-small btn-quiet" href=format!("{tag_path}/rollback?to={}", event.sequence)>
                "Roll back…"
                <span class="visually-hidden">{format!(" {here}, after a look")}</span>
            </a>
        }
    });
    let compare = |from: &str, to: &str, words: &'static str| {
        let path = format!("{}/streams/{}/compare", place.project_path, event.stream);
        let query = [("from", from), ("to", to), ("tag", event.tag.as_str())];
        view! { <a href=place.link(&address(&path, query.into_iter()))>{words}</a> }
    };
    // What is current came after the moment that is looked back at.
    let current = place.current_digest.as_deref().filter(|_| differs && place.as_of.is_none());
    let current = current.map(|current| compare(digest, current, "Compare with current"));
    let previous = event.from_digest.as_deref().filter(|from| from != digest);
    let previous = previous.map(|previous| compare(previous, digest, "Compare with previous"));
    let (on, copied) = (format!("#{}", event.number), digest.clone());
    view! {
        <div class="row-actions flex-nowrap">
            {back} <More on=on>
                <a href=open>"Open image"</a>
                {current}
                {previous}
                <button type="button" data-copy=copied>
                    "Copy digest"
                </button>
            </More>
        </div>
    }
    .into_any()
}
