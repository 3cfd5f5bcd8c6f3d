//! What the operator sees: counters, `/metrics` and `/healthz`.

mod counters;
mod http;
mod text;

pub use counters::{Counters, Refusal};
pub use http::serve_http;
