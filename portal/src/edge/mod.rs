//! What lies between the network and the handlers: client addresses, cookies, forms, headers, error faces.

pub mod address;
pub mod assets;
pub mod cookies;
pub mod errors;
pub mod form;
pub mod headers;
pub mod json;
pub mod once;
pub mod rates;
pub mod secret;
