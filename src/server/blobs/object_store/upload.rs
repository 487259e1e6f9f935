//! An upload: what of it is in parts, what is not yet, and what becomes of both.
//!
//! ```text
//!            begin            a part is full                       finish
//!   ·  ──────────────▶ tail ────────────────▶ parts + tail ──────────────────────▶ staging object ──▶ blob
//!                       └──────────────────── finish, nothing but a tail ────────────────────────────▶ blob
//! ```

use bytes::{Bytes, BytesMut};
use object_store::multipart::{MultipartStore as _, PartId};
use object_store::{ObjectStore as _, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, UpdateVersion};

use super::bucket::Bucket;
use super::kept::{self, Head, strange};
use super::{PART, PARTS};
use crate::server::blobs::{Error, UploadId};
use crate::server::hash::Hasher;

/// After so many parts they are written down, also when the sender does not pause.
const SAVED_PARTS: usize = 16;

/// An upload as this process knows it.
pub(super) struct Upload {
    id: UploadId,
    head: Head,
    tail_length: u64,
    /// None when it is only in the bucket.
    tail: Option<BytesMut>,
    /// The version of the upload's object that says this.
    version: Option<String>,
    /// Of all bytes that were saved; none when another process took some of them.
    hasher: Option<Hasher>,
    /// The multipart upload was completed: the staging object is there, with all bytes.
    is_whole: bool,
    is_saved: bool,
}

impl Upload {
    /// Makes the object of an upload with nothing in it.
    pub(super) async fn begin(bucket: &Bucket, id: &UploadId) -> Result<Self, Error> {
        let head = Head { multipart: None, part_size: PART as u64, parts: Vec::new() };
        let mut upload = Self {
            id: id.clone(),
            head,
            tail_length: 0,
            tail: Some(BytesMut::new()),
            version: None,
            hasher: Some(Hasher::sha256()),
            is_whole: false,
            is_saved: false,
        };
        match upload.put(bucket, PutMode::Create).await {
            Err(object_store::Error::AlreadyExists { .. }) => {
                kept::remove(bucket, id).await?;
                upload.put(bucket, PutMode::Overwrite).await.map_err(bucket.failed("beginning an upload"))?;
            }
            put => put.map_err(bucket.failed("beginning an upload"))?,
        }
        Ok(upload)
    }

    /// Reads the upload from the bucket. What was `known` of it holds on when nobody changed it since.
    pub(super) async fn load(bucket: &Bucket, id: &UploadId, known: Option<Self>) -> Result<Self, Error> {
        let failed = || bucket.failed("reading an upload");
        let found = bucket.client.get(&bucket.upload(id)).await.map_err(failed())?;
        let version = found.meta.e_tag.clone();
        let bytes = found.bytes().await.map_err(failed())?;
        let (head, tail) = Head::parse(&bytes)?;
        let mut upload = Self {
            id: id.clone(),
            head,
            tail_length: tail.len() as u64,
            tail: Some(tail.into()),
            version,
            hasher: None,
            is_whole: false,
            is_saved: true,
        };
        match known.filter(|known| known.version == upload.version) {
            Some(known) => (upload.hasher, upload.is_whole) = (known.hasher, known.is_whole),
            None => upload.is_whole = upload.was_completed(bucket).await?,
        }
        Ok(upload)
    }

    /// Forgets what is in the bucket of an upload that became a blob.
    pub(super) async fn clear(&self, bucket: &Bucket) -> Result<(), Error> {
        if self.head.multipart.is_some() {
            bucket.delete(&bucket.staging(&self.id)).await?;
        }
        bucket.delete(&bucket.upload(&self.id)).await
    }

    pub(super) fn length(&self) -> u64 {
        self.head.parts.len() as u64 * self.head.part_size + self.tail_length
    }

    pub(super) fn tail_length(&self) -> u64 {
        self.tail_length
    }

    pub(super) fn part_size(&self) -> u64 {
        self.head.part_size
    }

    pub(super) fn hasher(&self) -> Option<Hasher> {
        self.hasher.clone()
    }

    /// All bytes of an upload that was just loaded, when no part was made of them.
    pub(super) fn take_small(&mut self) -> Option<Bytes> {
        if self.head.parts.is_empty() { self.tail.take().map(BytesMut::freeze) } else { None }
    }

    /// The upload without its bytes, to be remembered.
    pub(super) fn rested(mut self) -> Self {
        self.rest();
        self
    }

    /// Lets go of the tail: it is in the bucket.
    pub(super) fn rest(&mut self) {
        if self.is_saved && self.tail_length > 0 {
            self.tail = None;
        }
    }

