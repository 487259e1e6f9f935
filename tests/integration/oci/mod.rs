//! The client for other registries, against real and contrary ones.

mod auth;
mod contrary;
mod distribution;

use weir::model::ImageReference;
use weir::server::oci::{Access, Client, Credentials, Error};

fn insecure() -> Access {
    Access { credentials: None, insecure: true }
}

fn as_user(username: &str, password: &str) -> Access {
    Access { credentials: Some(Credentials { username: username.into(), password: password.into() }), insecure: true }
}

/// All pages of a repository's tags.
async fn list_tags(client: &Client, repository: &ImageReference) -> Result<Vec<String>, Error> {
    let (mut tags, mut after) = (Vec::new(), None);
    loop {
        let page = client.list_tags_page(repository, after.as_deref(), &insecure()).await?;
        tags.extend(page.tags);
        after = page.next;
        if after.is_none() {
            return Ok(tags);
        }
    }
}
