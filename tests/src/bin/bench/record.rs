//! What a run with a simulated fleet found, for people: a section of a file that is kept in the tree.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context;
use e2e::scale::Findings;

use crate::report::Machine;

const PREFACE: &str = "# Fleets on simulated nodes

Written by `bench fleet --tenants N --record FILE`, one section a run. API server, etcd, scheduler, controllers, database,
signer, portal and provisioner are real and share the machine with the measurement. Nodes, pods and volumes are objects
only (kwok), and one listener stands for all SCs: it takes their settings and says at once that they are healthy, over the
same mutual TLS. So nothing here tells how fast a server starts or serves; it tells what keeping so many costs.

*Floor*: a client that only sends applies the same objects over 16 connections for a sample of tenants on the empty API
server, until their simulated pods run; times the number of tenants. *Run*: from one statement in the database until every
tenant's page says `running`.
";

/// Appends a section.
pub fn append(path: &Path, machine: &Machine, found: &Findings) -> anyhow::Result<()> {
    let new = !path.exists();
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    let text = section(machine, found);
    let whole = if new { format!("{PREFACE}{text}") } else { text };
    file.write_all(whole.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}

fn section(machine: &Machine, found: &Findings) -> String {
    let mut text = format!("\n## {} tenants\n\n", found.tenants);
    for line in machine.to_string().lines().filter(|line| !line.contains("peer")) {
        let _ = writeln!(text, "{line}  ");
    }
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    let _ = writeln!(text, "{build} build\n\n| what | figure |\n|---|---|");
    for (what, figure) in rows(found) {
        let _ = writeln!(text, "| {what} | {figure} |");
    }
    let others = (found.tenants - 1) as f64;
    let each = |seconds: &f64, tenants: f64| seconds * 1e3 / tenants;
    let _ = writeln!(
        text,
        "\n| program | floor, ms a tenant | until all run, ms a tenant | settled, % of a core | MiB |"
    );
    let _ = writeln!(text, "|---|---|---|---|---|");
    let mut names: Vec<&String> = found.processor_seconds.keys().chain(found.memory_mib.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let get = |map: &BTreeMap<String, f64>| map.get(name).copied().unwrap_or(0.0);
        let _ = writeln!(
            text,
            "| {name} | {:.1} | {:.1} | {:.2} | {:.0} |",
            each(&get(&found.floor.processor_seconds), 1.0),
            each(&get(&found.processor_seconds), others),
            get(&found.settled.processor_percent),
            get(&found.memory_mib),
        );
    }
    text
}

fn rows(found: &Findings) -> Vec<(&'static str, String)> {
    let mebibytes = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let calls: Vec<String> = found
        .calls
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(verb, count)| format!("{verb} {:.1}", *count as f64 / (found.tenants - 1) as f64))
        .collect();
    vec![
        ("until all run", format!("{:.1} s", found.converged_seconds)),
        (
            "floor",
            format!(
                "{:.1} s ({:.0} ms a tenant, of which {:.0} ms until the objects are taken; sample of {})",
                found.floor_seconds,
                found.floor.running_seconds * 1e3,
                found.floor.taken_seconds * 1e3,
                found.floor.tenants
            ),
        ),
        ("over the floor", format!("{:.2} x (target 1.5, hard floor 4)", found.over_the_floor())),
        ("objects a tenant, Secrets included", found.floor.objects.to_string()),
        ("provisioner's calls a tenant", format!("{:.1} ({})", found.calls_per_tenant, calls.join(", "))),
        ("provisioner's processor time a tenant", format!("{:.1} ms", found.processor_ms_per_tenant)),
        ("provisioner's memory (PSS), all made", mebibytes(found.provisioner_converged_bytes)),
        ("provisioner's memory (PSS), all found at a start", mebibytes(found.provisioner_restarted_bytes)),
        ("portal's memory (PSS), the page of the whole fleet drawn", mebibytes(found.portal_bytes)),
        (
            "a provisioner new to the settled world",
            format!(
                "{} changing calls, {:.1} s until it had asked all",
                found.settled_changes, found.settled_seconds
            ),
        ),
        (
            "one more SPU for one tenant among all",
            format!("{} calls, {:.2} s", found.change_among.calls, found.change_among.seconds),
        ),
        (
            "the same for one tenant alone",
            format!("{} calls, {:.2} s", found.change_alone.calls, found.change_alone.seconds),
        ),
        (
            "settled",
            format!(
                "{:.1} SCs asked and {:.1} calls to the API server a second, looked at for {:.0} s",
                found.settled.questions_per_second, found.settled.calls_per_second, found.settled.seconds
            ),
        ),
    ]
}
