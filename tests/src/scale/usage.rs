//! Who uses the processor and the memory, by program.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::processes::Process;

/// Programs by what they are called here: processor time so far, and memory (PSS, bytes).
pub type Usage = BTreeMap<String, (Duration, u64)>;

/// Every process in the network of `node`, and these ones with what they started.
pub fn of(node: i32, others: &[(&str, i32)]) -> Usage {
    let mut usage = Usage::new();
    let network = network_of(node);
    for pid in all() {
        if network.is_some() && network_of(pid) == network {
            add(&mut usage, &name_of(pid), pid);
        }
    }
    for (name, pid) in others {
        for pid in family(*pid) {
            add(&mut usage, name, pid);
        }
    }
    usage
}

/// Seconds of processor time by program between two looks, nothing below a hundredth.
pub fn spent(before: &Usage, after: &Usage) -> BTreeMap<String, f64> {
    let spent = after.iter().map(|(name, (now, _))| {
        let then = before.get(name).map_or(Duration::ZERO, |(then, _)| *then);
        (name.clone(), now.saturating_sub(then).as_secs_f64())
    });
    spent.filter(|(_, seconds)| *seconds >= 0.01).collect()
}

/// MiB by program, nothing below ten.
pub fn memory(usage: &Usage) -> BTreeMap<String, f64> {
    let memory = usage.iter().map(|(name, (_, bytes))| (name.clone(), *bytes as f64 / f64::from(1 << 20)));
    memory.filter(|(_, mebibytes)| *mebibytes >= 10.0).collect()
}

pub fn add(usage: &mut Usage, name: &str, pid: i32) {
    let process = Process { pid, arguments: Vec::new() };
    // One that ended in between counts no more.
    let Ok(time) = process.processor_time() else { return };
    let known = usage.entry(name.to_string()).or_default();
    *known = (known.0 + time, known.1 + process.pss().unwrap_or(0));
}

fn all() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn network_of(pid: i32) -> Option<std::path::PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/net")).ok()
}

fn name_of(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_string()
}

/// A process and all that come from it.
fn family(pid: i32) -> Vec<i32> {
    let mut family = vec![pid];
    let mut at = 0;
    while let Some(pid) = family.get(at).copied() {
        at += 1;
        // A child may have come from any thread.
        for task in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            family.extend(children.split_whitespace().filter_map(|child| child.parse::<i32>().ok()));
        }
    }
    family
}
