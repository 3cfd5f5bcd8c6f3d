//! The words for what a cluster is doing: decided here once, for pages, events and the API alike.

use time::OffsetDateTime;

use crate::db::clusters::ClusterRow;

/// What a cluster is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// On its way to serving.
    Creating,
    /// Serves.
    Running,
    /// Serves in part.
    Degraded,
    /// Does not serve.
    Failed,
    /// On its way to rest.
    Pausing,
    /// Rests; its data is kept.
    Paused,
    /// On its way back to serving.
    Resuming,
    /// On its way out.
    Deleting,
    /// Out; its data is kept for the time of grace.
    Deleted,
}

impl State {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            State::Creating => "creating",
            State::Running => "running",
            State::Degraded => "degraded",
            State::Failed => "failed",
            State::Pausing => "pausing",
            State::Paused => "paused",
            State::Resuming => "resuming",
            State::Deleting => "deleting",
            State::Deleted => "deleted",
        }
    }

    /// Will change by itself soon.
    pub fn is_passing(self) -> bool {
        matches!(self, State::Creating | State::Pausing | State::Resuming | State::Deleting)
    }

    /// A client can be served.
    pub fn serves(self) -> bool {
        matches!(self, State::Running | State::Degraded)
    }
}

/// What is wanted of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// That it serves.
    Serving,
    /// That its servers rest.
    Rest,
    /// That it is gone.
    Gone,
}

impl Wanted {
    /// By what its row says.
    pub fn of(deleted: bool, paused: bool) -> Self {
        match (deleted, paused) {
            (true, _) => Wanted::Gone,
            (false, true) => Wanted::Rest,
            (false, false) => Wanted::Serving,
        }
    }
}

/// What is wanted decides the direction, what was seen decides how far it got. `served`: a client could use it once.
pub fn of(wanted: Wanted, seen: Option<&str>, served: bool) -> State {
    match (wanted, seen) {
        (Wanted::Gone, Some("deleted")) => State::Deleted,
        (Wanted::Gone, _) => State::Deleting,
        (Wanted::Rest, Some("paused")) => State::Paused,
        (Wanted::Rest, Some("failed")) => State::Failed,
        (Wanted::Rest, _) => State::Pausing,
        (Wanted::Serving, Some("running")) => State::Running,
        (Wanted::Serving, Some("degraded")) => State::Degraded,
        (Wanted::Serving, Some("failed")) => State::Failed,
        // A resumed or undeleted cluster is still seen as it was until it is started again.
        (Wanted::Serving, _) if served => State::Resuming,
        (Wanted::Serving, _) => State::Creating,
    }
}

impl ClusterRow {
    /// What the cluster is doing.
    pub fn state_now(&self) -> State {
        let wanted = Wanted::of(self.deleted_at.is_some(), self.paused_at.is_some());
        of(wanted, self.state.as_deref(), self.ready_at.is_some())
    }

    /// In the tenant's words: what is being done, or what is wrong.
    pub fn reason_now(&self) -> String {
        match (self.reason.as_deref(), self.state_now()) {
            (Some(reason), state) if !reason.is_empty() && self.state.as_deref() == Some(state.word()) => {
                reason.to_owned()
            }
            (_, State::Creating) => "Waiting for a machine to take it.".into(),
            (_, State::Pausing) => "Its servers are being stopped. Its data is kept.".into(),
            (_, State::Paused) => "Its servers rest. Data, certificates and access are kept.".into(),
            (_, State::Resuming) => "Its servers are being started.".into(),
            (_, State::Deleting) => "Its processes are being stopped.".into(),
            _ => String::new(),
        }
    }
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Done.
    Done,
    /// Under way.
    Now,
    /// Not begun.
    Later,
}

/// One step on the way to a running cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it is.
    pub title: &'static str,
    /// How far it is.
    pub progress: Progress,
}

/// The steps of a cluster on its way. The first one that is not done is under way.
pub fn steps(row: &ClusterRow) -> Vec<Step> {
    let ready = row.state_now().serves();
    let facts = [
        ("Recorded", true),
        ("Placed on a machine", ready || row.host.is_some()),
        ("Certificates made", ready || row.has_authorities),
        ("Servers started and reachable", ready || row.has_backends),
        ("A client has used it", ready),
    ];
    let first_open = facts.iter().position(|(_, done)| !done).unwrap_or(facts.len());
    let progress = |index: usize| match index.cmp(&first_open) {
        std::cmp::Ordering::Less => Progress::Done,
        std::cmp::Ordering::Equal => Progress::Now,
        std::cmp::Ordering::Greater => Progress::Later,
    };
    facts.iter().enumerate().map(|(index, (title, _))| Step { title, progress: progress(index) }).collect()
}

