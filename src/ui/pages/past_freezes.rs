//! The freezes that a project had at a moment, each as it stood then. Nothing here acts.

use leptos::prelude::*;

use super::freezes::table;
use crate::server::auth::Right;
use crate::ui::app::PageResult;
use crate::ui::components::{AsOf, Empty, PageSize, Pager};
use crate::ui::context::Cx;
use crate::ui::shell::{Page, Section};

/// `/p/:project/freezes?as-of=`
pub async fn page(cx: Cx, as_of: AsOf) -> PageResult {
    let project = cx.project(Right::View).await?;
    let (size, before) = (PageSize::of(&cx), cx.query("after").parse().ok());
    let mut freezes = cx.store().list_freezes_then(&project.name, &as_of.0, before, size.limit()).await?;
    let more = size.cut(&mut freezes);
    let next = freezes.last().filter(|_| more).map(|last| last.number.to_string());
    let list = if freezes.is_empty() {
        view! { <Empty heading="There was no freeze"><p>"None had been made by that moment, or there are no more of them."</p></Empty> }
            .into_any()
    } else {
        table(cx.path(), false, freezes, as_of.0.end - 1)
    };
    let body = view! {
        {list}
        <Pager cx=cx.clone() next />
    };
    let settings = as_of.link(&format!("/p/{}/settings", project.name));
    Ok(Page::new("Freezes", body).within(&project, Section::Settings).crumb("Settings", settings).past(&cx, &as_of))
}
