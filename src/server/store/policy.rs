//! Images that say of themselves that nothing may run them: `images.openshift.io/deny-execution` in their manifest's annotations, as
//! OpenShift's image policy has it. They can be stored, moved about and looked at; no build takes them in and no app runs them.

use std::collections::BTreeMap;

use super::{Result, Store};

/// The annotation; `true` prohibits.
const DENY_EXECUTION: &str = "images.openshift.io/deny-execution";
/// What is said where such an image would have run.
pub const PROHIBITED: &str = "this image is prohibited by policy";

impl Store {
    /// Whether an image, or one that it lists as an index, must not run.
    pub async fn is_prohibited(&self, digest: &str) -> Result<bool> {
        let annotations: Vec<(String,)> = sqlx::query_as(
            "select annotations from images where annotations <> '{}' and (digest = $1 \
             or digest in (select child_digest from image_children where digest = $1))",
        )
        .bind(digest)
        .fetch_all(self.pool())
        .await?;
        for (annotations,) in annotations {
            let annotations: BTreeMap<String, String> = serde_json::from_str(&annotations)?;
            if annotations.get(DENY_EXECUTION).is_some_and(|value| value == "true") {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use crate::model::{Actor, ImageChild, NewImage};
    use crate::server::store::testing::{each_store, project};

    #[tokio::test]
    async fn section_7_3_an_image_says_of_itself_that_nothing_may_run_it() {
        for store in each_store().await {
            project(&store, "demo").await;
            let actor = Actor::person("ada");
            let stream = store.ensure_stream("demo", &"app".parse().unwrap(), &actor).await.unwrap();
            let digest = |n: u8| format!("sha256:{n:064x}");
            let put = async |n: u8, annotations: &str, children: Vec<ImageChild>| {
                let annotations = annotations.to_owned();
                let manifest = "{}".to_owned();
                let image = NewImage { digest: digest(n), manifest, annotations, children, ..NewImage::default() };
                store.put_manifest(&stream, &image, None, &actor).await.unwrap();
            };
            put(1, "{}", vec![]).await;
            put(2, r#"{"images.openshift.io/deny-execution": "true"}"#, vec![]).await;
            put(3, r#"{"images.openshift.io/deny-execution": "false", "a": "true"}"#, vec![]).await;
            let child = ImageChild {
                child_digest: digest(2),
                media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
                size: 2,
                architecture: None,
                os: None,
                variant: None,
            };
            put(4, "{}", vec![child]).await;
            for (n, prohibited) in [(1, false), (2, true), (3, false), (4, true), (5, false)] {
                assert_eq!(store.is_prohibited(&digest(n)).await.unwrap(), prohibited, "{n}");
            }
        }
    }
}
