//! Values that the chart refuses, with a word that says which.

use e2e::chart::{run, value_set};

#[test]
fn values_that_nobody_can_mean_are_refused_by_name() -> anyhow::Result<()> {
    let values = value_set("least")?;
    for (set, word) in [
        ("portal.replcas=3", "replcas"),
        ("nonsense=1", "nonsense"),
        ("cloud.portalUrl=http://cloud.example.org", "portalUrl"),
        ("cloud.portalUrl=https://cloud.example.org/path", "portalUrl"),
        ("cloud.portalUrl=", "portalUrl"),
        ("cloud.gatewayEndpoint=fluvio.example.org", "gatewayEndpoint"),
        ("cloud.baseDomain=Tenants.example.org", "baseDomain"),
        ("cloud.region=EU", "region"),
        ("cloud.deleteGraceSeconds=-1", "deleteGraceSeconds"),
        ("images.pullPolicy=Sometimes", "pullPolicy"),
        ("images.digests.portal=sha256:12", "digests"),
        ("images.digests.portl=sha256:12", "portl"),
        ("images.tags.pause=3", "pause"),
        ("portal.replicas=0", "replicas"),
        ("portal.replicas=two", "replicas"),
        ("portal.service.type=NodePort", "service"),
        ("portal.service.port=70000", "port"),
        ("portal.mail.kind=pigeon", "mail"),
        ("portal.rates.sign_ins=3", "rates"),
        ("portal.trustedProxies={proxy.example.org}", "trustedProxies"),
        ("portal.resources.limits.memory=lots", "memory"),
        ("portal.resources.limits=null", "limits"),
        ("gateway.drainSeconds=100000", "drainSeconds"),
        ("gateway.limits.max_conections=1", "limits"),
        ("gateway.service.externalIPs={node}", "externalIPs"),
        ("provisioner.zones={a,a}", "zones"),
        ("provisioner.zones={Zone A}", "zones"),
        ("provisioner.podSecurityVersion=latest", "podSecurityVersion"),
        ("provisioner.serverCertificateSeconds=1", "serverCertificateSeconds"),
        ("postgres.external.database=a;b", "database"),
        ("networkPolicy.portalFrom={everybody}", "portalFrom"),
        ("priority.tenant=2000000000", "tenant"),
        ("spread=Maybe", "spread"),
        // What a schema cannot say.
        ("postgres.enabled=false", "postgres.external"),
        ("cloud.home=false", "postgres.enabled"),
        ("portal.mail.host=", "portal.mail.host"),
        ("portal.mail.from=", "portal.mail.from"),
    ] {
        let output = run("template", &values, &[set])?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{set} was taken");
        assert!(said.contains(word), "{set}: {said}");
    }
    Ok(())
}

#[test]
fn the_chart_s_own_defaults_do_not_install_a_cloud_for_nowhere() -> anyhow::Result<()> {
    let mut helm = e2e::chart::helm()?;
    let output = helm.arg("template").arg(e2e::chart::folder()?).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    for word in ["portalUrl", "gatewayEndpoint", "baseDomain"] {
        assert!(said.contains(word), "{word} is not asked for: {said}");
    }
    Ok(())
}
