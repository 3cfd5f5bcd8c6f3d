//! What is remembered of a cluster from one pass to the next, and what it takes to talk to it.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use super::objects::Prints;
use super::objects::secrets::{Asked, Use};
use crate::control::{ControlIdentity, Health};
use crate::status::{Status, Trouble};
use crate::store::fleet::Taken;

/// See the module.
pub struct Mind {
    /// As the database has it, since only the holder of the lease writes it.
    pub status: Status,
    /// As the database has them.
    pub backends: Vec<(String, String)>,
    /// The cluster's Secrets.
    pub keys: Keys,
    /// What its objects are to be, in short.
    pub prints: Prints,
    /// Added to the wanted generation to give the settings' own, which grows with every change of what is
    /// pushed; not known before the cluster said what it has.
    pub offset: Option<u64>,
    /// What was pushed last.
    pub pushed: Option<Pushed>,
    /// What the cluster said about itself.
    pub health: Option<Health>,
    /// When it was asked.
    pub asked_at: Option<Instant>,
    /// A client's hello came through the gateway to this cluster.
    pub proven: bool,
    /// What went wrong in the last pass.
    pub trouble: Option<Trouble>,
    /// Since when the cluster is not as it is wanted.
    pub unsettled: Option<Instant>,
    /// The last look at its objects past the watches, since then.
    pub looked_again: Option<LookedAgain>,
    /// SPUs were taken away, and no look past the watches has shown yet that nothing of them is left: an event
    /// that never came would leave their volumes for ever.
    pub shrunk: bool,
    /// When something was last heard of its objects, as of the last pass.
    pub heard: Option<Instant>,
    /// Passes in a row in which nothing was done, and before which nothing was heard.
    pub idle: u32,
    /// When this provisioner took it up.
    pub since: Instant,
}

/// A look past the watches.
#[derive(Debug, Clone, Copy)]
pub struct LookedAgain {
    /// When.
    pub at: Instant,
    /// How long to trust the watches from there on.
    pub trust: Duration,
}

impl Mind {
    /// Of a cluster that was just taken up.
    pub fn new(taken: &Taken, gateway_probe: bool) -> Self {
        Self {
            // A cluster that was ready once was proven; its addresses never change.
            proven: taken.status.ready || !gateway_probe,
            status: taken.status.clone(),
            backends: taken.backends.clone().into_iter().collect(),
            keys: Keys::default(),
            prints: Prints::default(),
            offset: None,
            pushed: None,
            health: None,
            asked_at: None,
            trouble: None,
            unsettled: None,
            looked_again: None,
            shrunk: false,
            heard: None,
            idle: 0,
            since: Instant::now(),
        }
    }
}

/// What the settings were made from that the cluster took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The wanted generation.
    pub generation: i64,
    /// The Secret with the servers' identity.
    pub server: Arc<str>,
    /// SPUs in the settings.
    pub spus: u8,
    /// Those of them that are to hand over what they hold: from this number on.
    pub leaving_from: u8,
}

/// Settings that the cluster took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// What they were made from.
    pub content: Content,
    /// Their own generation, or the least that it can be.
    pub generation: u64,
}

/// A Secret with an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its name.
    pub secret: Arc<str>,
    /// The end of its certificate.
    pub not_after: OffsetDateTime,
}

/// Certificates that are asked for.
pub struct Request {
    /// The Secret with the new keys.
    pub secret: Arc<str>,
    /// What each is for.
    pub asked: Vec<(Use, Uuid)>,
    /// The keys, when it was this provisioner that made them.
    pub keys: Option<Vec<Asked>>,
    /// All of them are answered.
    pub answered: bool,
}

/// What is known of a cluster's Secrets: names and ends. The only key that is kept in memory is the
/// provisioner's own.
#[derive(Default)]
pub struct Keys {
    /// When the Secrets were looked at.
    pub looked: Option<Instant>,
    /// The newest identity of each use.
    held: [Option<Held>; Use::IDENTITIES.len()],
    /// Certificates that are asked for.
    pub request: Option<Request>,
    /// Secrets that were followed by others.
    pub outdated: Vec<(Use, Arc<str>)>,
    /// The provisioner's identity towards this cluster, once it was needed.
    pub control: Option<Box<ControlIdentity>>,
}

impl Keys {
    /// The identity of a use.
    pub fn held(&self, purpose: Use) -> Option<&Held> {
        self.held[place(purpose)?].as_ref()
    }

    /// The Secret of a use.
    pub fn secret(&self, purpose: Use) -> Option<&Arc<str>> {
        self.held(purpose).map(|held| &held.secret)
    }

    /// Takes in an identity: the one that ends last is the one in use.
    pub fn hold(&mut self, purpose: Use, held: Held) {
        let Some(place) = place(purpose).map(|place| &mut self.held[place]) else { return };
        if place.as_ref().is_some_and(|known| known.secret == held.secret) {
            return;
        }
        let newer = place.as_ref().is_none_or(|known| known.not_after < held.not_after);
        let older = if newer { place.replace(held) } else { Some(held) };
        let older = older.map(|older| (purpose, older.secret)).filter(|older| !self.outdated.contains(older));
        self.outdated.extend(older);
        if newer && purpose == Use::Control {
            self.control = None;
        }
    }

    /// The Secret of a use holds nothing good: there will be another.
    pub fn spoilt(&mut self, purpose: Use) {
        let held = place(purpose).and_then(|place| self.held[place].take());
        self.outdated.extend(held.map(|held| (purpose, held.secret)));
    }
}

fn place(purpose: Use) -> Option<usize> {
    Use::IDENTITIES.iter().position(|known| *known == purpose)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_that_ends_last_is_in_use_in_whatever_order_they_are_found() {
        let held = |name: &str, end| Held {
            secret: name.into(),
            not_after: OffsetDateTime::UNIX_EPOCH + time::Duration::days(end),
        };
        for order in [["old", "new"], ["new", "old"]] {
            let mut keys = Keys::default();
            for name in order {
                keys.hold(Use::Server, held(name, if name == "new" { 2 } else { 1 }));
                keys.hold(Use::Server, held(name, if name == "new" { 2 } else { 1 }));
            }
            assert_eq!(keys.secret(Use::Server).map(|name| &**name), Some("new"));
            assert_eq!(keys.outdated, [(Use::Server, "old".into())]);
        }
    }
}
