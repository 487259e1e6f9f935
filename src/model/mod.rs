//! The nouns that every part shares: plain data with serde, no I/O and no other module of ours.

mod allowed_registries;
mod app;
mod app_state;
mod base;
mod budget;
mod build;
mod build_config;
mod digest;
mod event;
mod freeze;
mod garbage;
mod hold;
mod image;
mod image_config;
mod import_rule;
mod limits;
mod mirrors;
mod name;
mod notice;
mod package;
mod past;
pub(crate) mod plan;
mod platform;
mod reference;
mod registry_pattern;
mod resolution;
mod role;
mod search;
mod size;
mod sort_key;
mod stream;
mod stream_tag;
mod tag_order;
mod tag_pattern;
mod text_enum;
mod then;
pub(crate) mod time;
mod usage;
mod user;

pub use allowed_registries::{AllowedRegistries, AllowedRegistriesError, ForbiddenRegistry};
pub use app::{AppPort, AppSpec, AppSpecError, EnvVar, PublishMode};
pub use app_state::{App, RolloutPhase, RolloutRow};
pub use base::{Base, BaseKnown};
pub use budget::{Budget, BudgetState, Forecast, Login, LoginState, Pause, ProjectSpend, told_until};
pub use build::{BuildInput, GitSource, InputKind, Source};
pub use build_config::{
    Build, BuildConfig, BuildConfigSpec, BuildPhase, BuildStep, ConfigInput, KnownInputs, NewConfigInput,
    ResolvedInput, StrategyFrom, config_inputs, stands_for,
};
pub use digest::{Digest, DigestError, shortened};
pub use event::{Actor, ActorKind, EventKind, LedgerRow, Outcome, TagEvent};
pub use freeze::{Freeze, FreezeState, frozen_until, is_decided, own_reason};
pub use garbage::{Garbage, GarbageKind, RetentionRule};
pub use hold::{HoldUntil, HoldUntilError};
pub use image::{Image, ImageChild, ImageLayer, NewImage, StoredManifest, USUAL_PLATFORM, is_artifact};
pub use image_config::{ContainerConfig, HistoryStep, ImageConfig, RootFs};
pub use import_rule::{Choice, ImportRule, ImportRuleSpec, MOST_CHOSEN, RuleTrial, Standing, Why};
pub use limits::{BeyondLimit, ProjectLimits};
pub use mirrors::{Mirrored, Mirrors, MirrorsError};
pub use name::{AppName, NameError, ProjectName, StreamName, TagName, label_value};
pub use notice::{News, Notice, NoticeAttempt, NoticeKind, NoticeState, NoticeTarget};
pub use package::{
    Direction, Evidence, ImagePackage, ImagePackages, LayerContents, LayerReading, Package, PackageDatabase,
    PackageKind,
};
pub use past::{Moment, MomentError, PastTag, PastTagError};
pub use plan::{Action, Graph, GraphApp, GraphConfig, GraphInput, GraphTag, Plan, PlanStep, plan};
pub use platform::{PLATFORMS, Platform, PlatformError, Platforms};
pub use reference::{ImageReference, ReferenceError};
pub use registry_pattern::{Fit, InsecureRegistries, InsecureRegistriesError, registry_fit};
pub use resolution::{Lookup, Named, Reason, Resolved, TagFacts, Unresolved, pulled_from, resolve, served_at};
pub use role::Role;
pub use search::{
    BASE_DIGEST, BASE_NAME, SEARCHED_WORDS, SHORT_DIGEST, SearchField, SearchQuery, SearchTerms, beginning_with,
    title_term,
};
pub use size::{ByteSize, SizeError, counted, size_words};
pub use sort_key::{LAST_KEY, natural_key, version_key};
pub use stream::{Cascade, Cooling, Hold, Project, RejectedDigest, RollbackMode, SourceKind, Stream, Tag, TagImport};
pub use stream_tag::{
    DigestPrefix, DigestPrefixError, LATEST, RepositoryName, SourceName, SourceNameError, StreamTag, TagTitle,
    check_repository, image_halves,
};
pub use tag_order::{TagOrder, TagSort, by_import_priority, lenient_version};
pub use tag_pattern::{PatternError, PatternKind, TagPattern, tag_glob};
pub use text_enum::UnknownWord;
pub use time::{now, parse_time, rfc3339};
pub use usage::{ProjectUsage, StreamUsage, TRAFFIC_DAYS, Traffic, day_of};
pub use user::{Member, SecretEntry, SecretKind, Token, TokenKind, User};