/// Seconds on the way: until it was first ready, or until now.
pub fn elapsed_seconds(row: &ClusterRow, now: OffsetDateTime) -> f64 {
    (row.ready_at.unwrap_or(now) - row.created_at).as_seconds_f64().max(0.0)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A cluster nobody has taken yet.
    pub fn row() -> ClusterRow {
        let created_at = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        ClusterRow {
            id: uuid::Uuid::from_u128(0x1234),
            name: "main".into(),
            label: "brave-otter-0a1b2c3d".into(),
            domain: "brave-otter-0a1b2c3d.fluvio.localhost".into(),
            runtime: "process".into(),
            region: "local".into(),
            endpoint: "127.0.0.1:9443".into(),
            host: None,
            plan: "small".into(),
            spus: 1,
            durability: "disk".into(),
            max_storage_bytes: 2_147_483_648,
            max_partitions: 100,
            max_connections: 500,
            max_message_bytes: 33_554_432,
            rate_bytes_in: None,
            rate_bytes_out: None,
            rate_requests: None,
            principal_bytes_in: None,
            principal_bytes_out: None,
            principal_requests: None,
            principal_connections: None,
            created_at,
            paused_at: None,
            deleted_at: None,
            purge_after: None,
            state: None,
            reason: None,
            spus_ready: None,
            partitions: None,
            storage_bytes: None,
            ready_at: None,
            has_authorities: false,
            has_backends: false,
            open: 0,
        }
    }

    #[test]
    fn the_state_follows_what_is_wanted_and_what_was_seen() {
        use Wanted::{Gone, Rest, Serving};
        for (wanted, seen, served, state) in [
            (Serving, None, false, State::Creating),
            (Serving, Some("creating"), false, State::Creating),
            (Serving, Some("creating"), true, State::Resuming),
            (Serving, Some("paused"), true, State::Resuming),
            (Serving, Some("pausing"), true, State::Resuming),
            (Serving, Some("paused"), false, State::Creating),
            (Serving, Some("running"), true, State::Running),
            (Serving, Some("degraded"), true, State::Degraded),
            (Serving, Some("failed"), false, State::Failed),
            (Serving, Some("deleted"), false, State::Creating),
            (Serving, Some("deleting"), true, State::Resuming),
            (Rest, None, false, State::Pausing),
            (Rest, Some("running"), true, State::Pausing),
            (Rest, Some("pausing"), true, State::Pausing),
            (Rest, Some("paused"), true, State::Paused),
            (Rest, Some("failed"), true, State::Failed),
            (Gone, None, false, State::Deleting),
            (Gone, Some("running"), true, State::Deleting),
            (Gone, Some("paused"), true, State::Deleting),
            (Gone, Some("deleting"), true, State::Deleting),
            (Gone, Some("deleted"), true, State::Deleted),
        ] {
            assert_eq!(of(wanted, seen, served), state, "{wanted:?} {seen:?}");
        }
        assert_eq!(Wanted::of(true, true), Gone, "what is deleted goes, paused or not");
    }

    #[test]
    fn a_reason_of_another_state_is_not_shown() {
        let mut row = row();
        row.state = Some("deleted".into());
        row.reason = Some("Its data is kept.".into());
        assert_eq!(row.reason_now(), "Waiting for a machine to take it.");
        row.state = Some("creating".into());
        row.reason = Some("Starting the servers.".into());
        assert_eq!(row.reason_now(), "Starting the servers.");
    }

    #[test]
    fn exactly_one_step_is_under_way_until_all_are_done() {
        let mut row = row();
        let shape =
            |row: &ClusterRow| -> Vec<Progress> { steps(row).iter().map(|step| step.progress).collect() };
        use Progress::{Done, Later, Now};
        assert_eq!(shape(&row), [Done, Now, Later, Later, Later]);
        row.host = Some("local".into());
        row.has_backends = true;
        assert_eq!(shape(&row), [Done, Done, Now, Later, Later]);
        row.has_authorities = true;
        assert_eq!(shape(&row), [Done, Done, Done, Done, Now]);
        row.state = Some("running".into());
        assert_eq!(shape(&row), [Done; 5]);
    }

    #[test]
    fn the_clock_stops_when_the_cluster_is_ready() {
        let mut row = row();
        let later = |seconds| row.created_at + time::Duration::seconds(seconds);
        let (now, ready) = (later(60), later(2));
        assert!((elapsed_seconds(&row, now) - 60.0).abs() < 1e-6);
        row.ready_at = Some(ready);
        assert!((elapsed_seconds(&row, now) - 2.0).abs() < 1e-6);
    }
}
