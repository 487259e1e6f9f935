//! The frame that all tables share. On phones each row is a card, whose cells are named by their `data-label` (see `style/base.css`).

use leptos::prelude::*;

/// The head of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Col {
    Text(&'static str),
    /// Its name is a link that sorts by it; `order` is `ascending` or `descending` where rows are sorted by it already.
    Sorted {
        name: &'static str,
        href: String,
        order: Option<&'static str>,
    },
    /// Set to the right, like its numbers.
    Number(&'static str),
    /// Buttons: named for those who hear the page only.
    Actions,
}

/// A table: the names of its columns over the rows, which are its children.
#[component]
pub fn DataTable(
    #[prop(into)] columns: Vec<Col>,
    /// The island that keeps pages fresh replaces the rows under this name.
    #[prop(optional)]
    live: Option<&'static str>,
    children: Children,
) -> impl IntoView {
    let heads: Vec<_> = columns.into_iter().map(head).collect();
    view! {
        <div class="table-wrap">
            <table class="table">
                <thead>
                    <tr>{heads}</tr>
                </thead>
                <tbody data-live=live>{children()}</tbody>
            </table>
        </div>
    }
}

fn head(column: Col) -> AnyView {
    match column {
        Col::Text(name) => view! { <th scope="col">{name}</th> }.into_any(),
        Col::Sorted { name, href, order } => view! {
            <th scope="col" aria-sort=order>
                <a href=href>{name}</a>
            </th>
        }
        .into_any(),
        Col::Number(name) => view! { <th scope="col" class="num">{name}</th> }.into_any(),
        Col::Actions => view! { <th scope="col"><span class="visually-hidden">"Actions"</span></th> }.into_any(),
    }
}
