//! Which users of an image a viewer may see by name: builds and apps of other projects may use it, too.

use std::collections::BTreeMap;

use crate::server::auth::Right;
use crate::ui::context::Cx;

/// Tells what the viewer may see, and counts what they may not.
pub struct Sight<'a> {
    cx: &'a Cx,
    projects: BTreeMap<String, bool>,
    pub hidden: usize,
}

impl<'a> Sight<'a> {
    pub fn of(cx: &'a Cx, own: &str) -> Self {
        Self { cx, projects: BTreeMap::from([(own.to_owned(), true)]), hidden: 0 }
    }

    /// Whether it reaches into a project; counts what it does not reach.
    pub async fn reaches(&mut self, project: &str) -> bool {
        let reaches = match self.projects.get(project) {
            Some(reaches) => *reaches,
            None => self.cx.project_named(project, Right::View).await.is_ok(),
        };
        self.projects.insert(project.to_owned(), reaches);
        self.hidden += usize::from(!reaches);
        reaches
    }

    /// What it did not reach, if anything.
    pub fn in_words(&self) -> Option<String> {
        match self.hidden {
            0 => None,
            1 => Some("one more in a project you have no role in".to_owned()),
            many => Some(format!("{many} more in projects you have no role in")),
        }
    }
}
