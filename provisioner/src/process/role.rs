//! What a cluster's process is for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The id of SPU `main-0`; upstream counts from here too.
const FIRST_SPU_ID: i32 = 5001;

/// The job of one process. Its text names the configuration file and is kept in the bookkeeping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Role {
    /// SC and SPU `main-0` in one process.
    Node,
    /// The SC alone.
    Sc,
    /// An SPU alone, by its number.
    Spu(u8),
}

impl Role {
    /// The subcommand of the cluster program.
    pub fn command(self) -> &'static str {
        match self {
            Role::Node => "node",
            Role::Sc => "sc",
            Role::Spu(_) => "spu",
        }
    }

    /// The SPU in this process: its number.
    pub fn spu(self) -> Option<u8> {
        match self {
            Role::Node => Some(0),
            Role::Sc => None,
            Role::Spu(number) => Some(number),
        }
    }
}

/// An SPU's name, by its number.
pub fn spu_name(number: u8) -> String {
    format!("main-{number}")
}

/// An SPU's id, by its number.
pub fn spu_id(number: u8) -> i32 {
    FIRST_SPU_ID + i32::from(number)
}

/// The processes of a cluster with this many SPUs.
pub fn roles_for(spus: u8) -> Vec<Role> {
    match spus {
        0 | 1 => vec![Role::Node],
        _ => std::iter::once(Role::Sc).chain((0..spus).map(Role::Spu)).collect(),
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Role::Node => f.write_str("node"),
            Role::Sc => f.write_str("sc"),
            Role::Spu(number) => f.write_str(&spu_name(*number)),
        }
    }
}

/// Not a role's text.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not the role of a process")]
pub struct UnknownRole(String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        let unknown = || UnknownRole(text.to_owned());
        match text {
            "node" => Ok(Role::Node),
            "sc" => Ok(Role::Sc),
            spu => {
                let number = spu.strip_prefix("main-").ok_or_else(unknown)?;
                Ok(Role::Spu(number.parse().map_err(|_| unknown())?))
            }
        }
    }
}

impl TryFrom<String> for Role {
    type Error = UnknownRole;

    fn try_from(text: String) -> Result<Self, UnknownRole> {
        text.parse()
    }
}

impl From<Role> for String {
    fn from(role: Role) -> Self {
        role.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spu_is_one_process_and_more_are_one_each_beside_the_sc() {
        assert_eq!(roles_for(1), [Role::Node]);
        assert_eq!(roles_for(3), [Role::Sc, Role::Spu(0), Role::Spu(1), Role::Spu(2)]);
    }

    #[test]
    fn a_role_is_read_back_from_its_text() {
        for role in [Role::Node, Role::Sc, Role::Spu(0), Role::Spu(8)] {
            assert_eq!(role.to_string().parse::<Role>().unwrap(), role);
        }
        for wrong in ["", "main-", "main-x", "main-256", "spu", "Node"] {
            assert!(wrong.parse::<Role>().is_err(), "{wrong}");
        }
    }
}
