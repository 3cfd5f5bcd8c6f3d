//! What a plan's servers get: the one table.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::store::Plan;

/// What one container gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Thousandths of a processor that are kept free for it.
    pub cpu_request: u32,
    /// Thousandths of a processor that it may use.
    pub cpu_limit: u32,
    /// MiB that are kept free for it.
    pub memory_request: u32,
    /// MiB at which it is ended.
    pub memory_limit: u32,
    /// GiB of its volume.
    pub volume: u32,
}

/// The sizes of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Of the SC.
    pub sc: Share,
    /// Of each SPU.
    pub spu: Share,
}

/// MiB of logs and other scratch space that a container may have.
pub const EPHEMERAL: u32 = 64;

/// The sizes of a plan.
pub fn of(plan: Plan) -> Sizes {
    let share = |cpu_request, cpu_limit, memory_request, memory_limit, volume| Share {
        cpu_request,
        cpu_limit,
        memory_request,
        memory_limit,
        volume,
    };
    match plan {
        //                               cpu        memory      volume
        Plan::Small => Sizes { sc: share(10, 500, 32, 256, 1), spu: share(20, 1000, 64, 512, 4) },
        Plan::Medium => Sizes { sc: share(50, 1000, 64, 512, 1), spu: share(250, 2000, 512, 2048, 32) },
        Plan::Large => Sizes { sc: share(100, 1000, 128, 1024, 2), spu: share(1000, 4000, 2048, 8192, 256) },
    }
}

impl Share {
    /// What the scheduler keeps free.
    pub fn requests(&self) -> BTreeMap<String, Quantity> {
        resources(self.cpu_request, self.memory_request)
    }

    /// What is not exceeded.
    pub fn limits(&self) -> BTreeMap<String, Quantity> {
        resources(self.cpu_limit, self.memory_limit)
    }
}

fn resources(cpu: u32, memory: u32) -> BTreeMap<String, Quantity> {
    BTreeMap::from([
        ("cpu".into(), millis(cpu)),
        ("memory".into(), mebibytes(memory)),
        ("ephemeral-storage".into(), mebibytes(EPHEMERAL)),
    ])
}

/// Processors, as the API server would write them.
pub fn millis(millis: u32) -> Quantity {
    Quantity(if millis.is_multiple_of(1000) { (millis / 1000).to_string() } else { format!("{millis}m") })
}

/// Memory, as the API server would write it.
pub fn mebibytes(mebibytes: u32) -> Quantity {
    if mebibytes.is_multiple_of(1024) {
        gibibytes(mebibytes / 1024)
    } else {
        Quantity(format!("{mebibytes}Mi"))
    }
}

/// Volumes, as the API server would write them.
pub fn gibibytes(gibibytes: u32) -> Quantity {
    Quantity(if gibibytes == 0 { "0".into() } else { format!("{gibibytes}Gi") })
}
