//! The certificate authority: answers rows of certificate requests with certificates.

fn main() {}
