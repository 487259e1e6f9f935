//! From a build's row to what the builder is given: pull specs by digest, credentials, a token made for this build.

use secrecy::SecretString;

use super::BuildSettings;
use crate::model::{Actor, Build, BuildConfigSpec, EnvVar, ImageReference, InputKind, ResolvedInput, Source, now};
use crate::server::builder::{BuildJob, GitCredentials, PinnedInput, RegistryAccess};
use crate::server::store::{Error, NewToken, Result, SecretData, Store};

/// Longer than any build runs; the store revokes the token when the build ends.
const TOKEN_LASTS_MS: i64 = 24 * 3600 * 1000;

/// A token with which the build pulls and pushes.
pub async fn token(store: &Store, build: &Build) -> Result<SecretString> {
    let name = build.name();
    let new = NewToken::build(&name, &build.project_id, &build.id, now() + TOKEN_LASTS_MS);
    Ok(store.create_token(new, &Actor::system("builds")).await?.1)
}

/// Credentials of a source from the secret it names.
pub async fn git_credentials(store: &Store, project: &str, source: &Source) -> Result<Option<GitCredentials>> {
    let Some(name) = source.git.as_ref().and_then(|git| git.secret.as_deref()) else { return Ok(None) };
    match store.secret(project, name).await? {
        SecretData::BasicAuth { username, password } => Ok(Some(GitCredentials::Basic { username, password })),
        SecretData::SshAuth { private_key, known_hosts } => {
            Ok(Some(GitCredentials::SshKey { private_key, known_hosts }))
        }
        SecretData::Registry { .. } => {
            let message =
                format!("the secret {name} is for registries: name one for git, with a password or an ssh key");
            Err(Error::invalid("spec.source.sourceSecret.name", message))
        }
    }
}

/// The job of a build with these inputs.
pub fn job(
    build: &Build,
    spec: &BuildConfigSpec,
    inputs: &[ResolvedInput],
    credentials: Option<GitCredentials>,
    token: &SecretString,
    settings: &BuildSettings,
) -> BuildJob {
    let pinned = |input: &ResolvedInput| pin(input, settings);
    let external = |input: &&ResolvedInput| input.tag.is_none() && input.kind != InputKind::Syntax;
    let (strategy, found): (Vec<_>, Vec<_>) = inputs.iter().partition(|input| input.kind == InputKind::Strategy);
    BuildJob {
        id: build.id.clone(),
        project: build.project.clone(),
        name: build.name(),
        source: spec.source.clone(),
        git_credentials: credentials,
        commit: build.commit_requested.clone(),
        inputs: found.iter().copied().filter_map(pinned).collect(),
        external: found.iter().copied().filter(external).map(|input| input.reference.clone()).collect(),
        strategy_from: strategy.first().and_then(|input| pinned(input).or_else(|| as_written(input))),
        build_args: pairs(&spec.build_args),
        env: pairs(&spec.env),
        labels: Vec::new(),
        output: Some(format!(
            "{}/{}/{}:{}",
            settings.registry_host, build.project, spec.output_stream, spec.output_tag
        )),
        registry: RegistryAccess {
            host: settings.registry_host.clone(),
            // With a token in the password's place the name says only who it is.
            username: "build".into(),
            password: token.clone(),
            insecure: settings.registry_insecure,
        },
        no_cache: spec.no_cache,
    }
}

fn pin(input: &ResolvedInput, settings: &BuildSettings) -> Option<PinnedInput> {
    let pull_spec = input.pull_spec(&settings.registry_host)?;
    let digest = input.digest.as_ref().and_then(|digest| digest.parse().ok());
    Some(PinnedInput { reference: input.reference.clone(), pull_spec, digest })
}

/// An external `from`, in full.
fn as_written(input: &ResolvedInput) -> Option<PinnedInput> {
    let reference = ImageReference::of_engine(&input.reference).ok()?;
    let (pull_spec, digest) = (reference.pull_spec()?, reference.digest());
    Some(PinnedInput { reference: input.reference.clone(), pull_spec, digest })
}

fn pairs(list: &[EnvVar]) -> Vec<(String, String)> {
    list.iter().map(|variable| (variable.name.clone(), variable.value.clone())).collect()
}
