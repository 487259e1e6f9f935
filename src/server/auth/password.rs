//! Passwords: argon2id, off the runtime's threads, and few at once, because each takes 19 MiB and a core.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use argon2::Argon2;
use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

/// How many are hashed at once.
const AT_ONCE: usize = 2;
/// How long a right password is remembered.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How many are remembered at most.
const REMEMBERED_AT_MOST: usize = 1000;
/// The longest password there is, in bytes.
const LONGEST: usize = 1024;
/// The shortest password people may choose, in characters.
const SHORTEST: usize = 8;

/// Hash of a random password that nobody knows: what unknown users' passwords are compared with.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$7i1Xv2vhsCH3+XY0RXL3WfBQGnq6jHtjcEbnwXD4Cko";

static TURNS: Semaphore = Semaphore::const_new(AT_ONCE);

/// Why a password cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    #[error("a password needs at least {SHORTEST} characters")]
    TooShort,
    #[error("a password has at most {LONGEST} bytes")]
    TooLong,
    #[error("the password could not be hashed")]
    Failed,
}

/// Whether people may choose this password. An operator who sets one on the command line is not asked.
pub fn check_choice(password: &SecretString) -> Result<(), PasswordError> {
    if password.expose_secret().chars().count() < SHORTEST { Err(PasswordError::TooShort) } else { Ok(()) }
}

/// The hash of a password, in PHC form, for the users table.
pub async fn hash_password(password: &SecretString) -> Result<String, PasswordError> {
    match password.expose_secret().len() {
        0 => return Err(PasswordError::TooShort),
        1..=LONGEST => {}
        _ => return Err(PasswordError::TooLong),
    }
    let password = password.clone();
    let hash = in_turn(move || {
        let salt = SaltString::generate(&mut OsRng);
        Argon2::default().hash_password(password.expose_secret().as_bytes(), &salt).map(|hash| hash.to_string())
    });
    hash.await.and_then(Result::ok).ok_or(PasswordError::Failed)
}

/// Compares passwords with hashes, and remembers which were right.
pub(super) struct Passwords {
    /// Keys are hashes under a random salt of this process.
    right: Mutex<HashMap<[u8; 32], Instant>>,
    salt: [u8; 32],
}

impl Default for Passwords {
    fn default() -> Self {
        Self { right: Mutex::default(), salt: rand::random() }
    }
}

impl Passwords {
    /// Whether this password was right for this hash within the last minute.
    pub(super) fn remembers(&self, name: &str, password: &SecretString, hash: &str) -> bool {
        let right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        right.get(&self.key(name, password, hash)).is_some_and(|since| since.elapsed() < REMEMBERED)
    }

    /// Whether the password is right. Takes the same time when there is no hash.
    pub(super) async fn verify(&self, name: &str, password: &SecretString, hash: Option<&str>) -> bool {
        let (secret, stored) = (password.clone(), hash.unwrap_or(NOBODY).to_owned());
        let right = in_turn(move || {
            let text = secret.expose_secret().as_bytes();
            text.len() <= LONGEST
                && PasswordHash::new(&stored).is_ok_and(|hash| Argon2::default().verify_password(text, &hash).is_ok())
        });
        let right = right.await.unwrap_or(false);
        let Some(hash) = hash.filter(|_| right) else { return false };
        let mut remembered = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED_AT_MOST {
            remembered.retain(|_, since| since.elapsed() < REMEMBERED);
        }
        if remembered.len() < REMEMBERED_AT_MOST {
            remembered.insert(self.key(name, password, hash), Instant::now());
        }
        true
    }

    fn key(&self, name: &str, password: &SecretString, hash: &str) -> [u8; 32] {
        let mut digest = Sha256::new_with_prefix(self.salt);
        for part in [name, password.expose_secret(), hash] {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }
}

async fn in_turn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let _turn = TURNS.acquire().await.ok()?;
    tokio::task::spawn_blocking(work).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_right_password_passes_and_is_remembered_for_its_hash() {
        let passwords = Passwords::default();
        let (right, wrong) = (SecretString::from("correct horse"), SecretString::from("battery staple"));
        let hash = hash_password(&right).await.unwrap();
        assert!(hash.starts_with("$argon2id$"));
        assert!(!passwords.remembers("ada", &right, &hash));
        assert!(!passwords.verify("ada", &wrong, Some(&hash)).await);
        assert!(passwords.verify("ada", &right, Some(&hash)).await);
        assert!(passwords.remembers("ada", &right, &hash));
        assert!(!passwords.remembers("ada", &wrong, &hash));
        assert!(!passwords.remembers("ada", &right, "another hash"));
        assert!(!passwords.verify("nobody", &right, None).await);
        assert!(PasswordHash::new(NOBODY).is_ok(), "unknown users take as long as known ones");
    }

    #[tokio::test]
    async fn short_and_endless_passwords_are_refused() {
        assert!(matches!(check_choice(&"1234567".into()), Err(PasswordError::TooShort)));
        assert!(matches!(hash_password(&"".into()).await, Err(PasswordError::TooShort)));
        assert!(matches!(hash_password(&"x".repeat(2000).into()).await, Err(PasswordError::TooLong)));
    }
}
