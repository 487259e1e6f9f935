//! Users: who can sign in.

use super::{Entry, Error, Result, Store, WriteTx, new_id};
use crate::model::{Actor, User, now};

const KIND: &str = "users";

/// Columns of a [`User`], in front of what is asked for.
macro_rules! select_user {
    ($rest:literal) => {
        concat!("select id, name, display_name, site_admin, created_at, disabled_at, password_hash from users ", $rest)
    };
}

/// Read at each request of a browser: in one statement.
#[derive(sqlx::FromRow)]
struct WithHash {
    #[sqlx(flatten)]
    user: User,
    password_hash: Option<String>,
}

impl Store {
    /// Makes a user. Without a password hash they can only come in by token.
    pub async fn create_user(
        &self,
        name: &str,
        display_name: &str,
        password_hash: Option<&str>,
        site_admin: bool,
        actor: &Actor,
    ) -> Result<User> {
        check_name(name)?;
        let mut tx = self.write_tx().await?;
        if find(&mut tx, name).await?.is_some() {
            return Err(Error::Exists { kind: KIND, name: name.to_owned() });
        }
        let user = sqlx::query_as(
            "insert into users (id, name, display_name, password_hash, site_admin, created_at) values ($1, $2, $3, $4, $5, $6) \
             returning id, name, display_name, site_admin, created_at, disabled_at",
        )
        .bind(new_id())
        .bind(name)
        .bind(display_name)
        .bind(password_hash)
        .bind(i64::from(site_admin))
        .bind(now())
        .fetch_one(&mut *tx)
        .await?;
        let to = site_admin.then_some("site admin");
        tx.record(actor, Entry { action: "user.create", object: name, to, ..Entry::default() }).await?;
        tx.commit().await?;
        Ok(user)
    }

    /// The user of that name, disabled or not.
    pub async fn find_user(&self, name: &str) -> Result<Option<User>> {
        Ok(sqlx::query_as(select_user!("where name = $1")).bind(name).fetch_optional(self.pool()).await?)
    }

    /// The user of that name, or an error that says there is none.
    pub async fn user(&self, name: &str) -> Result<User> {
        self.find_user(name).await?.ok_or_else(|| Error::not_found(KIND, name))
    }

    /// The user with that id, with their password's hash, disabled or not.
    pub async fn find_user_by_id(&self, id: &str) -> Result<Option<(User, Option<String>)>> {
        let known: Option<WithHash> =
            sqlx::query_as(select_user!("where id = $1")).bind(id).fetch_optional(self.pool()).await?;
        Ok(known.map(|known| (known.user, known.password_hash)))
    }

    /// The hash of a user's password, if they have one.
    pub async fn password_hash(&self, user_id: &str) -> Result<Option<String>> {
        let row: Option<(Option<String>,)> = sqlx::query_as("select password_hash from users where id = $1")
            .bind(user_id)
            .fetch_optional(self.pool())
            .await?;
        Ok(row.and_then(|(hash,)| hash))
    }

    /// Whether there is any user at all: before the first start there is none.
    pub async fn has_users(&self) -> Result<bool> {
        let any: Option<(i64,)> = sqlx::query_as("select 1 from users limit 1").fetch_optional(self.pool()).await?;
        Ok(any.is_some())
    }

    /// A page of users by name.
    pub async fn list_users(&self, after: &str, limit: i64) -> Result<Vec<User>> {
        let users = sqlx::query_as(select_user!("where name > $1 order by name limit $2"))
            .bind(after)
            .bind(limit)
            .fetch_all(self.pool())
            .await?;
        Ok(users)
    }

    /// Gives the user a new password. Sessions begun with the old one end, see `auth::session`.
    pub async fn set_password_hash(&self, name: &str, password_hash: &str, actor: &Actor) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let user = load(&mut tx, name).await?;
        sqlx::query("update users set password_hash = $1 where id = $2")
            .bind(password_hash)
            .bind(&user.id)
            .execute(&mut *tx)
            .await?;
        tx.record(actor, Entry { action: "user.set-password", object: name, ..Entry::default() }).await?;
        tx.commit().await
    }

    /// Shuts the user out at once: password, sessions and tokens. Their traces stay. The last site admin stays, too.
    pub async fn disable_user(&self, name: &str, actor: &Actor) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let user = load(&mut tx, name).await?;
        if user.disabled_at.is_some() {
            return Ok(());
        }
        let others: Option<(i64,)> =
            sqlx::query_as("select 1 from users where site_admin = 1 and disabled_at is null and id <> $1 limit 1")
                .bind(&user.id)
                .fetch_optional(&mut *tx)
                .await?;
        if user.site_admin == 1 && others.is_none() {
            let message = format!("{name} is the last site admin. Make another one before you disable this one");
            return Err(Error::Conflict(message));
        }
        sqlx::query("update users set disabled_at = $1 where id = $2")
            .bind(now())
            .bind(&user.id)
            .execute(&mut *tx)
            .await?;
        tx.record(actor, Entry { action: "user.disable", object: name, ..Entry::default() }).await?;
        tx.commit().await
    }

    /// Lets a disabled user in again.
    pub async fn enable_user(&self, name: &str, actor: &Actor) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let user = load(&mut tx, name).await?;
        if user.disabled_at.is_none() {
            return Ok(());
        }
        sqlx::query("update users set disabled_at = null where id = $1").bind(&user.id).execute(&mut *tx).await?;
        tx.record(actor, Entry { action: "user.enable", object: name, ..Entry::default() }).await?;
        tx.commit().await
    }
}

