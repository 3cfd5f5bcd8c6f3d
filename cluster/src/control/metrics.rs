//! Numbers in the text format of Prometheus.

use std::fmt::{Display, Write};
use std::time::Duration;

use crate::sc::state::State;
use crate::usage::{Counter, PrincipalUsage, Throttled, Usage};

/// The format's name and version.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";

/// The process's own numbers.
pub fn of_process(usage: &Usage) -> String {
    let mut page = Page::default();
    for (name, kind, help, value) in [
        ("connections", GAUGE, "Connections open now.", usage.connections.get()),
        ("streams", GAUGE, "Consumer streams open now.", usage.streams.get()),
        ("connections_accepted_total", COUNTER, "Connections accepted.", usage.connections_accepted.get()),
        ("connections_refused_total", COUNTER, "Connections turned away.", usage.connections_refused.get()),
        (
            "connections_cut_total",
            COUNTER,
            "Connections ended for want of a right.",
            usage.connections_cut.get(),
        ),
        ("bytes_in_total", COUNTER, "Bytes of requests.", usage.bytes_in.get()),
        ("bytes_out_total", COUNTER, "Bytes of responses.", usage.bytes_out.get()),
        ("records_in_total", COUNTER, "Records stored.", usage.records_in.get()),
        ("record_bytes_in_total", COUNTER, "Bytes of batches stored.", usage.record_bytes_in.get()),
        ("record_bytes_out_total", COUNTER, "Bytes of batches sent.", usage.record_bytes_out.get()),
        ("requests_total", COUNTER, "Requests read.", usage.requests.get()),
        ("request_errors_total", COUNTER, "Requests that failed.", usage.request_errors.get()),
        ("decode_panics_total", COUNTER, "Decoder panics contained.", usage.decode_panics.get()),
        (
            "scrubbed_bytes_total",
            COUNTER,
            "Bytes of log read in search of damage.",
            usage.scrubbed_bytes.get(),
        ),
        ("damage_found_total", COUNTER, "Damaged places found in logs.", usage.damage_found.get()),
        ("damage_mended_total", COUNTER, "Damaged places mended from a copy.", usage.damage_mended.get()),
        ("damaged_places", GAUGE, "Damaged places in logs now.", usage.damaged.get()),
    ] {
        page.family(name, kind, help);
        page.sample(name, &[], value);
    }
    let throttled = "Time for which connections were held back by a limit of rates.";
    page.family("throttled_seconds_total", COUNTER, throttled);
    page.throttled("throttled_seconds_total", &[], &usage.throttled);
    principals(&mut page, usage);
    page.text
}

/// What each principal did that may come again.
fn principals(page: &mut Page, usage: &Usage) {
    type Value = fn(&PrincipalUsage) -> &Counter;
    let families: [(&str, &str, &str, Value); 4] = [
        ("principal_connections", GAUGE, "Connections of the principal open now.", |own| &own.connections),
        ("principal_bytes_in_total", COUNTER, "Bytes of the principal's requests.", |own| &own.bytes_in),
        ("principal_bytes_out_total", COUNTER, "Bytes of responses to the principal.", |own| &own.bytes_out),
        ("principal_requests_total", COUNTER, "Requests of the principal.", |own| &own.requests),
    ];
    let principals: Vec<_> =
        usage.principals.all().into_iter().map(|(id, own)| (id.to_string(), own)).collect();
    for (name, kind, help, value) in families {
        page.family(name, kind, help);
        for (principal, own) in &principals {
            page.sample(name, &[("principal", principal)], value(own).get());
        }
    }
    let name = "principal_throttled_seconds_total";
    page.family(name, COUNTER, "Time for which the principal's connections were held back.");
    for (principal, own) in &principals {
        page.throttled(name, &[("principal", principal)], &own.throttled);
    }
}

