//! One public port for every tenant: SNI to cluster, TLS bytes passed through.

fn main() {}