async fn find(tx: &mut WriteTx, name: &str) -> Result<Option<User>> {
    Ok(sqlx::query_as(select_user!("where name = $1")).bind(name).fetch_optional(&mut **tx).await?)
}

/// The user, within a transaction that is about to change something of theirs.
pub(super) async fn load(tx: &mut WriteTx, name: &str) -> Result<User> {
    find(tx, name).await?.ok_or_else(|| Error::not_found(KIND, name))
}

/// Names travel in Basic credentials and file names, so they have neither colons nor surprises.
fn check_name(name: &str) -> Result<()> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-' | b'@');
    let bytes = name.as_bytes();
    let well_formed =
        (1..=63).contains(&bytes.len()) && bytes[0].is_ascii_alphanumeric() && bytes.iter().copied().all(inner);
    if well_formed {
        return Ok(());
    }
    Err(Error::invalid(
        "name",
        "a user name has 1 to 63 lower-case letters, digits, '.', '_', '-' or '@', and starts with a letter or digit",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::store::testing::each_store;

    fn actor() -> Actor {
        Actor::system("test")
    }

    #[tokio::test]
    async fn users_are_made_once_and_found_by_name() {
        for store in each_store().await {
            assert!(!store.has_users().await.unwrap());
            let made = store.create_user("ada", "Ada", Some("hash"), false, &actor()).await.unwrap();
            assert_eq!(store.find_user("ada").await.unwrap().as_ref(), Some(&made));
            assert_eq!(store.find_user("bob").await.unwrap(), None);
            assert_eq!(store.password_hash(&made.id).await.unwrap().as_deref(), Some("hash"));
            let again = store.create_user("ada", "", None, false, &actor()).await;
            assert!(matches!(again, Err(Error::Exists { .. })), "{again:?}");
            for bad in ["", "Ada", "a:b", "-a", "a b", &"a".repeat(64)] {
                let refused = store.create_user(bad, "", None, false, &actor()).await;
                assert!(matches!(refused, Err(Error::Invalid { .. })), "{bad}: {refused:?}");
            }
            assert!(store.has_users().await.unwrap());
            assert_eq!(store.verify_ledger().await.unwrap(), (1, Vec::new()));
        }
    }

    #[tokio::test]
    async fn the_last_site_admin_cannot_be_disabled() {
        for store in each_store().await {
            store.create_user("root", "", None, true, &actor()).await.unwrap();
            let refused = store.disable_user("root", &actor()).await;
            assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
            store.create_user("other", "", None, true, &actor()).await.unwrap();
            store.disable_user("root", &actor()).await.unwrap();
            assert!(store.user("root").await.unwrap().disabled_at.is_some());
            store.enable_user("root", &actor()).await.unwrap();
            assert!(store.user("root").await.unwrap().disabled_at.is_none());
        }
    }

    #[tokio::test]
    async fn lists_page_by_name_and_passwords_change() {
        for store in each_store().await {
            for name in ["c", "a", "b"] {
                store.create_user(name, "", None, false, &actor()).await.unwrap();
            }
            let names = |users: Vec<User>| users.into_iter().map(|user| user.name).collect::<Vec<_>>();
            assert_eq!(names(store.list_users("", 2).await.unwrap()), ["a", "b"]);
            assert_eq!(names(store.list_users("b", 2).await.unwrap()), ["c"]);
            store.set_password_hash("a", "new", &actor()).await.unwrap();
            let (_, hash) = store.find_user_by_id(&store.user("a").await.unwrap().id).await.unwrap().unwrap();
            assert_eq!(hash.as_deref(), Some("new"));
        }
    }
}
