//! The end of pull tokens that no engine uses any more.

use super::{Result, Store};
use crate::model::now;

impl Store {
    /// Ends the pull tokens of that name but for the newest, which the engine has now; with `all`, that one too.
    pub async fn end_pull_tokens(&self, name: &str, all: bool) -> Result<()> {
        let mut tx = self.write_tx().await?;
        sqlx::query(
            "update tokens set revoked_at = $2 where kind = 'pull' and name = $1 and revoked_at is null and ($3 = 1 or id <> \
             (select max(id) from tokens where kind = 'pull' and name = $1 and revoked_at is null))",
        )
        .bind(name)
        .bind(now())
        .bind(i64::from(all))
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use crate::model::Actor;
    use crate::server::store::NewToken;
    use crate::server::store::testing::{each_store, project};

    #[tokio::test]
    async fn only_the_newest_pull_token_of_an_app_stays_good() {
        let actor = Actor::system("test");
        for store in each_store().await {
            let demo = project(&store, "demo").await;
            let mut texts = Vec::new();
            for name in ["demo/a", "demo/a", "demo/b"] {
                texts.push(store.create_token(NewToken::pull(name, &demo), &actor).await.unwrap().1);
            }
            let good = async || {
                let mut good = Vec::new();
                for text in &texts {
                    good.push(store.find_token(text.expose_secret()).await.unwrap().is_some());
                }
                good
            };
            store.end_pull_tokens("demo/a", false).await.unwrap();
            store.end_pull_tokens("demo/a", false).await.unwrap();
            assert_eq!(good().await, [false, true, true]);
            store.end_pull_tokens("demo/a", true).await.unwrap();
            assert_eq!(good().await, [false, false, true]);
        }
    }
}
