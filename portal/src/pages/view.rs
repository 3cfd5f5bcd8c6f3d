//! Clusters as pages show them: every figure with its unit, every time relative and exact.

use time::OffsetDateTime;

use crate::clusters::plans::Plan;
use crate::clusters::state::{self, Progress, State, Step};
use crate::db::clusters::ClusterRow;
use crate::pages::chart::Traffic;
use crate::problem::Problem;
use crate::show::{self, When};

/// What is wrong with a form, beside its field.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The field's name; empty when the fault is none of a field's.
    pub field: &'static str,
    /// What is wrong; empty when nothing is.
    pub detail: String,
    /// What would be right.
    pub fix: String,
}

impl Fault {
    /// Nothing is wrong.
    pub fn none() -> Self {
        Fault { field: "", detail: String::new(), fix: String::new() }
    }

    /// A problem's words.
    pub fn of(problem: &Problem) -> Self {
        let shown = problem.shown();
        let field = if let Problem::Invalid { field, .. } = problem { field } else { "" };
        Fault { field, detail: shown.detail, fix: shown.fix }
    }

    /// Whether this field is the one.
    pub fn at(&self, field: &str) -> bool {
        !self.detail.is_empty() && self.field == field
    }

    /// Whether it is the form's as a whole.
    pub fn is_general(&self) -> bool {
        !self.detail.is_empty() && self.field.is_empty()
    }
}

/// One limit and what is used of it.
#[derive(Debug, Clone)]
pub struct Limit {
    /// Of what.
    pub name: &'static str,
    /// What is used, if that is counted.
    pub used: Option<String>,
    /// The most.
    pub most: String,
    /// Of a hundred.
    pub percent: i64,
}

/// A plan as a choice on a page.
#[derive(Debug, Clone)]
pub struct PlanChoice {
    /// Its name.
    pub name: &'static str,
    /// What it gives.
    pub gives: String,
    /// It is the one that is chosen now.
    pub chosen: bool,
}

impl PlanChoice {
    /// A plan, beside the name of the chosen one.
    pub fn new(plan: Plan, chosen: &str) -> Self {
        let (storage, partitions) = (show::bytes(plan.storage_bytes), show::count(plan.partitions.into()));
        let connections = show::count(plan.connections.into());
        PlanChoice {
            name: plan.name,
            gives: format!(
                "{storage}, {partitions} partitions, {connections} connections, up to {} SPUs",
                plan.spus
            ),
            chosen: plan.name == chosen,
        }
    }
}

/// A cluster as pages show it.
#[derive(Debug, Clone)]
pub struct ClusterView {
    /// The row.
    pub row: ClusterRow,
    /// What it is doing.
    pub state: State,
    /// In words.
    pub reason: String,
    /// Its way to serving.
    pub steps: Vec<Step>,
    /// Seconds on the way so far, for the clock on the page.
    pub elapsed: f64,
    /// When it was asked for.
    pub created: When,
    /// Until when it can be had back.
    pub kept: Option<When>,
    /// The last hour.
    pub traffic: Traffic,
}

impl ClusterView {
    /// A row as it is shown now.
    pub fn new(row: ClusterRow, traffic: Traffic, now: OffsetDateTime) -> Self {
        ClusterView {
            state: row.state_now(),
            reason: row.reason_now(),
            steps: state::steps(&row),
            elapsed: state::elapsed_seconds(&row, now),
            created: When::new(row.created_at, now),
            kept: row.purge_after.map(|at| When::new(at, now)),
            traffic,
            row,
        }
    }

    /// The word for the state.
    pub fn word(&self) -> &'static str {
        self.state.word()
    }

    /// Wanted and not deleted.
    pub fn lives(&self) -> bool {
        self.row.deleted_at.is_none()
    }

    /// Its servers shall rest.
    pub fn rests(&self) -> bool {
        self.row.paused_at.is_some()
    }

    /// How long it took is told while it serves.
    pub fn shows_took(&self) -> bool {
        self.row.ready_at.is_some() && self.state.serves()
    }

    /// The steps are shown until it serves.
    pub fn shows_steps(&self) -> bool {
        self.lives() && matches!(self.state, State::Creating | State::Failed)
    }

    /// How long it took, or takes.
    pub fn took(&self) -> String {
        show::seconds(self.elapsed)
    }

    /// Seconds with two digits, for the clock on the page.
    pub fn elapsed_text(&self) -> String {
        format!("{:.2}", self.elapsed)
    }

    /// SPUs that serve, of those wanted.
    pub fn spus(&self) -> String {
        format!("{} of {}", self.row.spus_ready.unwrap_or(0), self.row.spus)
    }

    /// The limits and what is used of them.
    pub fn limits(&self) -> Vec<Limit> {
        let row = &self.row;
        let percent = |used: i64, most: i64| (used.saturating_mul(100) / most.max(1)).clamp(0, 100);
        let at_most = |name, most| Limit { name, used: None, most, percent: 0 };
        let a_second = |name, bytes: Option<i64>| {
            bytes.map(|bytes| at_most(name, format!("{} a second", show::bytes(bytes))))
        };
        let requests = |name, requests: Option<i32>| {
            requests.map(|requests| at_most(name, format!("{} a second", show::count(requests.into()))))
        };
        let (storage, partitions) = (row.storage_bytes.unwrap_or(0), i64::from(row.partitions.unwrap_or(0)));
        let counted = [
            Limit {
                name: "Storage",
                used: Some(show::bytes(storage)),
                most: show::bytes(row.max_storage_bytes),
                percent: percent(storage, row.max_storage_bytes),
            },
            Limit {
                name: "Partitions",
                used: Some(show::count(partitions)),
                most: show::count(row.max_partitions.into()),
                percent: percent(partitions, row.max_partitions.into()),
            },
            Limit {
                name: "Connections",
                used: Some(show::count(row.open)),
                most: show::count(row.max_connections.into()),
                percent: percent(row.open, row.max_connections.into()),
            },
            at_most("Record size", show::bytes(row.max_message_bytes.into())),
        ];
        let rates = [
            a_second("In, on each server", row.rate_bytes_in),
            a_second("Out, on each server", row.rate_bytes_out),
            requests("Requests, on each server", row.rate_requests),
            a_second("In, each principal", row.principal_bytes_in),
            a_second("Out, each principal", row.principal_bytes_out),
            requests("Requests, each principal", row.principal_requests),
            row.principal_connections
                .map(|most| at_most("Connections, each principal", show::count(most.into()))),
        ];
        counted.into_iter().chain(rates.into_iter().flatten()).collect()
    }

    /// The name of a step's progress, for the style sheet.
    pub fn progress(&self, step: &Step) -> &'static str {
        match step.progress {
            Progress::Done => "done",
            Progress::Now if self.state == State::Failed => "failed",
            Progress::Now => "now",
            Progress::Later => "later",
        }
    }
}
