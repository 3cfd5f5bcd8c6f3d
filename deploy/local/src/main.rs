//! The whole cloud on one machine: Postgres, portal, signer, provisioner, gateway.

fn main() {}
