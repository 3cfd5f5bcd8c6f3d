//! Who may do what, decided from the settings in force and again whenever they change.
//!
//! [`Policy`] is one settings document made ready for use; a `watch` channel carries the one in force to
//! every connection, so a revocation or a changed role reaches live connections at once.

mod action;
mod credential;
mod policy;

pub use action::{Action, authorize};
pub use credential::{Credential, CredentialError};
pub use policy::{Policy, PolicyError, PolicyWatch, Refusal};
