//! Makes images searchable by what they are built on: as their build knows it, as they say themselves, else as their layers show.
//!
//! What layers show changes without the image: a base comes after what is built on it, goes, or gets another tag. Each of these writes its
//! chain to `search_due`, one row however much is built on it, and the controller `search` indexes that anew, some at a time, the chain
//! that waits longest first.
//!
//! A base in another project is for those to find by who may see that project: its terms stand under `base@<the project's id>`.

use std::collections::BTreeSet;

use super::bases::{BUILD_INPUTS, Said, base_of_inputs};
use super::{Result, Store, WriteTx};
use crate::model::{ImageConfig, SearchTerms, now};
use crate::server::hash::{chain_ids, sha256};
use crate::server::wake::Controller;

/// The lowest layers of image `$1` that are all of another image's, the most of them first.
const CHAINS_BELOW: &str = "select c.chain from image_chains c where c.digest = $1 and c.above > 0 \
     and exists (select 1 from image_chains w where w.chain = c.chain and w.above = 0) order by c.above";

/// Images that chain `$1` is all of, each with a repository: in the order in which an image's page chooses. Of those that differ in nothing
/// but their configuration a hundred are enough.
const WHOLE: &str = "select r.project_id, p.name as project, s.id as stream_id, s.name as stream, i.digest \
     from (select digest from image_chains where chain = $1 and above = 0 order by digest limit 100) w \
     join images i on i.digest = w.digest join repository_images r on r.digest = w.digest \
     join streams s on s.id = r.stream_id join projects p on p.id = s.project_id \
     order by i.first_seen_at, i.digest, p.name, s.name limit 500";

/// Tags of stream `$2` that point or pointed to image `$1`.
const TAGS: &str = "select distinct t.name from tag_events e join tags t on t.id = e.tag_id \
     where e.digest = $1 and t.stream_id = $2 and t.deleted_at is null and e.outcome = 'moved' order by t.name limit 8";

/// What is built on chain `$1`, behind image `$2` of stream `$3`.
const BUILT_ON: &str = "select r.stream_id, r.project_id, r.digest from image_chains c join repository_images r on r.digest = c.digest \
     where c.chain = $1 and c.above > 0 and c.digest >= $2 and (r.digest, r.stream_id) > ($2, $3) order by r.digest, r.stream_id limit $4";

/// Who waits longest. It keeps its place until it is gone through.
const FIRST_DUE: &str = "select chain, digest, stream_id, again from search_due order by due_at, chain limit 1";

/// A chain that waits already: one that was begun is not begun anew, or one that changes often would never come to its end.
macro_rules! waits_already {
    () => {
        " on conflict (chain) do update set again = case when search_due.digest = '' then 0 else 1 end"
    };
}

/// In how many projects bases of one image are looked for.
const MOST_PROJECTS: usize = 8;

/// An image that another may be built on, in one repository.
#[derive(sqlx::FromRow)]
struct Below {
    project_id: String,
    project: String,
    stream_id: String,
    stream: String,
    digest: String,
}

/// A chain whose images are to be indexed anew, and the image of a stream behind which that goes on.
#[derive(sqlx::FromRow)]
struct Due {
    chain: i64,
    digest: String,
    stream_id: String,
    /// 1 when it changed since it was begun.
    again: i64,
}

impl Store {
    /// Indexes anew up to `limit` images that are built on what came, went or changed its name; false when there was nothing to do.
    pub async fn index_due_bases(&self, limit: i64) -> Result<bool> {
        if sqlx::query("select 1 from search_due limit 1").fetch_optional(self.pool()).await?.is_none() {
            return Ok(false);
        }
        let mut tx = self.write_tx().await?;
        let Some(due) = sqlx::query_as::<_, Due>(FIRST_DUE).fetch_optional(&mut *tx).await? else { return Ok(false) };
        let Due { chain, digest, stream_id, again } = due;
        let some: Vec<(String, String, String)> =
            sqlx::query_as(BUILT_ON).bind(chain).bind(&digest).bind(&stream_id).bind(limit).fetch_all(&mut *tx).await?;
        for (stream_id, project_id, digest) in &some {
            tx.index_bases(stream_id, project_id, digest).await?;
        }
        match some.last() {
            Some((stream_id, _, digest)) => {
                sqlx::query("update search_due set digest = $2, stream_id = $3 where chain = $1")
                    .bind(chain)
                    .bind(digest)
                    .bind(stream_id)
            }
            None if again == 1 => {
                // Those that came meanwhile go before it.
                sqlx::query(
                    "update search_due set digest = '', stream_id = '', again = 0, due_at = $2 where chain = $1",
                )
                .bind(chain)
                .bind(now())
            }
            None => sqlx::query("delete from search_due where chain = $1").bind(chain),
        }
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(true)
    }
}

impl WriteTx {
    /// Writes by what an image's layers are found from below and from above.
    pub(super) async fn write_chains(&mut self, digest: &str, config: Option<&str>) -> Result<()> {
        let chains = chains_of(config);
        for (above, chain) in (0_i64..).zip(chains.iter().rev()) {
            sqlx::query("insert into image_chains (digest, above, chain) values ($1, $2, $3) on conflict do nothing")
                .bind(digest)
                .bind(above)
                .bind(key(chain))
                .execute(&mut **self)
                .await?;
        }
        Ok(())
    }

