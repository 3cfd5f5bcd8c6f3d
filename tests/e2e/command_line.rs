use std::os::unix::fs::PermissionsExt;

use e2e::cloud::Cloud;
use e2e::person::Person;
use e2e::stream::{create_topic, read_all};
use e2e::tenant::Tenant;
use fluvio::Isolation;
use serde_json::Value;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cloud_login_writes_a_private_profile_and_proves_it() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    let mode = std::fs::metadata(tenant.profile_path())?.permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let again = tenant.log_in().await?;
    let said = again.text() + &again.stderr;
    assert!(said.contains(&tenant.cluster.endpoint), "the endpoint is printed: {said}");
    let me = tenant.fluvio(&["cloud", "whoami", "--output", "json"]).await?.succeed()?;
    let me: Value = serde_json::from_str(&me.text())?;
    assert!(me.to_string().contains(&tenant.person.email), "{me}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_changes_nothing_and_says_what_to_do() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let person = Person::sign_up(cloud).await?;
    let cluster = person.first_cluster().await?;
    let tenant = Tenant { person, cluster, home: tempfile::tempdir()? };
    let remote = cloud.portal();
    let arguments =
        ["cloud", "login", "--remote", &remote, "--email", &tenant.person.email, "--password-stdin"];
    let ran = tenant.fluvio_with(&arguments, b"not the password\n").await?;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("error:") && ran.stderr.contains("fix:"), "{}", ran.stderr);
    assert!(!tenant.profile_path().exists());
    let usage = tenant.fluvio(&["cloud", "login", "--no-such-option"]).await?;
    assert_eq!(usage.code, Some(2));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_in_a_file_logs_in_without_a_password() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let person = Person::sign_up(cloud).await?;
    let cluster = person.first_cluster().await?;
    let token = person
        .api
        .post_json("/api/v1/tokens", &serde_json::json!({"name": "a script"}))
        .await?
        .expect(201)?;
    let tenant = Tenant { person, cluster, home: tempfile::tempdir()? };
    let file = tenant.home.path().join("token");
    std::fs::write(&file, token.json()?["token"].as_str().expect("a token"))?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
    let (remote, file) = (cloud.portal(), file.to_string_lossy().into_owned());
    tenant.fluvio(&["cloud", "login", "--remote", &remote, "--token-file", &file]).await?.succeed()?;
    tenant.client().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters_are_created_listed_and_deleted_by_command() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    tenant.fluvio(&["cloud", "cluster", "create", "second", "--wait"]).await?.succeed()?;
    let listed = tenant.fluvio(&["cloud", "cluster", "list", "--output", "json"]).await?.succeed()?;
    let listed: Value = serde_json::from_str(&listed.text())?;
    assert!(listed.to_string().contains("second"), "{listed}");
    tenant.fluvio(&["cloud", "cluster", "sync", "second"]).await?.succeed()?;
    let refused = tenant.fluvio(&["cloud", "cluster", "delete", "second", "--confirm", "other"]).await?;
    assert_ne!(refused.code, Some(0), "the name must be typed");
    tenant.fluvio(&["cloud", "cluster", "delete", "second", "--confirm", "second"]).await?.succeed()?;
    let left = tenant.person.clusters().await?;
    assert!(left.iter().all(|each| each.name != "second" || each.state.starts_with("delet")), "{left:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_go_in_and_come_out_in_order() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    tenant.fluvio(&["topic", "create", "lines"]).await?.succeed()?;
    let sent: Vec<String> = (0..5_000).map(|n| format!("line {n}")).collect();
    tenant.fluvio_with(&["produce", "lines"], (sent.join("\n") + "\n").as_bytes()).await?.succeed()?;
    let read = tenant.fluvio(&["consume", "lines", "-B", "-d"]).await?.succeed()?;
    assert_eq!(read.text().lines().collect::<Vec<_>>(), sent);
    let last = tenant.fluvio(&["consume", "lines", "--tail", "2", "-d"]).await?.succeed()?;
    assert_eq!(last.text().lines().collect::<Vec<_>>(), ["line 4998", "line 4999"]);
    let topics = tenant.fluvio(&["topic", "list"]).await?.succeed()?;
    assert!(topics.text().contains("lines"));
    tenant.fluvio(&["partition", "list"]).await?.succeed()?;
    tenant.fluvio(&["cluster", "spu", "list"]).await?.succeed()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_go_in_and_come_out() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    create_topic(&tenant.admin().await?, "pairs", 1).await?;
    let input = b"one:first\ntwo:second\n";
    tenant.fluvio_with(&["produce", "pairs", "--key-separator", ":"], input).await?.succeed()?;
    let records = read_all(&tenant.client().await?, "pairs", 0, Isolation::ReadCommitted).await?;
    let pairs: Vec<_> =
        records.iter().map(|each| (each.key.clone().unwrap_or_default(), each.value.clone())).collect();
    assert_eq!(pairs, [(b"one".to_vec(), b"first".to_vec()), (b"two".to_vec(), b"second".to_vec())]);
    let read = tenant.fluvio(&["consume", "pairs", "-B", "-d", "--key-value"]).await?.succeed()?;
    assert!(read.text().contains("one") && read.text().contains("second"), "{}", read.text());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_closes_the_pipe_is_no_error() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    tenant.fluvio(&["topic", "create", "piped"]).await?.succeed()?;
    let lines = (0..20_000).map(|n| format!("a line of some length, number {n}\n")).collect::<String>();
    tenant.fluvio_with(&["produce", "piped"], lines.as_bytes()).await?.succeed()?;
    let fluvio = e2e::programs::program("fluvio")?;
    let script = format!("{} consume piped -B -d | head -n 1; exit ${{PIPESTATUS[0]}}", fluvio.display());
    let output = tokio::process::Command::new("timeout")
        .args(["60", "bash", "-c", &script])
        .env("HOME", tenant.home.path())
        .output()
        .await?;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_not_there_ends_with_code_one_and_a_way_out() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    for arguments in
        [&["produce", "nowhere"][..], &["consume", "nowhere", "-B", "-d"], &["topic", "delete", "nowhere"]]
    {
        let ran = tenant.fluvio_with(arguments, b"x\n").await?;
        assert_eq!(ran.code, Some(1), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("error:"), "{arguments:?}: {}", ran.stderr);
    }
    Ok(())
}
