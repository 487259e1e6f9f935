//! What the command line can do. Each command answers on standard output and fails with one line that says what to do.

mod backup;
mod demo;
mod gc;
mod serve;
mod verify;

use std::process::ExitCode;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;

use super::assembly::{open_store, read_password};
use super::auth::hash_password;
use super::config::{Cli, Command, StorageArgs, TokenCommand, TokenCreate, UserAdd, UserCommand};
use super::store::{NewToken, Store};
use crate::model::{Actor, now};

/// Runs the command.
pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    super::telemetry::start_logging(&cli.log)?;
    match cli.command {
        Command::Serve(config) => serve::serve(*config).await,
        Command::Demo(config) => demo::demo(*config).await,
        Command::Token(TokenCommand::Create(args)) => create_token(args).await,
        Command::User(UserCommand::Add(args)) => add_user(args).await,
        Command::Verify(storage) => verify::verify(&storage).await,
        Command::Backup(args) => backup::backup(&args).await,
        Command::Restore(args) => backup::restore(&args).await,
        Command::Gc(args) => gc::gc(&args).await,
    }
}

/// Commands other than `serve` work on what a server has made; a mistyped directory must not become a new, empty database.
async fn open_existing(storage: &StorageArgs) -> anyhow::Result<Store> {
    if !storage.key_file().exists() {
        anyhow::bail!(
            "there is no data in {}; point --data-dir to where the server keeps it, or start the server once",
            storage.data_dir.display()
        );
    }
    open_store(storage).await
}

/// Who does what is done from the command line.
fn operator() -> Actor {
    Actor::system("command line")
}

async fn create_token(args: TokenCreate) -> anyhow::Result<ExitCode> {
    let store = open_existing(&args.storage).await?;
    let user = store.find_user(&args.user).await?;
    let user = user.with_context(|| format!("there is no user {}; make one with weir user add", args.user))?;
    let project = match &args.project {
        Some(name) => Some(store.project(name).await?.id),
        None => None,
    };
    let mut new = NewToken::user(&args.name, &user.id);
    new.project_id = project.as_deref();
    new.role = args.role;
    new.expires_at =
        args.expires_in.map(|wait| now().saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)));
    let (_, text) = store.create_token(new, &operator()).await?;
    println!("{}", text.expose_secret());
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn add_user(args: UserAdd) -> anyhow::Result<ExitCode> {
    let store = open_existing(&args.storage).await?;
    let password = match (args.password, &args.password_file) {
        (Some(password), _) => Some(password),
        (None, Some(file)) => Some(read_password(file).await?),
        (None, None) => None,
    };
    let hash = match &password {
        Some(password) => Some(hash_password(password).await?),
        None => None,
    };
    let user = store.create_user(&args.name, "", hash.as_deref(), args.site_admin, &operator()).await?;
    println!("made the user {}", user.name);
    store.close().await;
    Ok(ExitCode::SUCCESS)
}
