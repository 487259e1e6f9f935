//! Walking through a list by its keys: the address holds the key of the row before the page, so a page costs the same everywhere.

use leptos::prelude::*;

use crate::ui::context::Cx;

/// How many rows a page has, from `?n=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSize(pub usize);

impl PageSize {
    const CHOICES: [usize; 4] = [25, 50, 100, 200];

    /// What the address asks for, or 50.
    pub fn of(cx: &Cx) -> Self {
        let asked = cx.query("n").parse().ok();
        Self(asked.filter(|asked| Self::CHOICES.contains(asked)).unwrap_or(50))
    }

    /// What to ask the store for: one more than is shown tells whether there is more.
    pub fn limit(self) -> i64 {
        i64::try_from(self.0).unwrap_or(50) + 1
    }

    /// Cuts the row that only told that there is more; gives whether there was one.
    pub fn cut<T>(self, rows: &mut Vec<T>) -> bool {
        let more = rows.len() > self.0;
        rows.truncate(self.0);
        more
    }
}

/// First · Newer · Older. `next` is the key of the page's last row when there are more rows. The way back is kept in the address too.
#[component]
pub fn Pager(
    cx: Cx,
    next: Option<String>,
    #[prop(default = ("Newer", "Older"))] words: (&'static str, &'static str),
) -> impl IntoView {
    let after = cx.query("after").to_owned();
    // The keys of the pages before this one, oldest first; the first page's is empty.
    let trail: Vec<&str> = cx.query("trail").split(' ').filter(|key| !key.is_empty()).collect();
    let first = (!after.is_empty()).then(|| cx.with_query(&[("after", ""), ("trail", "")]));
    let newer = (!after.is_empty()).then(|| {
        let (last, rest) = trail.split_last().map_or(("", &[][..]), |(last, rest)| (*last, rest));
        cx.with_query(&[("after", last), ("trail", &rest.join(" "))])
    });
    let older = next.map(|next| {
        let from = trail.len().saturating_sub(30);
        let trail: Vec<&str> =
            trail[from..].iter().copied().chain([after.as_str()].into_iter().filter(|key| !key.is_empty())).collect();
        cx.with_query(&[("after", &next), ("trail", &trail.join(" "))])
    });
    if first.is_none() && older.is_none() {
        return ().into_any();
    }
    let link = |href: Option<String>, word: &'static str| match href {
        Some(href) => view! { <a class="btn btn-small" href=href>{word}</a> }.into_any(),
        None => view! { <span class="btn btn-small" aria-disabled="true">{word}</span> }.into_any(),
    };
    let size = PageSize::of(&cx).0;
    let sizes: Vec<_> = PageSize::CHOICES
        .into_iter()
        .map(|n| {
            let href = cx.with_query(&[("n", &n.to_string()), ("after", ""), ("trail", "")]);
            view! { <a href=href aria-current=(n == size).then_some("true")>{n}</a> }
        })
        .collect();
    view! {
        <nav class="pager" aria-label="Pages">
            <div class="btn-group">{link(first, "First")} {link(newer, words.0)} {link(older, words.1)}</div>
            <div class="cluster">"Rows: " {sizes}</div>
        </nav>
    }
    .into_any()
}
