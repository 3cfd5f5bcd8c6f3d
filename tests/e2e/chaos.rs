use std::time::Duration;

use e2e::cloud::Cloud;
use e2e::oracle::Load;
use e2e::person::Person;
use e2e::processes::Process;
use e2e::stream::{create_topic, produce, producer, read_all, works_again};
use e2e::tenant::Tenant;
use e2e::visitor::Visitor;
use e2e::wait::until;
use fluvio::Isolation;

/// A newcomer's whole way: every program is needed for it.
async fn a_newcomer_is_served(cloud: &Cloud) -> anyhow::Result<()> {
    let newcomer = until("a newcomer is served", Duration::from_secs(60), async || {
        Tenant::of(Person::sign_up(cloud).await?).await.map(Some)
    })
    .await?;
    works_again(&newcomer, "newcomer").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_of_the_cluster_process_loses_nothing_acknowledged() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let cloud = Cloud::start("kill-node", &[])?;
    let tenant = Tenant::new(&cloud).await?;
    let load = Load::start(&tenant, "under-load", 2).await?;
    for round in 0..4 {
        let node = cloud.cluster(&tenant.cluster.id);
        assert_eq!(node.len(), 1, "a cluster of one SPU is one process");
        node.iter().try_for_each(Process::kill)?;
        load.wait_for_more(200).await?;
        works_again(&tenant, &format!("after-{round}")).await?;
    }
    assert!(load.errors() > 0, "the writer felt the kills");
    println!("{} acknowledged records are there", load.verify(&tenant).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_of_one_spu_or_the_sc_of_three_loses_nothing_acknowledged() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let cloud = Cloud::start("kill-spu", &[])?;
    let tenant = Tenant::with_cluster(Person::sign_up(&cloud).await?, "three", 3).await?;
    let load = Load::start(&tenant, "under-load", 3).await?;
    for role in ["spu", "sc"] {
        let found: Vec<Process> = cloud.cluster(&tenant.cluster.id);
        let with_role = |each: &&Process| each.arguments.get(1).is_some_and(|argument| argument == role);
        let one = found.iter().find(with_role).unwrap_or_else(|| panic!("no {role} among {found:?}"));
        one.kill()?;
        load.wait_for_more(200).await?;
        works_again(&tenant, &format!("after-{role}")).await?;
    }
    println!("{} acknowledged records are there", load.verify(&tenant).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_of_every_program_in_turn_is_survived() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let cloud = Cloud::start("kill-each", &[])?;
    let tenant = Tenant::new(&cloud).await?;
    let load = Load::start(&tenant, "under-load", 1).await?;
    let node = cloud.cluster(&tenant.cluster.id);
    for program in ["provisioner", "portal", "signer", "gateway", "postgres"] {
        let errors = load.errors();
        let killed = cloud.kill(program)?;
        // Only the gateway is on the way of a record.
        if program != "gateway" {
            load.wait_for_more(200).await?;
            assert_eq!(load.errors(), errors, "a client felt the death of {program}");
        }
        cloud.wait_restarted(program, &killed)?;
        load.wait_for_more(200).await?;
        works_again(&tenant, &format!("after-{program}")).await?;
        a_newcomer_is_served(&cloud).await?;
    }
    let now: Vec<i32> = cloud.cluster(&tenant.cluster.id).iter().map(|each| each.pid).collect();
    assert_eq!(
        now,
        node.iter().map(|each| each.pid).collect::<Vec<_>>(),
        "the cluster was adopted, not restarted"
    );
    println!("{} acknowledged records are there", load.verify(&tenant).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_postgres_clients_go_on_even_through_restarts_of_gateway_and_provisioner()
-> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let cloud = Cloud::start("no-postgres", &[])?;
    let tenant = Tenant::new(&cloud).await?;
    let load = Load::start(&tenant, "without-postgres", 1).await?;
    let postmaster = cloud.program("postgres").into_iter().min_by_key(|each| each.pid).expect("a postmaster");
    // Stopped, so that the supervisor does not start another; no child of it answers either.
    let all: Vec<Process> = postgres_family(&postmaster)?;
    all.iter().try_for_each(|each| each.signal(rustix::process::Signal::STOP))?;
    let outcome = async {
        for program in ["gateway", "provisioner"] {
            let killed = cloud.kill(program)?;
            cloud.wait_restarted(program, &killed)?;
            load.wait_for_more(200).await?;
            works_again(&tenant, &format!("after-{program}")).await?;
        }
        // Even the cluster itself comes back: who restarts it needs no database.
        cloud.cluster(&tenant.cluster.id).iter().try_for_each(Process::kill)?;
        load.wait_for_more(200).await?;
        let page = tokio::time::timeout(Duration::from_secs(20), Visitor::of(&cloud).get("/")).await;
        assert!(page.is_ok(), "the portal answers something, be it that it cannot");
        anyhow::Ok(())
    }
    .await;
    all.iter().try_for_each(|each| each.signal(rustix::process::Signal::CONT))?;
    outcome?;
    a_newcomer_is_served(&cloud).await?;
    println!("{} acknowledged records are there", load.verify(&tenant).await?);
    Ok(())
}

/// The postmaster and its children.
fn postgres_family(postmaster: &Process) -> anyhow::Result<Vec<Process>> {
    let mut family = vec![postmaster.clone()];
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", postmaster.pid))?;
    for child in children.split_whitespace() {
        family.push(Process { pid: child.parse()?, arguments: vec!["postgres".to_string()] });
    }
    Ok(family)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cloud_killed_and_started_again_finds_its_state() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let cloud = Cloud::start("kill-cloud", &[])?;
    let tenant = Tenant::new(&cloud).await?;
    create_topic(&tenant.admin().await?, "kept", 1).await?;
    let (portal, gateway) = (cloud.portal(), cloud.gateway()?);
    let mut expected = Vec::new();
    for round in 0..3 {
        let value = format!("round {round}").into_bytes();
        produce(&producer(&tenant.client().await?, "kept").await?, std::slice::from_ref(&value)).await?;
        expected.push(value);
        if round == 0 {
            cloud.stop()?;
            assert!(cloud.processes().is_empty(), "an orderly stop leaves nothing: {:?}", cloud.processes());
        } else {
            cloud.kill_supervisor()?;
        }
        cloud.up()?;
        assert_eq!((cloud.portal(), cloud.gateway()?), (portal.clone(), gateway), "the same addresses");
        until("the records are there", Duration::from_secs(60), async || {
            let records = read_all(&tenant.client().await?, "kept", 0, Isolation::ReadCommitted).await?;
            let values: Vec<Vec<u8>> = records.into_iter().map(|each| each.value).collect();
            Ok((values == expected).then_some(()))
        })
        .await?;
        let programs: Vec<String> = ["portal", "signer", "provisioner", "gateway"]
            .into_iter()
            .filter(|name| cloud.program(name).len() != 1)
            .map(str::to_string)
            .collect();
        assert!(programs.is_empty(), "each runs once, but not {programs:?}");
        assert_eq!(cloud.cluster(&tenant.cluster.id).len(), 1, "one process for the cluster");
        a_newcomer_is_served(&cloud).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clouds_side_by_side_do_not_meet() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let shared = Cloud::shared()?;
    let second = Cloud::start("second", &[])?;
    let (here, there) = (Tenant::new(shared).await?, Tenant::new(&second).await?);
    works_again(&here, "here").await?;
    works_again(&there, "there").await?;
    let stranger = Visitor::of(&second);
    let body = serde_json::json!({"email": here.person.email, "password": here.person.password});
    stranger.post_json("/api/v1/login", &body).await?.expect(401)?;
    second.stop()?;
    works_again(&here, "still-here").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_cluster_leaves_nothing_behind() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let cloud = Cloud::start("deletion", &["--delete-grace-seconds", "3"])?;
    let tenant = Tenant::new(&cloud).await?;
    works_again(&tenant, "before").await?;
    let who = tenant.credentials()?;
    let path = format!("/api/v1/clusters/{}", tenant.cluster.id);
    tenant.person.api.delete(&path).await?.expect(202)?;
    let folder = cloud.cluster_folder(&tenant.cluster.id);
    until("processes and folder are gone", Duration::from_secs(60), async || {
        Ok((cloud.cluster(&tenant.cluster.id).is_empty() && !folder.exists()).then_some(()))
    })
    .await?;
    let mut database = cloud.database().await?;
    until("the rows are gone", Duration::from_secs(60), async || {
        let (rows,): (i64,) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM clusters WHERE id = $1::uuid) \
             + (SELECT count(*) FROM certificate_authorities WHERE cluster_id = $1::uuid) \
             + (SELECT count(*) FROM cluster_backends WHERE cluster_id = $1::uuid)",
        )
        .bind(&tenant.cluster.id)
        .fetch_one(&mut database)
        .await?;
        Ok((rows == 0).then_some(()))
    })
    .await?;
    assert!(e2e::raw::connect_as(cloud.gateway()?, &who, &who.domain).is_err(), "its route is gone");
    // Its label is never used again, and its owner can make another.
    tenant.person.create_cluster("another", 1).await?;
    Ok(())
}
