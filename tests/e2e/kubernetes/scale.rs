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
    // Each object once, two looks at most for each Secret, and what comes by the clock.
    let calls = found.floor.objects as f64 + 15.0;
    assert!(found.calls_per_tenant <= calls, "{} calls a tenant", found.calls_per_tenant);
    let (alone, among) = (found.change_alone.calls, found.change_among.calls);
    assert!(among <= alone + 5, "{among} calls for one change, {alone} for one of a tenant alone");
    assert!(found.provisioner_converged_bytes <= 100 << 20, "{} bytes", found.provisioner_converged_bytes);
    // Unoptimised programs share the processor with the API server: four times its own time is for optimised ones.
    assert!(found.over_the_floor() <= 8.0, "{} times the floor", found.over_the_floor());
    Ok(())
}
