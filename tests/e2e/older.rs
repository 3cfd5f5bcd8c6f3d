use std::process::Stdio;

use anyhow::Context;
use e2e::cloud::Cloud;
use e2e::older;
use e2e::person::Person;
use e2e::stream::{STEP_WITHIN, create_copied_topic, works_again};
use e2e::tenant::Tenant;
use e2e::wait::within;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

/// One of the older clients at work with the tenant's profile.
async fn client(tenant: &Tenant, arguments: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(tokio::task::spawn_blocking(older::clients).await??);
    command.args(arguments).env("FLV_PROFILE_PATH", tenant.profile_path()).kill_on_drop(true);
    Ok(command)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_older_clients_create_produce_consume_commit_and_delete() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    for release in older::RELEASES {
        let topic = format!("older-{}", release.replace('.', "-"));
        let ran = client(&tenant, &[release, "job", &topic]).await?.output().await?;
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success(), "{release}: {said}\n{}", String::from_utf8_lossy(&ran.stderr));
        assert_eq!(said.trim(), "500 records came back", "{release}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_clients_live_on_while_the_sc_and_every_spu_are_killed() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let cloud = Cloud::start("older-held", &[])?;
    let tenant = Tenant::with_cluster(Person::sign_up(&cloud).await?, "three", 3).await?;
    let admin = tenant.admin().await?;
    let mut held = Vec::new();
    for release in older::RELEASES {
        let topic = format!("held-{}", release.replace('.', "-"));
        create_copied_topic(&admin, &topic, 1, 3).await?;
        let mut client = client(&tenant, &[release, "held", &topic])
            .await?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let says = client.stdin.take().context("standard input")?;
        let hears = BufReader::new(client.stdout.take().context("standard output")?).lines();
        held.push((release, client, says, hears));
    }
    for killed in ["nothing", "sc", "main-0", "main-1", "main-2"] {
        if killed != "nothing" {
            cloud.server(&tenant.cluster.id, killed)?.kill()?;
        }
        for (release, _, says, hears) in &mut held {
            let line = format!("after {killed}");
            says.write_all(format!("{line}\n").as_bytes()).await?;
            let what = format!("{release} consumes what it sent after {killed} was killed");
            let came = within(&what, 2 * STEP_WITHIN, hears.next_line()).await?;
            assert_eq!(came, Some(line), "{release}");
        }
        works_again(&tenant, &format!("after-{killed}")).await?;
    }
    Ok(())
}
