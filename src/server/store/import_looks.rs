//! When streams were last imported into, or it was tried: the newest look at what their tags, or their rule, take in.

use std::collections::HashMap;

use super::{Result, Store};

impl Store {
    /// Of a project's streams from `first` to `last`, by id, when anything of them was last looked for elsewhere.
    pub(super) async fn last_looks(&self, project: &str, first: &str, last: &str) -> Result<HashMap<String, i64>> {
        let looks: Vec<(String, i64)> = sqlx::query_as(
            "select x.id, max(x.at) from (\
               select s.id, i.last_try_at as at from projects p join streams s on s.project_id = p.id \
                 join tags t on t.stream_id = s.id and t.deleted_at is null join tag_imports i on i.tag_id = t.id \
                 where p.name = $1 and s.name >= $2 and s.name <= $3 \
               union all select s.id, r.tried_at from projects p join streams s on s.project_id = p.id \
                 join import_rules r on r.stream_id = s.id and r.name = 'docker-image-repository' \
                 where p.name = $1 and s.name >= $2 and s.name <= $3) x where x.at is not null group by x.id",
        )
        .bind(project)
        .bind(first)
        .bind(last)
        .fetch_all(self.pool())
        .await?;
        Ok(looks.into_iter().collect())
    }
}
