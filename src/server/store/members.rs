//! Who has which role in a project.

use super::{Entry, Error, Result, Store, WriteTx, users};
use crate::model::{Actor, Member, Role, now};

/// A project as somebody who asks for it may see it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Membership {
    pub project_id: String,
    /// The project's name.
    pub project: String,
    /// The role's word; absent for those who are no members.
    role: Option<String>,
}

impl Membership {
    /// The role, if the user is a member.
    pub fn role(&self) -> Option<Role> {
        self.role.as_deref().and_then(|word| word.parse().ok())
    }
}

/// Whether the user of that name may see the project, and so pull its images: any member may, and site admins everywhere.
pub(super) async fn has_any_role<'e>(
    executor: impl sqlx::Executor<'e, Database = sqlx::Any>,
    project: &str,
    user: &str,
) -> Result<bool> {
    let found: Option<(i64,)> = sqlx::query_as(
        "select 1 from users u join projects p on p.name = $1 left join role_bindings b on b.project_id = p.id and b.user_id = u.id \
         where u.name = $2 and u.disabled_at is null and (u.site_admin = 1 or b.role is not null)",
    )
    .bind(project)
    .bind(user)
    .fetch_optional(executor)
    .await?;
    Ok(found.is_some())
}

impl Store {
    /// The project of that name and the user's role in it; `None` when there is no such project.
    pub async fn find_membership(&self, project: &str, user_id: &str) -> Result<Option<Membership>> {
        let membership = sqlx::query_as(
            "select p.id as project_id, p.name as project, b.role as role from projects p \
             left join role_bindings b on b.project_id = p.id and b.user_id = $2 where p.name = $1",
        )
        .bind(project)
        .bind(user_id)
        .fetch_optional(self.pool())
        .await?;
        Ok(membership)
    }

    /// Makes the user a member with this role, or changes the role they have.
    pub async fn grant_role(&self, project: &str, user: &str, role: Role, actor: &Actor) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let project_id = project_id(&mut tx, project).await?;
        let user_id = users::load(&mut tx, user).await?.id;
        let before = role_in(&mut tx, &project_id, &user_id).await?;
        if before.as_deref() == Some(role.as_str()) {
            return Ok(());
        }
        sqlx::query(
            "insert into role_bindings (project_id, user_id, role, created_at) values ($1, $2, $3, $4) \
             on conflict (project_id, user_id) do update set role = excluded.role",
        )
        .bind(&project_id)
        .bind(&user_id)
        .bind(role.as_str())
        .bind(now())
        .execute(&mut *tx)
        .await?;
        let entry = Entry {
            action: "member.grant",
            project: Some(project),
            object: user,
            from: before.as_deref(),
            to: Some(role.as_str()),
            ..Entry::default()
        };
        tx.record(actor, entry).await?;
        tx.commit().await
    }

    /// Ends the user's membership; an error when there is none.
    pub async fn revoke_role(&self, project: &str, user: &str, actor: &Actor) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let project_id = project_id(&mut tx, project).await?;
        let user_id = users::load(&mut tx, user).await?.id;
        let before = role_in(&mut tx, &project_id, &user_id).await?.ok_or_else(|| Error::not_found("members", user))?;
        sqlx::query("delete from role_bindings where project_id = $1 and user_id = $2")
            .bind(&project_id)
            .bind(&user_id)
            .execute(&mut *tx)
            .await?;
        let entry = Entry {
            action: "member.revoke",
            project: Some(project),
            object: user,
            from: Some(&before),
            ..Entry::default()
        };
        tx.record(actor, entry).await?;
        tx.commit().await
    }

    /// The project's members by name.
    pub async fn list_members(&self, project: &str) -> Result<Vec<Member>> {
        let members = sqlx::query_as(
            "select u.id as user_id, u.name as name, u.display_name as display_name, b.role as role, b.created_at as created_at \
             from role_bindings b join users u on u.id = b.user_id join projects p on p.id = b.project_id \
             where p.name = $1 order by u.name",
        )
        .bind(project)
        .fetch_all(self.pool())
        .await?;
        Ok(members)
    }
}

/// The id of the project of that name.
pub(super) async fn project_id(tx: &mut WriteTx, name: &str) -> Result<String> {
    let row: Option<(String,)> =
        sqlx::query_as("select id from projects where name = $1").bind(name).fetch_optional(&mut **tx).await?;
    row.map(|(id,)| id).ok_or_else(|| Error::not_found("projects", name))
}

async fn role_in(tx: &mut WriteTx, project_id: &str, user_id: &str) -> Result<Option<String>> {
    let row: Option<(String,)> =
        sqlx::query_as("select role from role_bindings where project_id = $1 and user_id = $2")
            .bind(project_id)
            .bind(user_id)
            .fetch_optional(&mut **tx)
            .await?;
    Ok(row.map(|(role,)| role))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::store::testing::{each_store, project};

    #[tokio::test]
    async fn roles_are_granted_changed_and_revoked() {
        let actor = Actor::system("test");
        for store in each_store().await {
            project(&store, "demo").await;
            let ada = store.create_user("ada", "", None, false, &actor).await.unwrap();
            let role = async || store.find_membership("demo", &ada.id).await.unwrap().unwrap().role();
            assert_eq!(role().await, None);
            assert_eq!(store.find_membership("none", &ada.id).await.unwrap(), None);
            store.grant_role("demo", "ada", Role::Viewer, &actor).await.unwrap();
            assert_eq!(role().await, Some(Role::Viewer));
            store.grant_role("demo", "ada", Role::Editor, &actor).await.unwrap();
            store.grant_role("demo", "ada", Role::Editor, &actor).await.unwrap();
            assert_eq!(role().await, Some(Role::Editor));
            assert_eq!(store.list_members("demo").await.unwrap()[0].role, Role::Editor);
            let newest = &store.list_ledger(Some("demo"), None, 1).await.unwrap()[0];
            assert_eq!((newest.from_value.as_deref(), newest.to_value.as_deref()), (Some("viewer"), Some("editor")));
            store.revoke_role("demo", "ada", &actor).await.unwrap();
            assert_eq!(role().await, None);
            assert!(matches!(store.revoke_role("demo", "ada", &actor).await, Err(Error::NotFound { .. })));
            assert!(matches!(store.grant_role("demo", "bob", Role::Admin, &actor).await, Err(Error::NotFound { .. })));
        }
    }
}
