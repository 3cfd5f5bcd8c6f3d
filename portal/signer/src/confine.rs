//! Closes the process's memory, which holds the sealing key, to everybody else on the machine.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// No `ptrace`, no reading of `/proc/<pid>/mem` by the same user, and no core file after a crash.
pub fn deny_inspection() -> rustix::io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
}
