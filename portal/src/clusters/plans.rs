//! Plans: what a cluster may use. A plan only grows, because a volume cannot be made smaller; so does the number of
//! SPUs where one that goes could not hand over what it holds.

use crate::problem::Problem;

/// What a cluster may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Its name.
    pub name: &'static str,
    /// SPUs at most.
    pub spus: i32,
    /// Bytes of records, counted once however often they are replicated.
    pub storage_bytes: i64,
    /// Partitions over all topics.
    pub partitions: i32,
    /// Connections at once.
    pub connections: i32,
    /// Bytes a second that clients send, and as many that they are sent, on each server.
    pub bytes_per_second: i64,
    /// Requests a second, on each server.
    pub requests_per_second: i32,
}

const MIB: i64 = 1 << 20;
const GIB: i64 = 1 << 30;

/// Every plan, the smallest first.
pub const ALL: [Plan; 3] = [
    Plan {
        name: "small",
        spus: 3,
        storage_bytes: 2 * GIB,
        partitions: 100,
        connections: 500,
        bytes_per_second: 256 * MIB,
        requests_per_second: 20_000,
    },
    Plan {
        name: "medium",
        spus: 6,
        storage_bytes: 20 * GIB,
        partitions: 400,
        connections: 2_000,
        bytes_per_second: 512 * MIB,
        requests_per_second: 40_000,
    },
    Plan {
        name: "large",
        spus: 9,
        storage_bytes: 100 * GIB,
        partitions: 1_000,
        connections: 10_000,
        bytes_per_second: 1_024 * MIB,
        requests_per_second: 80_000,
    },
];

/// The plan of a cluster when nothing is said.
pub const SMALLEST: Plan = ALL[0];

/// The plan of this name.
pub fn named(name: &str) -> Result<Plan, Problem> {
    ALL.into_iter()
        .find(|plan| plan.name == name)
        .ok_or_else(|| Problem::invalid("plan", "There is no such plan.", "Choose small, medium or large."))
}

impl Plan {
    /// Its place among all, the smallest first.
    fn rank(self) -> usize {
        ALL.iter().position(|plan| *plan == self).unwrap_or(0)
    }

    /// Plans that a cluster of this one may change to, itself included.
    pub fn and_larger(self) -> impl Iterator<Item = Plan> {
        ALL.into_iter().skip(self.rank())
    }

    /// Checks a number of SPUs.
    pub fn check_spus(self, spus: i32) -> Result<(), Problem> {
        if (1..=self.spus).contains(&spus) {
            return Ok(());
        }
        let detail = format!("A cluster of the plan {} has 1 to {} SPUs.", self.name, self.spus);
        let larger = ALL.into_iter().find(|plan| (1..=plan.spus).contains(&spus));
        let fix = match larger {
            Some(plan) => format!("Choose a number in that range, or the plan {}.", plan.name),
            None => "Choose a number in that range; 1 is enough to start.".to_owned(),
        };
        Err(Problem::invalid("spus", detail, fix))
    }
}

/// A cluster's size: what it is, or what it shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Its plan.
    pub plan: Plan,
    /// Its SPUs.
    pub spus: i32,
}

/// Checks that a cluster of this size may become one of that.
pub fn check_change(from: Size, to: Size, runtime: &str) -> Result<(), Problem> {
    if to.plan.rank() < from.plan.rank() {
        let detail = format!("A cluster of the plan {} does not become smaller.", from.plan.name);
        let fix = "Keep the plan, or create a smaller cluster and move the data.";
        return Err(Problem::invalid("plan", detail, fix));
    }
    if to.spus == from.spus {
        // A cluster from before the plans may have more than its plan gives.
        return Ok(());
    }
    to.plan.check_spus(to.spus)?;
    if to.spus < from.spus && runtime == "process" {
        let detail = "SPUs of a cluster on one machine are not taken away: each holds records.";
        return Err(Problem::invalid("spus", detail, format!("Choose {} or more.", from.spus)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(plan: &str, spus: i32) -> Size {
        Size { plan: named(plan).unwrap(), spus }
    }

    #[test]
    fn a_cluster_grows_and_shrinks_only_where_nothing_is_lost() {
        for (from, to, runtime, fault) in [
            (size("small", 1), size("small", 1), "process", None),
            (size("small", 1), size("small", 3), "process", None),
            (size("small", 3), size("small", 1), "process", Some("spus")),
            (size("small", 3), size("small", 1), "kubernetes", None),
            (size("small", 3), size("small", 0), "kubernetes", Some("spus")),
            (size("small", 3), size("small", 4), "kubernetes", Some("spus")),
            (size("small", 3), size("medium", 4), "kubernetes", None),
            (size("medium", 3), size("small", 3), "kubernetes", Some("plan")),
            (size("large", 9), size("large", 10), "kubernetes", Some("spus")),
            (size("small", 9), size("small", 9), "process", None),
            (size("small", 9), size("large", 9), "process", None),
        ] {
            let outcome = check_change(from, to, runtime);
            let field = match &outcome {
                Err(Problem::Invalid { field, .. }) => Some(*field),
                _ => None,
            };
            assert_eq!((outcome.is_ok(), field), (fault.is_none(), fault), "{from:?} {to:?} {runtime}");
        }
    }

    #[test]
    fn every_plan_gives_more_than_the_one_before() {
        for pair in ALL.windows(2) {
            let (less, more) = (pair[0], pair[1]);
            assert!(less.spus < more.spus && less.storage_bytes < more.storage_bytes);
            assert!(less.partitions < more.partitions && less.connections < more.connections);
            assert!(less.bytes_per_second < more.bytes_per_second);
            assert!(less.requests_per_second < more.requests_per_second);
            assert_eq!(less.and_larger().next(), Some(less));
            assert!(more.and_larger().all(|plan| plan != less));
        }
        assert!(named("huge").is_err());
    }

    #[test]
    fn too_many_spus_name_the_plan_that_has_them() {
        let fix = |spus| SMALLEST.check_spus(spus).unwrap_err().shown().fix;
        assert!(fix(5).contains("medium") && fix(9).contains("large"));
        assert!(!fix(10).contains("plan") && !fix(0).contains("plan"));
    }
}
