//! Secrets of targets, and signatures made with them, as Standard Webhooks has them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use secrecy::{ExposeSecret as _, SecretString};

/// How a secret begins.
const PREFIX: &str = "whsec_";
/// How many bytes one may have.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// Why a text is no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a secret is whsec_ and then 24 to 64 bytes in base64; leave it empty to have one made")]
pub struct NoticeSecretError;

/// A new secret, for the receiver to check signatures with.
pub fn new_secret() -> SecretString {
    let bytes: [u8; 32] = rand::random();
    format!("{PREFIX}{}", STANDARD.encode(bytes)).into()
}

/// Somebody's own secret.
pub fn parse_secret(text: &SecretString) -> Result<SecretString, NoticeSecretError> {
    key(text).map(|_| text.expose_secret().trim().into())
}

fn key(secret: &SecretString) -> Result<hmac::Key, NoticeSecretError> {
    let encoded = secret.expose_secret().trim().strip_prefix(PREFIX).ok_or(NoticeSecretError)?;
    let bytes = STANDARD.decode(encoded).map_err(|_| NoticeSecretError)?;
    if !LENGTHS.contains(&bytes.len()) {
        return Err(NoticeSecretError);
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// The value of `webhook-signature`: over the id, the time of this attempt in seconds, and the body.
pub(super) fn sign(secret: &SecretString, id: &str, seconds: i64, body: &str) -> Result<String, NoticeSecretError> {
    let tag = hmac::sign(&key(secret)?, format!("{id}.{seconds}.{body}").as_bytes());
    Ok(format!("v1,{}", STANDARD.encode(tag.as_ref())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_as_the_standards_own_libraries_do() {
        // The vector of the Standard Webhooks libraries' tests.
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into();
        let signed = sign(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, "{\"test\": 2432232314}");
        assert_eq!(signed.as_deref(), Ok("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
    }

    #[test]
    fn secrets_are_checked_and_made() {
        assert_ne!(new_secret().expose_secret(), new_secret().expose_secret());
        assert!(parse_secret(&new_secret()).is_ok());
        for bad in ["", "secret", "whsec_", "whsec_%%%", "whsec_c2hvcnQ="] {
            assert_eq!(parse_secret(&bad.into()).map(|_| ()), Err(NoticeSecretError), "{bad}");
        }
    }
}
