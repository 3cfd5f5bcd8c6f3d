//! Password hashing: argon2id, two at a time, a bounded queue before it, so that neither memory nor processors
//! are eaten by strangers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::problem::Problem;

/// KiB of memory for one hash.
const MEMORY: u32 = 47_104;
/// Passes over it.
const PASSES: u32 = 1;
/// Lanes.
const LANES: u32 = 1;
/// Hashes at once: each takes a processor for tens of milliseconds, and 46 MiB.
const AT_ONCE: usize = 2;
/// Those who may wait for a turn.
const QUEUE: usize = 128;
/// How long they may wait.
const PATIENCE: Duration = Duration::from_secs(10);

/// Hashes and checks passwords.
pub struct Passwords {
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// A hash of a password that nobody has: checked when there is no account, so that the time is the same.
    nobodys: String,
}

/// There is no turn soon.
const BUSY: Problem = Problem::Unavailable {
    detail: "Many people are signing in at this moment. Nothing was changed.",
    retry_after: 5,
};

impl Passwords {
    /// Ready to hash.
    pub async fn new() -> anyhow::Result<Self> {
        let mut passwords = Passwords {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: AtomicUsize::new(0),
            nobodys: String::new(),
        };
        passwords.nobodys = passwords
            .hash(&crate::edge::secret::make())
            .await
            .map_err(|problem| anyhow::anyhow!("{problem}"))
            .context("hash a first password")?;
        Ok(passwords)
    }

    /// The PHC string of a password.
    pub async fn hash(&self, password: &str) -> Result<String, Problem> {
        let password = Zeroizing::new(password.to_owned());
        self.in_turn(move || {
            let hash = hasher().and_then(|argon2| {
                argon2
                    .hash_password(password.as_bytes())
                    .map(|hash| hash.to_string())
                    .map_err(|e| e.to_string())
            });
            hash.map_err(|error| Problem::internal(&error))
        })
        .await?
    }

    /// Whether the password is the one of this PHC string. Without a string the same work is done for nothing.
    pub async fn verify(&self, password: &str, phc: Option<&str>) -> Result<bool, Problem> {
        let password = Zeroizing::new(password.to_owned());
        let known = phc.is_some();
        let phc = phc.unwrap_or(&self.nobodys).to_owned();
        let matches = self.in_turn(move || matches(&password, &phc)).await??;
        Ok(matches && known)
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let _place = Place::take(&self.waiting).ok_or(BUSY)?;
        let turn = tokio::time::timeout(PATIENCE, self.turns.clone().acquire_owned())
            .await
            .map_err(|_| BUSY)?
            .map_err(|error| Problem::internal(&error))?;
        // The turn goes with the work: a client that hangs up does not let more work start beside it.
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        })
        .await
        .map_err(|error| Problem::internal(&error))
    }
}

/// A place in the queue, given back on drop.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Option<Self> {
        if waiting.fetch_add(1, Ordering::Relaxed) >= QUEUE {
            waiting.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Place(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn hasher() -> Result<Argon2<'static>, String> {
    let params = Params::new(MEMORY, PASSES, LANES, None).map_err(|error| error.to_string())?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn matches(password: &str, phc: &str) -> Result<bool, Problem> {
    let parsed = PasswordHash::new(phc).map_err(|error| Problem::internal(&error))?;
    let argon2 = hasher().map_err(|error| Problem::internal(&error))?;
    Ok(argon2.verify_password(password.as_bytes(), &parsed).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hash_is_argon2id_with_the_recommended_costs_and_checks_every_byte() {
        let passwords = Passwords::new().await.unwrap();
        let long = "é".repeat(60);
        let phc = passwords.hash(&long).await.unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=47104,t=1,p=1$"), "{phc}");
        assert!(passwords.verify(&long, Some(&phc)).await.unwrap());
        let changed_after_byte_72 = format!("{}e", "é".repeat(59));
        assert!(!passwords.verify(&changed_after_byte_72, Some(&phc)).await.unwrap());
        assert_ne!(phc, passwords.hash(&long).await.unwrap(), "each hash has its own salt");
    }

    #[tokio::test]
    async fn nobody_s_password_is_never_right() {
        let passwords = Passwords::new().await.unwrap();
        assert!(!passwords.verify("anything", None).await.unwrap());
    }

    #[test]
    fn the_queue_has_an_end() {
        let waiting = AtomicUsize::new(0);
        let places: Vec<_> = (0..QUEUE).map(|_| Place::take(&waiting).unwrap()).collect();
        assert!(Place::take(&waiting).is_none());
        drop(places);
        assert!(Place::take(&waiting).is_some());
    }
}
