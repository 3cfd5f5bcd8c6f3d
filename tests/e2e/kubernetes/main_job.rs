use e2e::fleet::{Fleet, ready_pods};
use e2e::person::Person;
use e2e::stream::whole_flow;
use e2e::tenant::Tenant;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_signs_up_and_owns_pods_in_a_namespace_of_their_own() -> anyhow::Result<()> {
    let fleet = Fleet::shared()?;
    let _quiet = Fleet::undisturbed().await;
    let tenant = Tenant::with_cluster(Person::sign_up_in(fleet.visitor()).await?, "quince", 1).await?;
    whole_flow(&tenant, "hello").await?;
    let namespace = Fleet::namespace(&tenant.cluster.id);
    // The kubelet tells a little later than the cluster itself.
    fleet
        .until("both servers are ready", async || {
            Ok((ready_pods(&fleet.objects(&namespace, "pods").await?) == ["main-0", "sc-0"]).then_some(()))
        })
        .await?;
    let object = fleet.object("", "namespace", &namespace).await?.expect("the namespace");
    assert_eq!(object["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
    // Nothing that the tenant chose names anything, or is in what describes it.
    tenant.person.create_cluster("quetzalcoatl", 1).await?;
    let kinds = "namespaces,statefulsets,pods,services,secrets,configmaps,persistentvolumeclaims";
    let everything = fleet.kubectl(&["get", "--all-namespaces", kinds, "--output=yaml"]).await?;
    let person = tenant.person.email.split('@').next().unwrap_or_default();
    for chosen in ["quetzalcoatl", person] {
        assert!(!everything.contains(chosen), "{chosen} is in an object");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tenants_share_the_endpoint_and_nothing_else() -> anyhow::Result<()> {
    let fleet = Fleet::shared()?;
    let _quiet = Fleet::undisturbed().await;
    let (one, other) = (fleet.tenant().await?, fleet.tenant().await?);
    assert_eq!(one.cluster.endpoint, other.cluster.endpoint);
    whole_flow(&one, "mine").await?;
    whole_flow(&other, "mine").await?;
    // One's certificate, the other's name.
    let mut profile = one.profile()?;
    let fluvio::config::TlsPolicy::Verified(fluvio::config::TlsConfig::Inline(mut certs)) = profile.tls
    else {
        anyhow::bail!("the profile has no inline certificates");
    };
    let theirs = other.credentials()?;
    (certs.domain, certs.ca_cert) = (theirs.domain, theirs.ca);
    profile.tls = fluvio::config::TlsPolicy::Verified(fluvio::config::TlsConfig::Inline(certs));
    let opened = e2e::wait::within(
        "an answer",
        std::time::Duration::from_secs(30),
        fluvio::Fluvio::connect_with_config(&profile),
    )
    .await;
    assert!(opened.is_err(), "a certificate of one cluster opened another");
    Ok(())
}
