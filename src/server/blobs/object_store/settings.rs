//! Which bucket, and how to reach it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{ClientOptions, RetryConfig};
use secrecy::{ExposeSecret as _, SecretString};

/// How to reach the bucket that `--blob-store s3://…` names.
#[derive(Debug, Clone, Args)]
pub struct S3Args {
    /// Address of an S3 server, http://… or https://… [default: Amazon's]
    #[arg(long = "s3-endpoint", env = "WEIR_S3_ENDPOINT", value_name = "URL", value_parser = parse_endpoint)]
    pub endpoint: Option<String>,
    /// Region of the bucket
    #[arg(long = "s3-region", env = "WEIR_S3_REGION", default_value = "us-east-1", value_name = "NAME")]
    pub region: String,
    /// Access key for the bucket [default: the role of this machine, at Amazon]
    #[arg(long = "s3-access-key", env = "WEIR_S3_ACCESS_KEY", value_name = "KEY")]
    pub access_key: Option<String>,
    /// Secret key that belongs to it; other users of this machine may see it while this runs, so prefer a file
    #[arg(
        long = "s3-secret-key",
        env = "WEIR_S3_SECRET_KEY",
        value_name = "KEY",
        hide_env_values = true,
        conflicts_with = "secret_key_file"
    )]
    pub secret_key: Option<SecretString>,
    /// File with that secret key
    #[arg(long = "s3-secret-key-file", env = "WEIR_S3_SECRET_KEY_FILE", value_name = "FILE")]
    pub secret_key_file: Option<PathBuf>,
    /// Whether the bucket's name is in the path of its URLs, not in the host [default: true with --s3-endpoint]
    #[arg(long = "s3-path-style", env = "WEIR_S3_PATH_STYLE", value_name = "true|false")]
    pub path_style: Option<bool>,
    /// Allow an endpoint without TLS: for a network that nobody else listens to
    #[arg(long = "s3-insecure-http", env = "WEIR_S3_INSECURE_HTTP")]
    pub insecure_http: bool,
    /// Send clients to the bucket for the bytes of blobs; they have to be able to reach it
    #[arg(long = "blob-redirect", env = "WEIR_BLOB_REDIRECT")]
    pub redirect: bool,
}

/// `s3://bucket/prefix`; the prefix may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketUrl {
    pub bucket: String,
    /// Without slashes at its ends.
    pub prefix: String,
}

impl FromStr for BucketUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix("s3://").ok_or("a bucket's URL begins with s3://")?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        let is_plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        let is_segment = |part: &str| !part.is_empty() && !matches!(part, "." | "..") && is_plain(part);
        if bucket.is_empty() || !is_plain(bucket) {
            return Err("write the bucket as s3://bucket or s3://bucket/prefix");
        }
        if !prefix.is_empty() && !prefix.split('/').all(is_segment) {
            return Err("a bucket's prefix has letters, digits, '-', '.', '_' and single slashes only");
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl fmt::Display for BucketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        write!(f, "s3://{}{slash}{}", self.bucket, self.prefix)
    }
}

impl S3Args {
    /// Where the server is, for messages.
    pub(super) fn shown_endpoint(&self) -> String {
        self.endpoint.clone().unwrap_or_else(|| format!("Amazon S3 in {}", self.region))
    }

    /// A client that bears with a server that is away for a moment.
    pub(super) fn patient(&self, bucket: &str, secret: Option<&SecretString>) -> Result<AmazonS3, String> {
        // No limit for a whole request: a blob is read as slowly as its client wants it.
        let options = ClientOptions::new().with_timeout_disabled().with_read_timeout(Duration::from_secs(120));
        let retry = RetryConfig { max_retries: 4, retry_timeout: Duration::from_secs(20), ..RetryConfig::default() };
        self.client(bucket, secret, options, retry)
    }

    /// A client that tells at once what is wrong.
    pub(super) fn impatient(&self, bucket: &str, secret: Option<&SecretString>) -> Result<AmazonS3, String> {
        let options = ClientOptions::new().with_timeout(Duration::from_secs(4));
        let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        self.client(bucket, secret, options, retry)
    }

    fn client(
        &self,
        bucket: &str,
        secret: Option<&SecretString>,
        options: ClientOptions,
        retry: RetryConfig,
    ) -> Result<AmazonS3, String> {
        let path_style = self.path_style.unwrap_or(self.endpoint.is_some());
        let is_plain = self.endpoint.as_ref().is_some_and(|url| url.starts_with("http://"));
        if is_plain && !self.insecure_http {
            return Err("--s3-endpoint is without TLS: use https://, or allow it with --s3-insecure-http".to_owned());
        }
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(&self.region)
            .with_virtual_hosted_style_request(!path_style)
            .with_client_options(options.with_allow_http(is_plain).with_connect_timeout(Duration::from_secs(3)))
            .with_retry(retry)
            // Each object alone: some servers lack the other way, and nothing here deletes many at once.
            .with_disable_bulk_delete(true)
            // TLS guards the bytes on their way; without it, their hash is part of the signature.
            .with_unsigned_payload(!is_plain);
        builder = match (&self.access_key, secret) {
            (Some(key), Some(secret)) => builder.with_access_key_id(key).with_secret_access_key(secret.expose_secret()),
            (None, None) if self.endpoint.is_none() => builder,
            (None, _) => return Err("--s3-access-key is missing".to_owned()),
            (Some(_), None) => return Err("--s3-secret-key-file is missing".to_owned()),
        };
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(match (path_style, endpoint.split_once("://")) {
                (false, Some((scheme, host))) => format!("{scheme}://{bucket}.{host}"),
                _ => endpoint.clone(),
            });
        }
        builder.build().map_err(|cause| cause.to_string())
    }
}

fn parse_endpoint(text: &str) -> Result<String, String> {
    let url = text.trim_end_matches('/');
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    match rest {
        Some(host) if !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']) => Ok(url.to_owned()),
        _ => Err("write scheme and host, for instance https://s3.example.com:9000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_named_by_urls() {
        let read = |text: &str| text.parse::<BucketUrl>().map(|url| (url.bucket, url.prefix));
        assert_eq!(read("s3://weir"), Ok(("weir".to_owned(), String::new())));
        assert_eq!(read("s3://weir/"), Ok(("weir".to_owned(), String::new())));
        assert_eq!(read("s3://weir.blobs/a/b-1/"), Ok(("weir.blobs".to_owned(), "a/b-1".to_owned())));
        for bad in ["weir", "s3://", "s3:///a", "s3://we ir", "s3://weir/a//b", "s3://weir/../b", "s3://weir/a?b"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        for text in ["s3://weir", "s3://weir/a/b"] {
            assert_eq!(text.parse::<BucketUrl>().expect("a bucket").to_string(), text);
        }
    }

    #[test]
    fn endpoints_are_scheme_and_host() {
        assert_eq!(parse_endpoint("http://127.0.0.1:9000/").as_deref(), Ok("http://127.0.0.1:9000"));
        for bad in ["127.0.0.1:9000", "https://", "ftp://a", "https://a/b", "https://user@a"] {
            assert!(parse_endpoint(bad).is_err(), "{bad}");
        }
    }
}
