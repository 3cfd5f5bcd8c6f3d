//! The processes of clusters: how one is started, told from every other, watched and ended.

mod launch;
mod living;
mod role;
mod supervise;
mod walls;

pub use launch::{LaunchArguments, Launcher, Limits, launch_and_become};
pub use living::{processes_of_user, users_of_processes};
pub use role::{Role, roles_for, spu_id, spu_name};
pub use supervise::{Goal, RoleState, Supervision, Supervisor};