    /// Takes bytes in, and makes parts of what is enough for them.
    pub(super) async fn push(&mut self, bucket: &Bucket, bytes: BytesMut) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        if self.is_whole {
            self.take_apart(bucket).await?;
        }
        let mut tail = match self.tail.take() {
            Some(tail) => tail,
            None => self.load_tail(bucket).await?,
        };
        self.is_saved = false;
        self.hasher = None;
        if tail.is_empty() {
            tail = bytes
        } else {
            tail.extend_from_slice(&bytes)
        }
        while tail.len() as u64 >= self.head.part_size {
            let rest = tail.split_off(usize::try_from(self.head.part_size).unwrap_or(usize::MAX));
            self.tail_length = rest.len() as u64;
            let part = std::mem::replace(&mut tail, rest);
            self.put_part(bucket, part.freeze()).await?;
        }
        self.tail_length = tail.len() as u64;
        self.tail = Some(tail);
        Ok(())
    }

    /// Writes down what there is; `hasher` has taken in all of it. Fails when another process has changed the upload.
    pub(super) async fn save(&mut self, bucket: &Bucket, hasher: Option<Hasher>) -> Result<(), Error> {
        self.hasher = hasher;
        if self.is_saved {
            return Ok(());
        }
        let version = UpdateVersion { e_tag: self.version.clone(), version: None };
        match self.put(bucket, PutMode::Update(version)).await {
            Err(object_store::Error::Precondition { .. }) => {
                let now = kept::glance(bucket, &self.id).await?;
                Err(Error::OffsetMismatch { expected: now.length })
            }
            put => put.map_err(bucket.failed("saving an upload")),
        }
    }

    /// Makes the staging object of the parts and the tail of an upload that was just loaded. Its own object stays as it is.
    pub(super) async fn complete(&mut self, bucket: &Bucket) -> Result<(), Error> {
        let (Some(multipart), false) = (&self.head.multipart, self.is_whole) else { return Ok(()) };
        let (client, staging) = (&bucket.client, bucket.staging(&self.id));
        let mut parts = self.head.parts.clone();
        let last = self.tail.take().unwrap_or_default().freeze();
        let completed = async {
            if !last.is_empty() {
                parts.push(client.put_part(&staging, multipart, parts.len(), last.into()).await?.content_id);
            }
            let parts = parts.into_iter().map(|content_id| PartId { content_id }).collect();
            client.complete_multipart(&staging, multipart, parts).await
        };
        if let Err(cause) = completed.await {
            // An earlier call may have come so far and no farther.
            if !self.was_completed(bucket).await? {
                return Err(match bucket.failed("completing an upload")(cause) {
                    Error::NotFound => strange("the bucket forgot a multipart upload; begin anew"),
                    other => other,
                });
            }
        }
        self.is_whole = true;
        Ok(())
    }

    async fn was_completed(&self, bucket: &Bucket) -> Result<bool, Error> {
        if self.head.multipart.is_none() {
            return Ok(false);
        }
        Ok(bucket.size(&bucket.staging(&self.id)).await? == Some(self.length()))
    }

    /// Makes parts again of an upload that was completed and is to grow all the same.
    async fn take_apart(&mut self, bucket: &Bucket) -> Result<(), Error> {
        let staging = bucket.staging(&self.id);
        let multipart = bucket.client.create_multipart(&staging).await.map_err(bucket.failed("reopening an upload"))?;
        let size = self.head.part_size * self.head.parts.len() as u64;
        self.head.parts = bucket.copy_parts(&staging, &staging, &multipart, 0..size, self.head.part_size).await?;
        self.head.multipart = Some(multipart);
        if self.tail.is_none() {
            self.tail = Some(self.load_tail(bucket).await?);
        }
        self.is_saved = false;
        self.save(bucket, self.hasher.clone()).await?;
        bucket.delete(&staging).await?;
        self.is_whole = false;
        Ok(())
    }

    async fn load_tail(&self, bucket: &Bucket) -> Result<BytesMut, Error> {
        let now = Self::load(bucket, &self.id, None).await?;
        match now.tail {
            Some(tail) if now.version == self.version => Ok(tail),
            _ => Err(Error::OffsetMismatch { expected: now.length() }),
        }
    }

    async fn put_part(&mut self, bucket: &Bucket, part: Bytes) -> Result<(), Error> {
        let failed = || bucket.failed("storing a part of an upload");
        let staging = bucket.staging(&self.id);
        let index = self.head.parts.len();
        if index + 1 >= PARTS {
            return Err(strange("the blob is too large: S3 takes 10,000 parts at most"));
        }
        let multipart = match &self.head.multipart {
            Some(multipart) => multipart.clone(),
            None => bucket.client.create_multipart(&staging).await.map_err(failed())?,
        };
        let put = bucket.client.put_part(&staging, &multipart, index, part.into()).await;
        self.head.multipart = Some(multipart);
        match put {
            Ok(part) => self.head.parts.push(part.content_id),
            Err(cause) => {
                // Servers have different words for an upload that somebody ended meanwhile.
                kept::glance(bucket, &self.id).await?;
                return Err(match failed()(cause) {
                    Error::NotFound => strange("the bucket forgot a multipart upload; begin anew"),
                    other => other,
                });
            }
        }
        if self.head.parts.len() % SAVED_PARTS == 1 { self.save_parts(bucket).await } else { Ok(()) }
    }

    /// Writes down the parts there are, at once with the first: a multipart upload that no object names could never be
    /// ended.
    async fn save_parts(&mut self, bucket: &Bucket) -> Result<(), Error> {
        self.tail_length = 0;
        let saved = self.save(bucket, None).await;
        if let (Err(_), Some(multipart)) = (&saved, &self.head.multipart) {
            let _ = bucket.client.abort_multipart(&bucket.staging(&self.id), multipart).await;
        }
        self.is_saved = false;
        saved
    }

    async fn put(&mut self, bucket: &Bucket, mode: PutMode) -> object_store::Result<()> {
        let tail = self.tail.take().unwrap_or_default().freeze();
        let payload = PutPayload::from_iter([self.head.line()?, tail.clone()]);
        let options = PutOptions { mode, attributes: self.head.attributes(self.length()), ..PutOptions::default() };
        let put = bucket.client.put_opts(&bucket.upload(&self.id), payload, options).await?;
        self.version = put.e_tag;
        self.tail = Some(tail.into());
        self.is_saved = true;
        Ok(())
    }
}
