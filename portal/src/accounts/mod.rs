//! People: sign-up, proof of the address, sign-in and what stands for a person afterwards.

pub mod access_token;
pub mod api_token;
pub mod email;
pub mod operator;
pub mod passwords;
pub mod person;
pub mod refresh;
pub mod sign_in;
pub mod sign_up;
pub mod strength;
pub mod verify;
