//! Sealing with the server's key: what is sealed for one purpose can neither be read, changed nor used for another.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use ring::hmac;
use sha2::{Digest as _, Sha256};

use super::Store;

/// Bytes of a nonce, which stands before the sealed text.
const NONCE: usize = 24;
/// Bytes of a fingerprint.
const FINGERPRINT: usize = 20;

impl Store {
    /// Tells this Weir from others that use the same engines; the same for all servers that share a key.
    pub fn instance(&self) -> String {
        let digest = Sha256::new_with_prefix("weir instance").chain_update(self.key()).finalize();
        hex::encode(&digest[..6])
    }

    /// Stands for a text without telling it: the same for the same purpose, text and key, and not to be guessed without the key.
    pub fn fingerprint(&self, purpose: &str, text: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.key());
        let tag = hmac::sign(&key, format!("{purpose}\0{text}").as_bytes());
        hex::encode(&tag.as_ref()[..FINGERPRINT])
    }

    /// The text encrypted and authenticated; safe in URLs and headers. `None` only for texts of absurd length.
    pub fn seal(&self, purpose: &str, text: &[u8]) -> Option<String> {
        let nonce: [u8; NONCE] = rand::random();
        let payload = Payload { msg: text, aad: purpose.as_bytes() };
        let sealed = XChaCha20Poly1305::new(self.key()).encrypt(XNonce::from_slice(&nonce), payload).ok()?;
        Some(URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat()))
    }

    /// What was sealed for this purpose with this server's key; `None` for anything else.
    pub fn unseal(&self, purpose: &str, sealed: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE)?;
        let payload = Payload { msg: sealed, aad: purpose.as_bytes() };
        XChaCha20Poly1305::new(self.key()).decrypt(XNonce::from_slice(nonce), payload).ok()
    }
}

#[cfg(test)]
mod tests {
    use crate::server::store::testing::each_store;

    #[tokio::test]
    async fn opens_only_for_its_purpose_and_only_unchanged() {
        for store in each_store().await {
            let sealed = store.seal("secret:1", b"word").unwrap();
            assert_eq!(store.unseal("secret:1", &sealed).as_deref(), Some(&b"word"[..]));
            assert_eq!(store.unseal("secret:2", &sealed), None);
            let mut changed = sealed.clone().into_bytes();
            changed[40] = if changed[40] == b'A' { b'B' } else { b'A' };
            assert_eq!(store.unseal("secret:1", &String::from_utf8(changed).unwrap()), None);
            assert_eq!(store.unseal("secret:1", "short"), None);
            assert_ne!(store.seal("secret:1", b"word").unwrap(), sealed, "the same text never looks the same");
        }
    }
}
