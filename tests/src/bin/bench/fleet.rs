//! On Kubernetes: from click to record with real pods, and thousands of tenants on simulated nodes.

use e2e::fleet::Fleet;
use e2e::person::Person;
use e2e::scale::{Findings, Scale};

use crate::click;
use crate::report::{Better, Figure, Report};

/// Twenty clusters on a real node, images present.
pub async fn click(report: &mut Report) -> anyhow::Result<()> {
    let fleet = Fleet::shared()?;
    let figure = click::clicks(" on Kubernetes", async || Person::sign_up_in(fleet.visitor()).await).await?;
    report.add(figure.target(3.0).hard_floor(15.0));
    Ok(())
}

/// That many tenants, all their objects, beside what API server and controllers alone need for them.
pub async fn scale(report: &mut Report, tenants: usize) -> anyhow::Result<Findings> {
    eprintln!("{tenants} tenants on simulated nodes");
    let found = Scale::start("bench-scale", tenants).await?.measure(tenants).await?;
    eprintln!("{}", serde_json::to_string_pretty(&found)?);
    add(report, &found);
    Ok(found)
}

fn add(report: &mut Report, found: &Findings) {
    let (mib, of) = (f64::from(1 << 20), format!("{} tenants", found.tenants));
    let lower =
        |what: &str, unit, value: f64| Figure::of(&format!("{of}: {what}"), unit, Better::Lower, vec![value]);
    report.add(
        lower("until all run, over the floor of API server and controllers", "x", found.over_the_floor())
            .target(1.5)
            .hard_floor(4.0)
            .beside("seconds", found.converged_seconds)
            .beside("floor (s), by a sample", found.floor_seconds)
            .beside("calls a tenant", found.calls_per_tenant)
            .beside("objects a tenant", found.floor.objects as f64)
            .beside("provisioner's processor time a tenant (ms)", found.processor_ms_per_tenant),
    );
    let pss = |bytes: u64| bytes as f64 / mib;
    report.add(
        lower(
            "memory of the provisioner that made them (PSS)",
            "MiB",
            pss(found.provisioner_converged_bytes),
        )
        .target(100.0)
        .beside("of one that found them (MiB)", pss(found.provisioner_restarted_bytes))
        .beside("of the portal (MiB)", pss(found.portal_bytes)),
    );
    report.add(
        lower(
            "changing calls of a provisioner new to the settled world",
            "calls",
            found.settled_changes as f64,
        )
        .hard_floor(0.0)
        .beside("seconds until it had asked all", found.settled_seconds),
    );
    let share = |name: &str| found.settled.processor_percent.get(name).copied().unwrap_or(0.0);
    report.add(
        lower("provisioner's processor in the settled world", "% of a core", share("provisioner"))
            .beside("database's (%)", share("postgres"))
            .beside("SCs asked a second", found.settled.questions_per_second)
            .beside("calls a second", found.settled.calls_per_second),
    );
    report.add(
        lower("calls for one more SPU of one of them", "calls", found.change_among.calls as f64)
            .hard_floor(found.change_alone.calls as f64 + 5.0)
            .beside("of one tenant alone", found.change_alone.calls as f64)
            .beside("seconds", found.change_among.seconds)
            .beside("alone (s)", found.change_alone.seconds),
    );
}
