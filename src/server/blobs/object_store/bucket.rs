//! The bucket: names of what lies in it, requests that are more than one call, and what its refusals mean in words.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::ops::Range;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::aws::AmazonS3;
use object_store::client::{HttpError, HttpErrorKind};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{GetOptions, MultipartId, ObjectStore as _, ObjectStoreExt as _, PutPayload};

use super::settings::{BucketUrl, S3Args};
use crate::model::Digest;
use crate::server::blobs::{Error, UploadId};
use crate::server::hash::Hasher;

/// Parts that are copied through this process at once.
const COPIES: usize = 4;

pub(super) struct Bucket {
    pub(super) client: AmazonS3,
    /// For questions whose answer is worth nothing later.
    impatient: AmazonS3,
    url: BucketUrl,
    endpoint: String,
    /// What the server copies by itself, at most.
    copy_limit: u64,
}

impl Bucket {
    pub(super) fn new(url: BucketUrl, args: &S3Args, secret: Option<&secrecy::SecretString>) -> Result<Self, String> {
        Ok(Self {
            client: args.patient(&url.bucket, secret)?,
            impatient: args.impatient(&url.bucket, secret)?,
            endpoint: args.shown_endpoint(),
            url,
            copy_limit: super::COPY_LIMIT,
        })
    }

    #[cfg(test)]
    pub(super) fn limit_copies(&mut self, bytes: u64) {
        self.copy_limit = bytes;
    }

    pub(super) fn blob(&self, digest: &Digest) -> Path {
        let hex = digest.hex();
        self.path(&format!("blobs/{}/{}/{hex}", digest.algorithm(), &hex[..2]))
    }

    pub(super) fn upload(&self, id: &UploadId) -> Path {
        self.path(&format!("uploads/{id}"))
    }

    pub(super) fn staging(&self, id: &UploadId) -> Path {
        self.path(&format!("staging/{id}"))
    }

    /// A name below the prefix.
    pub(super) fn path(&self, name: &str) -> Path {
        match self.url.prefix.as_str() {
            "" => Path::from(name),
            prefix => Path::from(format!("{prefix}/{name}")),
        }
    }

    /// Whether something can be written now.
    pub(super) async fn try_to_write(&self) -> Result<(), Error> {
        let put = self.impatient.put(&self.path("check"), PutPayload::from_static(b"weir")).await;
        put.map(|_| ()).map_err(self.failed("trying to write"))
    }

    pub(super) async fn put(&self, to: &Path, bytes: Bytes) -> Result<(), Error> {
        self.client.put(to, bytes.into()).await.map(|_| ()).map_err(self.failed("storing a blob"))
    }

    /// The object's size, none when there is no such object.
    pub(super) async fn size(&self, path: &Path) -> Result<Option<u64>, Error> {
        match self.client.head(path).await {
            Ok(meta) => Ok(Some(meta.size)),
            // The answer to HEAD has no body to say what it is that was not found: the object or the whole bucket.
            Err(object_store::Error::NotFound { .. }) => match self.client.get_opts(path, GetOptions::new()).await {
                Ok(found) => Ok(Some(found.meta.size)),
                Err(cause) => match self.failed("looking for an object")(cause) {
                    Error::NotFound => Ok(None),
                    other => Err(other),
                },
            },
            Err(cause) => Err(self.failed("looking for an object")(cause)),
        }
    }

    /// Forgets an object; one that is not there is fine.
    pub(super) async fn delete(&self, path: &Path) -> Result<(), Error> {
        match self.client.delete(path).await.map_err(self.failed("deleting an object")) {
            Err(Error::NotFound) => Ok(()),
            deleted => deleted,
        }
    }

    /// The digest of an object's bytes.
    pub(super) async fn digest(&self, path: &Path, like: &Digest) -> Result<Digest, Error> {
        let mut hasher = Hasher::like(like);
        let failed = || self.failed("reading an upload again");
        let mut stream = self.client.get(path).await.map_err(failed())?.into_stream();
        while let Some(bytes) = stream.try_next().await.map_err(failed())? {
            hasher.update(&bytes);
        }
        Ok(hasher.finish())
    }

