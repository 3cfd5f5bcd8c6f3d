//! `fluvio-cluster node|sc|spu --config FILE`

use std::process::ExitCode;

fn main() -> ExitCode {
    fluvio_cluster::node::main()
}
