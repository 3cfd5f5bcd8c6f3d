//! The Prometheus text format.

use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::counters::{ENDED, Refusal};
use crate::server::Gateway;

/// All metrics as text.
pub(super) fn render(gateway: &Gateway, now: Instant) -> String {
    let mut text = String::with_capacity(4096);
    connections(&mut text, gateway);
    gauges(&mut text, gateway, now);
    clusters(&mut text, gateway);
    text
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn connections(text: &mut String, gateway: &Gateway) {
    let counters = &gateway.counters;
    let name = "gateway_connections_total";
    head(text, name, "counter", "Accepted connections by what became of them.");
    let _ = writeln!(text, "{name}{{result=\"routed\"}} {}", counters.routed());
    for reason in Refusal::ALL {
        let _ = writeln!(text, "{name}{{result=\"{}\"}} {}", reason.word(), counters.refused(reason));
    }
    let name = "gateway_connections_ended_total";
    head(text, name, "counter", "Routed connections that ended, by how.");
    for (index, word) in ENDED.into_iter().enumerate() {
        let _ = writeln!(text, "{name}{{how=\"{word}\"}} {}", counters.ended(index));
    }
    let name = "gateway_accept_errors_total";
    head(text, name, "counter", "Connections that the system did not hand out.");
    let _ = writeln!(text, "{name} {}", counters.accept_errors());
}

fn gauges(text: &mut String, gateway: &Gateway, now: Instant) {
    let routes = &gateway.routes;
    let known = routes.snapshot().map_or(0, |snapshot| snapshot.clusters.len());
    let waiting = gateway.counters.usage_rows_waiting.load(Ordering::Relaxed);
    let gauges = [
        ("gateway_connections_open", "Connections from clients.", gateway.connections.taken() as u64),
        ("gateway_half_open", "Connections without a whole hello.", gateway.half_open.len() as u64),
        ("gateway_sockets", "Sockets of clients and servers.", gateway.sockets.taken() as u64),
        (
            "gateway_sockets_limit",
            "Sockets that the open-file limit carries.",
            gateway.sockets.bound() as u64,
        ),
        ("gateway_client_addresses", "Client addresses remembered.", gateway.addresses.len() as u64),
        ("gateway_copy_buffers", "Large copy buffers in use.", gateway.buffers.lent() as u64),
        ("gateway_table_clusters", "Clusters in the table.", known as u64),
        ("gateway_usage_rows_waiting", "Usage rows that wait for the database.", waiting),
    ];
    for (name, help, value) in gauges {
        head(text, name, "gauge", help);
        let _ = writeln!(text, "{name} {value}");
    }
    if let Some(confirmed) = routes.confirmed() {
        let name = "gateway_table_age_seconds";
        head(
            text,
            name,
            "gauge",
            "Time since the database last agreed with the table; absent if it never did.",
        );
        let age = now.saturating_duration_since(confirmed).as_secs_f64();
        let _ = writeln!(text, "{name} {age:.3}");
    }
}

fn clusters(text: &mut String, gateway: &Gateway) {
    let table = gateway.routes.table();
    // A cluster that nobody ever called has nothing to show; there may be ten thousand of them.
    let mut all: Vec<_> = table
        .clusters()
        .map(|cluster| (cluster.id, cluster.usage.totals()))
        .filter(|(_, totals)| *totals != Default::default())
        .collect();
    all.sort_unstable_by_key(|(id, _)| *id);
    let name = "gateway_cluster_bytes_total";
    head(text, name, "counter", "Bytes by cluster; in is from clients.");
    for (id, totals) in &all {
        let _ = writeln!(text, "{name}{{cluster=\"{id}\",direction=\"in\"}} {}", totals.bytes_in);
        let _ = writeln!(text, "{name}{{cluster=\"{id}\",direction=\"out\"}} {}", totals.bytes_out);
    }
    let name = "gateway_cluster_connections_open";
    head(text, name, "gauge", "Connections open by cluster.");
    for (id, totals) in &all {
        let _ = writeln!(text, "{name}{{cluster=\"{id}\"}} {}", totals.open);
    }
    let name = "gateway_cluster_connections_total";
    head(text, name, "counter", "Connections by cluster, opened or refused by one of its limits.");
    for (id, totals) in &all {
        let _ = writeln!(text, "{name}{{cluster=\"{id}\",result=\"opened\"}} {}", totals.opened);
        let _ = writeln!(text, "{name}{{cluster=\"{id}\",result=\"refused\"}} {}", totals.refused);
    }
}
