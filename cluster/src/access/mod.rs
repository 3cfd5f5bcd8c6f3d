//! Who may do what, decided from the settings in force and again whenever they change.
//!
//! [`Policy`] is one settings document made ready for use; a `watch` channel carries the one in force to
//! every connection, so a revocation, a changed role or a changed rule reaches live connections at once.
//! [`Grant`] is the decision itself: what one principal may do, and on which topic.

mod action;
mod credential;
mod policy;
mod rules;

pub use action::{Action, authorize};
pub use credential::{Credential, CredentialError};
pub use policy::{Policy, PolicyError, PolicyWatch, Refusal};
pub use rules::{Grant, On};
