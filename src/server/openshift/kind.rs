//! The kinds of objects this door speaks of, with the words Kubernetes has for each.

/// A kind of object: where it is in the API and how messages name it.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// API group; empty for the core group and for Weir's own nouns.
    pub group: &'static str,
    /// The noun in URLs and messages.
    pub plural: &'static str,
    pub singular: &'static str,
    /// The value of `kind`.
    pub kind: &'static str,
}

const fn kind(group: &'static str, plural: &'static str, singular: &'static str, kind: &'static str) -> Kind {
    Kind { group, plural, singular, kind }
}

pub const IMAGE_STREAMS: Kind = kind("image.openshift.io", "imagestreams", "imagestream", "ImageStream");
pub const IMAGE_STREAM_TAGS: Kind = kind("image.openshift.io", "imagestreamtags", "imagestreamtag", "ImageStreamTag");
pub const IMAGE_TAGS: Kind = kind("image.openshift.io", "imagetags", "imagetag", "ImageTag");
pub const IMAGE_STREAM_IMAGES: Kind =
    kind("image.openshift.io", "imagestreamimages", "imagestreamimage", "ImageStreamImage");
pub const IMAGE_STREAM_IMPORTS: Kind =
    kind("image.openshift.io", "imagestreamimports", "imagestreamimport", "ImageStreamImport");
pub const IMAGE_STREAM_MAPPINGS: Kind =
    kind("image.openshift.io", "imagestreammappings", "imagestreammapping", "ImageStreamMapping");
pub const IMAGES: Kind = kind("image.openshift.io", "images", "image", "Image");
pub const BUILD_CONFIGS: Kind = kind("build.openshift.io", "buildconfigs", "buildconfig", "BuildConfig");
pub const BUILDS: Kind = kind("build.openshift.io", "builds", "build", "Build");
pub const DEPLOYMENTS: Kind = kind("apps", "deployments", "deployment", "Deployment");
pub const PROJECTS: Kind = kind("project.openshift.io", "projects", "project", "Project");
pub const PROJECT_REQUESTS: Kind = kind("project.openshift.io", "projectrequests", "projectrequest", "ProjectRequest");
/// What one sees of a stream who may pull from it.
pub const STREAM_LAYERS: Kind = kind("image.openshift.io", "imagestreams/layers", "imagestream", "ImageStreamLayers");
/// The names of the secrets that a stream's imports may sign in with.
pub const STREAM_SECRETS: Kind = kind("image.openshift.io", "imagestreams/secrets", "imagestream", "SecretList");
/// A project, as the core group calls it.
pub const NAMESPACES: Kind = kind("", "namespaces", "namespace", "Namespace");
pub const SECRETS: Kind = kind("", "secrets", "secret", "Secret");

// What OpenShift has no words for.
pub const CASCADES: Kind = kind("", "cascades", "cascade", "Cascade");
pub const ROLLOUTS: Kind = kind("", "rollouts", "rollout", "Rollout");
pub const FREEZES: Kind = kind("", "freezes", "freeze", "Freeze");
pub const TAG_RULES: Kind = kind("", "tagrules", "tagrules", "TagRules");
pub const IMPORT_RULES: Kind = kind("", "importrules", "importrule", "ImportRule");
pub const RETENTION_RULES: Kind = kind("", "retentionrules", "retentionrule", "RetentionRule");
pub const ACTIVITY: Kind = kind("", "activity", "activity", "Activity");
pub const NOTICES: Kind = kind("", "notices", "notice", "Notice");
pub const USAGE: Kind = kind("", "usage", "usage", "Usage");
pub const REGISTRIES: Kind = kind("", "registries", "registry", "Registry");
pub const QUOTAS: Kind = kind("", "quotas", "quota", "Quota");
pub const LIMITS: Kind = kind("", "limits", "limit", "Limits");

const ALL: &[&Kind] = &[
    &IMAGE_STREAMS,
    &IMAGE_STREAM_TAGS,
    &IMAGE_TAGS,
    &IMAGE_STREAM_IMAGES,
    &IMAGE_STREAM_IMPORTS,
    &IMAGE_STREAM_MAPPINGS,
    &IMAGES,
    &BUILD_CONFIGS,
    &BUILDS,
    &DEPLOYMENTS,
    &PROJECTS,
    &PROJECT_REQUESTS,
    &SECRETS,
    &CASCADES,
    &FREEZES,
    &ROLLOUTS,
    &NOTICES,
    &IMPORT_RULES,
];

impl Kind {
    /// `group/version`, the value of `apiVersion`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { "v1".to_owned() } else { format!("{}/v1", self.group) }
    }

    /// `plural.group`, as messages name the kind.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// The kind the store means by a plural noun. At this door an app is a Deployment.
    pub fn of_plural(plural: &str) -> Option<&'static Self> {
        match plural {
            "apps" => Some(&DEPLOYMENTS),
            _ => ALL.iter().find(|kind| kind.plural == plural).copied(),
        }
    }
}
