//! What one run found.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Floor;

/// One change of one tenant.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Change {
    /// The provisioner's calls for it, what comes by the clock left out.
    pub calls: u64,
    /// From the wish until the tenant reads that it is so.
    pub seconds: f64,
}

/// A world to which nothing happens.
#[derive(Debug, Clone, Serialize)]
pub struct Settled {
    /// How long it was looked at.
    pub seconds: f64,
    /// SCs asked how they are, a second.
    pub questions_per_second: f64,
    /// Calls to the API server, a second.
    pub calls_per_second: f64,
    /// Of one core, by program.
    pub processor_percent: BTreeMap<String, f64>,
}

/// See the module.
#[derive(Debug, Clone, Serialize)]
pub struct Findings {
    pub tenants: usize,
    pub floor: Floor,
    /// Seconds from the wish until every cluster's page says that it runs.
    pub converged_seconds: f64,
    /// Seconds that API server and controllers need for as many, by the sample.
    pub floor_seconds: f64,
    /// Calls of the provisioner to the API server until then.
    pub calls_per_tenant: f64,
    /// The same by verb, of all tenants.
    pub calls: BTreeMap<String, u64>,
    /// Its processor time until then.
    pub processor_ms_per_tenant: f64,
    /// Who used the processor until then, in seconds.
    pub processor_seconds: BTreeMap<String, f64>,
    /// Memory (PSS) of the provisioner that made all.
    pub provisioner_converged_bytes: u64,
    /// Memory of one that found all there.
    pub provisioner_restarted_bytes: u64,
    pub portal_bytes: u64,
    /// Memory (PSS) of everything, at the end.
    pub memory_mib: BTreeMap<String, f64>,
    pub change_alone: Change,
    pub change_among: Change,
    /// Changing calls of a provisioner that was started anew on the settled world.
    pub settled_changes: u64,
    /// Seconds until that provisioner had asked every cluster.
    pub settled_seconds: f64,
    pub settled: Settled,
}

impl Findings {
    /// How much longer it took than API server and controllers need.
    pub fn over_the_floor(&self) -> f64 {
        self.converged_seconds / self.floor_seconds
    }
}
