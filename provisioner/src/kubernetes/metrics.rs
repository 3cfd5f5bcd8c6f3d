//! What is counted, for `/metrics`.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A verb of the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Reads one object.
    Get,
    /// Reads many.
    List,
    /// Begins to hear of changes.
    Watch,
    /// Makes an object.
    Create,
    /// Sets fields of an object.
    Patch,
    /// Writes an object whole.
    Update,
    /// Deletes an object.
    Delete,
}

impl Verb {
    const ALL: [(Verb, &'static str); 7] = [
        (Verb::Get, "get"),
        (Verb::List, "list"),
        (Verb::Watch, "watch"),
        (Verb::Create, "create"),
        (Verb::Patch, "patch"),
        (Verb::Update, "update"),
        (Verb::Delete, "delete"),
    ];
}

/// Upper bounds of the buckets, in milliseconds.
const BOUNDS: [u64; 10] = [1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000];

/// Durations, counted by bucket.
#[derive(Debug, Default)]
struct Times {
    buckets: [AtomicU64; BOUNDS.len()],
    count: AtomicU64,
    micros: AtomicU64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Counters {
    calls: [AtomicU64; Verb::ALL.len()],
    events: AtomicU64,
    passes: Times,
    troubles: AtomicU64,
    became_running: Times,
}

impl Counters {
    /// A request to the API server.
    pub fn call(&self, verb: Verb) {
        let at = Verb::ALL.iter().position(|(known, _)| *known == verb).unwrap_or(0);
        self.calls[at].fetch_add(1, Relaxed);
    }

    /// Something changed in the API server.
    pub fn event(&self) {
        self.events.fetch_add(1, Relaxed);
    }

    /// A pass over one cluster ended.
    pub fn pass(&self, took: Duration, trouble: bool) {
        self.passes.add(took);
        self.troubles.fetch_add(u64::from(trouble), Relaxed);
    }

    /// A cluster became usable, this long after the provisioner took it up.
    pub fn running_after(&self, took: Duration) {
        self.became_running.add(took);
    }

    /// The Prometheus text. `gauges` are the clusters by what they wait for.
    pub fn text(&self, gauges: &[(&str, &str, usize)]) -> String {
        let mut text = String::from(
            "# HELP provisioner_api_calls_total Requests to the API server.\n\
             # TYPE provisioner_api_calls_total counter\n",
        );
        for ((_, verb), calls) in Verb::ALL.iter().zip(&self.calls) {
            let _ = writeln!(text, "provisioner_api_calls_total{{verb=\"{verb}\"}} {}", calls.load(Relaxed));
        }
        for (name, help, value) in [
            ("provisioner_watch_events_total", "Changes heard from the API server.", &self.events),
            ("provisioner_passes_in_trouble_total", "Passes that ended in trouble.", &self.troubles),
        ] {
            let value = value.load(Relaxed);
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}");
        }
        self.passes.write(&mut text, "provisioner_pass_seconds", "One pass over one cluster.");
        let help = "From taking up a new cluster until it runs.";
        self.became_running.write(&mut text, "provisioner_ready_seconds", help);
        for (name, help, value) in gauges {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
        }
        text
    }
}

impl Times {
    fn add(&self, took: Duration) {
        let millis = took.as_millis();
        for (bucket, bound) in self.buckets.iter().zip(BOUNDS) {
            bucket.fetch_add(u64::from(millis <= u128::from(bound)), Relaxed);
        }
        self.count.fetch_add(1, Relaxed);
        self.micros.fetch_add(took.as_micros() as u64, Relaxed);
    }

    fn write(&self, text: &mut String, name: &str, help: &str) {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} histogram");
        for (bucket, bound) in self.buckets.iter().zip(BOUNDS) {
            let bound = bound as f64 / 1000.0;
            let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {}", bucket.load(Relaxed));
        }
        let (count, micros) = (self.count.load(Relaxed), self.micros.load(Relaxed));
        let _ = writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {count}");
        let _ = writeln!(text, "{name}_sum {}\n{name}_count {count}", micros as f64 / 1e6);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_in_the_text() {
        let counters = Counters::default();
        counters.call(Verb::Patch);
        counters.call(Verb::Patch);
        counters.pass(Duration::from_millis(20), true);
        let text = counters.text(&[("provisioner_clusters", "Clusters.", 7)]);
        for line in [
            "provisioner_api_calls_total{verb=\"patch\"} 2",
            "provisioner_api_calls_total{verb=\"get\"} 0",
            "provisioner_pass_seconds_bucket{le=\"0.01\"} 0",
            "provisioner_pass_seconds_bucket{le=\"0.03\"} 1",
            "provisioner_pass_seconds_sum 0.02",
            "provisioner_passes_in_trouble_total 1",
            "provisioner_clusters 7",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
    }
}
