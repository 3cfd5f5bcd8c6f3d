//! A wall around a cluster process that needs no root: the kernel's Landlock. Whatever the process is made to
//! do, it reaches no files but its own cluster's and the system's programs and libraries, opens no TCP
//! connection and no TCP port, and signals nobody outside.
//!
//! It stands beside the tenant's own user, which needs root, and holds where that is missing.

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
};

/// The newest version of Landlock that these rules were written for. An older kernel enforces what it knows.
const VERSION: ABI = ABI::V6;

/// What a program needs to run at all: itself, libraries, time zones, figures about the machine.
const READABLE: [&str; 9] =
    ["/usr", "/lib", "/lib64", "/bin", "/etc", "/proc", "/sys", "/dev/urandom", "/dev/zero"];

/// Confines this process and what it becomes to a cluster's folder. `false` when the kernel has no Landlock.
pub fn raise(folder: &Path, program: &Path) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
    let own = PathBeneath::new(PathFd::new(folder)?, AccessFs::from_all(VERSION));
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(VERSION))?
        .handle_access(AccessNet::from_all(VERSION))?
        .scope(Scope::from_all(VERSION))?
        .create()?
        .add_rules(path_beneath_rules(READABLE, AccessFs::from_read(VERSION)))?
        .add_rules(path_beneath_rules([program], AccessFs::from_read(VERSION)))?
        .add_rules(path_beneath_rules(["/dev/null"], AccessFs::from_all(VERSION)))?
        .add_rule(own)?
        .restrict_self()?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}
