//! On Kubernetes: from click to record with real pods, and thousands of tenants on simulated nodes.

use e2e::fleet::Fleet;
use e2e::person::Person;
use e2e::scale::Scale;

use crate::click;
use crate::report::{Better, Figure, Report};

/// Twenty clusters on a real node, images present.
pub async fn click(report: &mut Report) -> anyhow::Result<()> {
    let fleet = Fleet::shared()?;
    let figure = click::clicks(" on Kubernetes", async || Person::sign_up_in(fleet.visitor()).await).await?;
    report.add(figure.target(3.0).hard_floor(15.0));
    Ok(())
}

/// That many tenants, all their objects, beside what the API server alone needs for them.
pub async fn scale(report: &mut Report, tenants: usize) -> anyhow::Result<()> {
    eprintln!("{tenants} tenants on simulated nodes");
    let found = Scale::start("bench-scale", tenants).await?.measure(tenants).await?;
    eprintln!("{}", serde_json::to_string_pretty(&found)?);
    let ratio = found.converged_seconds / found.floor_seconds;
    let (mib, of) = (f64::from(1 << 20), format!("{tenants} tenants"));
    let lower =
        |what: &str, unit, value: f64| Figure::of(&format!("{of}: {what}"), unit, Better::Lower, vec![value]);
    report.add(
        lower("until all objects are there, over the API server's own floor", "x", ratio)
            .target(1.5)
            .hard_floor(4.0)
            .beside("seconds", found.converged_seconds)
            .beside("floor: the API server takes the same objects (s)", found.floor_seconds)
            .beside("objects a tenant", found.objects_per_tenant as f64)
            .beside("calls a tenant", found.calls_per_tenant)
            .beside("provisioner's processor time a tenant (ms)", found.processor_ms_per_tenant),
    );
    let pss = |bytes: u64| bytes as f64 / mib;
    report.add(
        lower("memory of the provisioner (PSS)", "MiB", pss(found.provisioner_pss_bytes))
            .target(100.0)
            .beside("memory of the portal (MiB)", pss(found.portal_pss_bytes)),
    );
    report.add(
        lower("changing calls of a pass over the settled world", "calls", found.settled_changes as f64)
            .hard_floor(0.0)
            .beside("seconds to look at all", found.settled_seconds),
    );
    report.add(
        lower("calls for one change among them", "calls", found.one_change_calls as f64)
            .beside("provisioner's processor time (ms)", found.one_change_processor_ms)
            .beside("seconds", found.one_change_seconds),
    );
    Ok(())
}
