use e2e::scale::Scale;

/// The campaign does the same with thousands: `bench fleet --tenants 10000`.
const TENANTS: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_tenants_settle_and_one_change_among_them_costs_as_little_as_alone() -> anyhow::Result<()>
{
    let _turn = e2e::cloud::Cloud::turn().await;
    let found = Scale::start("scale", TENANTS).await?.measure(TENANTS).await?;
    println!("{found:#?}");
    assert_eq!(found.settled_changes, 0, "a settled world is written to");
    let calls = found.objects_per_tenant as f64 * 2.0 + 10.0;
    assert!(found.calls_per_tenant <= calls, "{} calls a tenant", found.calls_per_tenant);
    assert!(found.one_change_calls <= 20, "{} calls for one change", found.one_change_calls);
    assert!(found.provisioner_pss_bytes <= 100 << 20, "{} bytes", found.provisioner_pss_bytes);
    Ok(())
}