/// The cluster's numbers, as its SPUs reported them last.
pub fn of_cluster(state: &State) -> String {
    let mut page = Page::default();
    page.family("topics", GAUGE, "Topics, the system's not counted.");
    page.sample("topics", &[], state.n_topics());
    page.family("partitions", GAUGE, "Partitions, the system's not counted.");
    page.sample("partitions", &[], state.metadata.n_partitions());
    page.family("storage_bytes", GAUGE, "Bytes of log over all SPUs.");
    page.sample("storage_bytes", &[], state.storage_bytes());
    page.family("spu_online", GAUGE, "Whether the SPU is registered.");
    for (name, spu) in state.spus.iter() {
        page.sample("spu_online", &[("spu", name)], u8::from(spu.online));
    }
    partitions(&mut page, state);
    page.text
}

fn partitions(page: &mut Page, state: &State) {
    type Value = fn(&crate::sc::state::PartitionView) -> i64;
    let families: [(&str, &str, Value); 6] = [
        ("partition_online", "Whether the partition serves.", |view| i64::from(view.resolution.serves())),
        ("partition_start_offset", "First offset kept.", |view| view.numbers.base_offset),
        ("partition_high_watermark", "First offset not committed.", |view| view.numbers.high_watermark),
        ("partition_end_offset", "First offset not written.", |view| view.numbers.log_end),
        ("partition_size_bytes", "Bytes of log.", |view| view.numbers.size),
        ("partition_damaged_places", "Damaged places in all copies now.", |view| {
            i64::try_from(view.damaged()).unwrap_or(i64::MAX)
        }),
    ];
    for (name, help, value) in families {
        page.family(name, GAUGE, help);
        for (key, view) in state.partitions.iter() {
            let index = key.partition.to_string();
            page.sample(name, &[("topic", &key.topic), ("partition", &index)], value(view));
        }
    }
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP fluvio_{name} {help}"));
        self.line(format_args!("# TYPE fluvio_{name} {kind}"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
        match labels.is_empty() {
            true => self.line(format_args!("fluvio_{name} {value}")),
            false => self.line(format_args!("fluvio_{name}{{{}}} {value}", labels.join(","))),
        }
    }

    /// By direction, in seconds.
    fn throttled(&mut self, name: &str, labels: &[(&str, &str)], throttled: &Throttled) {
        for (direction, counter) in [("in", &throttled.inward), ("out", &throttled.outward)] {
            let labels = [labels, &[("direction", direction)]].concat();
            self.sample(name, &labels, Duration::from_nanos(counter.get()).as_secs_f64());
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("writing to a String cannot fail");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_label_cannot_break_out_of_its_quotes() {
        let mut page = Page::default();
        page.sample("x", &[("topic", "a\"b\\c\nd")], 1);
        assert_eq!(page.text, "fluvio_x{topic=\"a\\\"b\\\\c\\nd\"} 1\n");
    }

    #[test]
    fn every_sample_belongs_to_a_family_named_before_it() {
        let usage = Usage::default();
        usage.records_in.add(7);
        usage.throttled.inward.add(1_500_000_000);
        let principal = usage.principals.of(Uuid::from_u128(1));
        principal.requests.add(9);
        principal.throttled.outward.add(2_000_000_000);
        let text = of_process(&usage) + &of_cluster(&State::default());
        let mut family = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                family = rest.split(' ').next().unwrap();
            } else if !line.starts_with('#') {
                assert_eq!(line.split([' ', '{']).next(), Some(family));
                assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
            }
        }
        let principal = "principal=\"00000000-0000-0000-0000-000000000001\"";
        for line in [
            "fluvio_records_in_total 7",
            "fluvio_throttled_seconds_total{direction=\"in\"} 1.5",
            "fluvio_throttled_seconds_total{direction=\"out\"} 0",
            &format!("fluvio_principal_connections{{{principal}}} 0"),
            &format!("fluvio_principal_requests_total{{{principal}}} 9"),
            &format!("fluvio_principal_throttled_seconds_total{{{principal},direction=\"out\"}} 2"),
        ] {
            assert!(text.contains(&format!("\n{line}\n")), "{line}");
        }
    }
}