    /// An image came to a repository, or to a tag: what is built on it is to be found by that.
    pub(super) async fn base_changed(&mut self, digest: &str) -> Result<()> {
        let due = sqlx::query(concat!(
            "insert into search_due (chain, due_at) select c.chain, cast($2 as bigint) from image_chains c where c.digest = $1 and c.above = 0 \
             and exists (select 1 from image_chains b where b.chain = c.chain and b.above > 0)",
            waits_already!()
        ));
        if due.bind(digest).bind(now()).execute(&mut **self).await?.rows_affected() > 0 {
            self.wake(Controller::Search);
        }
        Ok(())
    }

    /// As [`WriteTx::base_changed`], of the images that repositories are about to lose.
    pub(super) async fn bases_leave(&mut self) -> Result<()> {
        let due = sqlx::query(concat!(
            "insert into search_due (chain, due_at) select distinct c.chain, cast($1 as bigint) from repository_images r \
             join image_chains c on c.digest = r.digest and c.above = 0 where r.leaving = 1 \
             and exists (select 1 from image_chains b where b.chain = c.chain and b.above > 0)",
            waits_already!()
        ));
        if due.bind(now()).execute(&mut **self).await?.rows_affected() > 0 {
            self.wake(Controller::Search);
        }
        Ok(())
    }

    /// Looks again what an image of a repository is built on; nothing when it has no entry yet.
    pub(super) async fn index_bases(&mut self, stream_id: &str, project_id: &str, digest: &str) -> Result<()> {
        let found: Option<(i64, Option<String>, String)> = sqlx::query_as(
            "select e.id, i.config, i.annotations from search_entries e join images i on i.digest = e.digest \
             where e.stream_id = $1 and e.digest = $2",
        )
        .bind(stream_id)
        .bind(digest)
        .fetch_optional(&mut **self)
        .await?;
        let Some((entry, config, annotations)) = found else { return Ok(()) };
        let config: ImageConfig = config.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        sqlx::query("delete from search_terms where entry_id = $1 and (field = 'base' or field like 'base@%')")
            .bind(entry)
            .execute(&mut **self)
            .await?;
        self.write_bases(entry, stream_id, project_id, digest, &config, &annotations).await
    }

    /// Writes the terms of an image's bases to its entry, which has none.
    pub(super) async fn write_bases(
        &mut self,
        entry: i64,
        stream_id: &str,
        project_id: &str,
        digest: &str,
        config: &ImageConfig,
        annotations: &str,
    ) -> Result<()> {
        let mut known = SearchTerms::default();
        let said = Said::of(annotations, config);
        known.add_base(said.name.as_deref(), said.digest.as_deref());
        let inputs: Option<(String,)> =
            sqlx::query_as(BUILD_INPUTS).bind(digest).bind(stream_id).fetch_optional(&mut **self).await?;
        if let Some((inputs,)) = inputs
            && let Some(base) = base_of_inputs(&inputs, &said)?
        {
            known.add_base(base.name.as_deref(), base.digest.as_deref());
        }
        if !known.is_empty() {
            return self.write_base(project_id, entry, "base", &known).await;
        }
        for below in self.images_below(digest).await? {
            let name = format!("{}/{}", below.project, below.stream);
            let mut terms = SearchTerms::default();
            terms.add_base(Some(&name), Some(&below.digest));
            let tags: Vec<(String,)> =
                sqlx::query_as(TAGS).bind(&below.digest).bind(&below.stream_id).fetch_all(&mut **self).await?;
            for (tag,) in tags {
                terms.add_base(Some(&format!("{name}:{tag}")), None);
            }
            let is_own = below.project_id == project_id;
            let field = if is_own { "base".to_owned() } else { format!("base@{}", below.project_id) };
            self.write_base(project_id, entry, &field, &terms).await?;
        }
        Ok(())
    }

    async fn write_base(&mut self, project_id: &str, entry: i64, field: &str, terms: &SearchTerms) -> Result<()> {
        let terms: Vec<(&str, &str)> = terms.iter().map(|(_, term)| (field, term)).collect();
        self.write_terms("image", project_id, entry, &terms).await
    }

    /// The base that the layers show to somebody who sees one project alone, for each project that has one, as far as so many are of use.
    async fn images_below(&mut self, digest: &str) -> Result<Vec<Below>> {
        let chains: Vec<(i64,)> = sqlx::query_as(CHAINS_BELOW).bind(digest).fetch_all(&mut **self).await?;
        let (mut below, mut projects) = (Vec::new(), BTreeSet::new());
        for (chain,) in chains {
            let whole: Vec<Below> = sqlx::query_as(WHOLE).bind(chain).fetch_all(&mut **self).await?;
            below.extend(whole.into_iter().filter(|one| projects.insert(one.project_id.clone())));
            if below.len() >= MOST_PROJECTS {
                break;
            }
        }
        below.truncate(MOST_PROJECTS);
        Ok(below)
    }
}

/// The name of all of an image's layers; none when its configuration does not list them.
pub(super) fn chain_of(config: Option<&str>) -> Option<String> {
    chains_of(config).pop()
}

fn chains_of(config: Option<&str>) -> Vec<String> {
    let config = config.and_then(|text| serde_json::from_str::<ImageConfig>(text).ok()).unwrap_or_default();
    chain_ids(&config.rootfs.diff_ids)
}

/// A chain's name, short enough to keep one for each layer of each image.
fn key(chain: &str) -> i64 {
    i64::from_str_radix(&sha256(chain.as_bytes()).hex()[..15], 16).unwrap_or_default()
}

#[cfg(test)]
mod tests;