    /// Copies a whole object. The server does it, unless the object is larger than S3 allows for that: then its bytes
    /// come through this process, part by part.
    pub(super) async fn copy(&self, from: &Path, to: &Path, size: u64, part_size: u64) -> Result<(), Error> {
        let failed = || self.failed("copying an upload to its blob");
        if size <= self.copy_limit {
            return self.client.copy(from, to).await.map_err(failed());
        }
        let multipart = self.client.create_multipart(to).await.map_err(failed())?;
        let copied = async {
            let parts = self.copy_parts(from, to, &multipart, 0..size, part_size).await?;
            let parts = parts.into_iter().map(|content_id| PartId { content_id }).collect();
            self.client.complete_multipart(to, &multipart, parts).await.map_err(failed())
        };
        let copied = copied.await;
        if copied.is_err() {
            // Best effort: the bucket's own rule for unfinished uploads finds what stays.
            let _ = self.client.abort_multipart(to, &multipart).await;
        }
        copied.map(|_| ())
    }

    /// Makes parts of a multipart upload from the bytes of an object; gives their ids.
    pub(super) async fn copy_parts(
        &self,
        from: &Path,
        to: &Path,
        multipart: &MultipartId,
        range: Range<u64>,
        part_size: u64,
    ) -> Result<Vec<String>, Error> {
        let starts = (range.start..range.end).step_by(usize::try_from(part_size).unwrap_or(usize::MAX));
        let parts = stream::iter(starts.enumerate()).map(|(index, start)| async move {
            let bytes = self.client.get_range(from, start..range.end.min(start + part_size)).await?;
            let part = self.client.put_part(to, multipart, index, bytes.into()).await?;
            Ok::<_, object_store::Error>(part.content_id)
        });
        parts.buffered(COPIES).try_collect().await.map_err(self.failed("copying parts"))
    }

    /// What an answer of the bucket means. `NotFound` is an object that is not there, never the bucket.
    pub(super) fn failed(&self, doing: &'static str) -> impl Fn(object_store::Error) -> Error + Send + use<> {
        let bucket = Shown { bucket: self.url.bucket.clone(), endpoint: self.endpoint.clone() };
        move |cause| match code(&cause).as_deref() {
            Some("QuotaExceeded" | "XMinioStorageFull" | "EntityQuotaExceeded" | "InsufficientStorage") => {
                Error::NoSpace
            }
            Some("NoSuchBucket") => bucket.says(doing, "does not exist; make it, or name another with --blob-store"),
            _ if matches!(cause, object_store::Error::NotFound { .. }) => Error::NotFound,
            code => bucket.says(doing, &in_words(&cause, code)),
        }
    }
}

struct Shown {
    bucket: String,
    endpoint: String,
}

impl Shown {
    fn says(&self, doing: &str, what: &str) -> Error {
        Error::Io { doing: doing.to_owned(), source: io::Error::other(format!("{self} {what}")) }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the bucket {} at {}", self.bucket, self.endpoint)
    }
}

/// S3's own word for what went wrong.
fn code(cause: &object_store::Error) -> Option<String> {
    element(&cause.to_string(), "Code")
}

fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// One line with what helps, as far as that is known.
fn in_words(cause: &object_store::Error, code: Option<&str>) -> String {
    use object_store::Error as Cause;

    let text = cause.to_string();
    match (cause, code) {
        (_, Some("AuthorizationHeaderMalformed" | "PermanentRedirect" | "IllegalLocationConstraintException")) => {
            "is in another region; set --s3-region".to_owned()
        }
        (Cause::PermissionDenied { .. } | Cause::Unauthenticated { .. }, code) => format!(
            "refuses the credentials ({}); check --s3-access-key, the secret key, and what they may do there",
            code.unwrap_or("access denied")
        ),
        (_, Some(code)) => match element(&text, "Message") {
            Some(message) => format!("answered {code}: {message}"),
            None => format!("answered {code}"),
        },
        // Where Amazon's machines ask for the credentials of their role.
        _ if text.contains("169.254.169.254") => {
            "needs credentials, and this machine has no role; set --s3-access-key and --s3-secret-key-file".to_owned()
        }
        _ if is_away(cause) => format!("does not answer ({}); check --s3-endpoint", innermost(cause)),
        _ => format!("failed: {}", innermost(cause)),
    }
}

fn is_away(cause: &(dyn StdError + 'static)) -> bool {
    let mut chain = std::iter::successors(Some(cause), |&cause| StdError::source(cause));
    let kind = chain.find_map(|cause| cause.downcast_ref::<HttpError>().map(HttpError::kind));
    matches!(kind, Some(HttpErrorKind::Connect | HttpErrorKind::Request | HttpErrorKind::Timeout))
}

/// What is at the bottom of it, in one line.
fn innermost(cause: &(dyn StdError + 'static)) -> String {
    let bottom = std::iter::successors(Some(cause), |&cause| StdError::source(cause)).last();
    let text = bottom.map_or_else(String::new, ToString::to_string);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
