//! The import schedule from the outside: registries that do whatever a test tells them, several servers, webhooks, and what pages and
//! REST tell of it.

mod budgets;
mod gates;
mod hooks;
mod mirrors;
mod pages;
mod registries;
mod replicas;
mod troubles;
pub mod upstream;
mod words;

use weir::server::store::TagSpec;

use crate::support::{TestWeir, tester};

/// `<stream>:<tag>` of the project follows the reference.
async fn follow(weir: &TestWeir, project: &str, title: &str, spec: TagSpec) {
    let (stream, tag) = title.split_once(':').expect("stream:tag");
    let names = (stream.parse().expect("a name"), tag.parse().expect("a name"));
    let spec = TagSpec { insecure: true, ..spec };
    weir.store().set_tag(project, &names.0, &names.1, &spec, None, &tester()).await.expect("the tag follows");
}
