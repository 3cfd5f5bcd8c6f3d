use std::time::Duration;

use e2e::cloud::Cloud;
use e2e::http::Ask;
use e2e::person::Person;
use e2e::stream::{create_topic, produce, producer, read_all, works_again};
use e2e::tenant::Tenant;
use e2e::wait::until;
use fluvio::Isolation;
use hyper::Method;
use serde_json::{Value, json};

/// A notification and a look of the gateway; far less than that.
const REFUSED_WITHIN: Duration = Duration::from_secs(20);
const RUNNING_WITHIN: Duration = Duration::from_secs(60);

async fn patch(person: &Person, cluster: &str, body: Value) -> anyhow::Result<e2e::http::Answer> {
    person.api.ask(Ask::new(Method::PATCH, &format!("/api/v1/clusters/{cluster}")).json(&body)).await
}

/// What was done to an object, oldest first, as the audit log has it.
async fn audited(cloud: &Cloud, object: &str) -> anyhow::Result<Vec<(String, String)>> {
    let query =
        "SELECT action, outcome FROM audit_events WHERE object = $1 AND action LIKE 'cluster.%' ORDER BY id";
    Ok(sqlx::query_as(query).bind(object).fetch_all(&mut cloud.database().await?).await?)
}

fn words(events: &[(String, String)]) -> Vec<String> {
    events.iter().map(|(action, outcome)| format!("{action} {outcome}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_is_chosen_and_grows_and_each_change_is_one_row_in_the_log() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let person = Person::sign_up(cloud).await?;
    let body = json!({ "name": "sized", "plan": "medium", "spus": 1 });
    let made = person.api.post_json("/api/v1/clusters", &body).await?.expect(201)?.json()?;
    let id = made["id"].as_str().unwrap().to_owned();
    assert_eq!((made["plan"].as_str(), &made["limits"]["partitions"]), (Some("medium"), &json!(400)));

    let grown = patch(&person, "sized", json!({ "plan": "large" })).await?.expect(200)?.json()?;
    assert_eq!((grown["plan"].as_str(), &grown["limits"]["connections"]), (Some("large"), &json!(10_000)));
    let same = patch(&person, "sized", json!({ "plan": "large", "spus": 1 })).await?.expect(200)?.json()?;
    assert_eq!(same["limits"], grown["limits"]);

    for (wrong, status) in [
        (json!({ "plan": "small" }), 422),
        (json!({ "plan": "huge" }), 422),
        (json!({ "spus": 0 }), 422),
        (json!({ "spus": 10 }), 422),
        (json!({ "max_storage_bytes": 1 }), 400),
    ] {
        let refused = patch(&person, "sized", wrong.clone()).await?.expect(status)?.json()?;
        assert!(refused["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "{wrong}: {refused}");
    }
    let more_than_small = json!({ "name": "wide", "spus": 4 });
    let refused = person.api.post_json("/api/v1/clusters", &more_than_small).await?.expect(422)?.json()?;
    assert!(refused["fix"].as_str().unwrap().contains("medium"), "{refused}");

    person.api.delete("/api/v1/clusters/sized").await?.expect(202)?;
    patch(&person, &id, json!({ "spus": 2 })).await?.expect(409)?;
    let log = words(&audited(cloud, &id).await?);
    let count = |what: &str| log.iter().filter(|line| line.as_str() == what).count();
    assert_eq!(count("cluster.update done"), 1, "{log:?}");
    assert_eq!(count("cluster.update refused"), 5, "{log:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_each_principal_may_do_is_set_shown_taken_away_and_in_force() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let tenant = Tenant::new(cloud).await?;
    let (person, id) = (&tenant.person, tenant.cluster.id.as_str());
    let none = json!({ "bytes_in_per_second": null, "bytes_out_per_second": null, "requests_per_second": null,
                       "connections": null });
    let made = person.api.get(&format!("/api/v1/clusters/{id}")).await?.expect(200)?.json()?;
    let of_all = json!({ "bytes_in_per_second": 256 << 20, "bytes_out_per_second": 256 << 20,
                         "requests_per_second": 20_000 });
    assert_eq!((&made["limits"]["rates"], &made["limits"]["principals"]), (&of_all, &none));

    let wanted = json!({ "bytes_in_per_second": 1 << 20, "bytes_out_per_second": 1 << 20,
                         "requests_per_second": 500, "connections": 16 });
    let set = patch(person, id, json!({ "principal_limits": wanted })).await?.expect(200)?.json()?;
    assert_eq!(set["limits"]["principals"], wanted);
    cloud.settled(id).await?;
    let page = person.browser.get(&format!("/clusters/{id}")).await?.expect(200)?.text();
    assert!(page.contains("Requests, each principal") && page.contains("value=\"500\""), "{page}");
    // Three times a second's worth, and all of it arrives.
    create_topic(&tenant.admin().await?, "slowly", 1).await?;
    let client = tenant.client().await?;
    let sent: Vec<Vec<u8>> = (0..48_u8).map(|n| vec![n; 64 << 10]).collect();
    produce(&producer(&client, "slowly").await?, &sent).await?;
    let read = read_all(&client, "slowly", 0, Isolation::ReadCommitted).await?;
    assert!(read.iter().map(|record| &record.value).eq(&sent));

    let form = person.browser.form(&format!("/clusters/{id}"), "/principals").await?;
    let typed = [("bytes_in", "1024"), ("bytes_out", ""), ("requests", "many"), ("connections", "16")];
    let refused = person.browser.submit(&form, &typed).await?.expect(422)?.text();
    assert!(refused.contains("10 requests a second at least") && refused.contains("value=\"many\""));
    let typed = [("bytes_in", "1024"), ("bytes_out", "1024"), ("requests", "500"), ("connections", "16")];
    person.browser.submit(&form, &typed).await?.expect(303)?;

    for wrong in [json!({ "connections": 1 }), json!({ "requests_per_second": 0 })] {
        patch(person, id, json!({ "principal_limits": wrong })).await?.expect(422)?;
    }
    patch(person, id, json!({ "principal_limits": { "records": 1 } })).await?.expect(400)?;
    let kept = patch(person, id, json!({ "spus": 1 })).await?.expect(200)?.json()?;
    assert_eq!(kept["limits"]["principals"], wanted);
    let free = patch(person, id, json!({ "principal_limits": {} })).await?.expect(200)?.json()?;
    assert_eq!(free["limits"]["principals"], none);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_paused_and_resumed_and_keeps_its_records() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let tenant = Tenant::new(cloud).await?;
    let (id, name) = (tenant.cluster.id.clone(), tenant.cluster.name.clone());
    create_topic(&tenant.admin().await?, "kept", 1).await?;
    let client = tenant.client().await?;
    produce(&producer(&client, "kept").await?, &[b"before".to_vec()]).await?;

    let path = format!("/api/v1/clusters/{id}/pause");
    let pause = || Ask::new(Method::POST, &path).json(&json!({})).header("idempotency-key", "pause");
    let first = tenant.person.api.ask(pause()).await?.expect(202)?.json()?;
    assert!(matches!(first["state"].as_str(), Some("pausing" | "paused")), "{first}");
    assert!(first["paused_at"].is_string());
    assert_eq!(tenant.person.api.ask(pause()).await?.header("idempotent-replayed"), Some("true"));
    tenant.person.api.post_json(&path, &json!({})).await?.expect(202)?;
    until("clients are refused", REFUSED_WITHIN, async || Ok(tenant.client().await.is_err().then_some(())))
        .await?;
    let login = tenant.fluvio(&["cloud", "cluster", "sync", &name, "--renew"]).await?;
    assert_eq!(login.code, Some(1));
    assert!(login.stderr.contains("cluster resume"), "{}", login.stderr);
    let page = tenant.person.browser.get(&format!("/clusters/{id}")).await?.expect(200)?.text();
    assert!(page.contains("data-state=\"paus") && page.contains(&format!("/clusters/{id}/resume")));

    let resume = ["cloud", "cluster", "resume", &name, "--wait"];
    let resumed = tenant.fluvio(&resume).await?.succeed()?;
    assert!(resumed.text().contains("running"), "{}", resumed.text());
    until("clients are served again", RUNNING_WITHIN, async || {
        let client = tenant.client().await?;
        let records = read_all(&client, "kept", 0, Isolation::ReadCommitted).await?;
        Ok((records.len() == 1).then_some(()))
    })
    .await?;
    works_again(&tenant, "kept").await?;
    let log = words(&audited(cloud, &id).await?);
    assert_eq!(log, ["cluster.create done", "cluster.pause done", "cluster.resume done"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_and_the_command_line_change_size_and_rest() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let tenant = Tenant::new(cloud).await?;
    let (browser, id) = (&tenant.person.browser, &tenant.cluster.id);
    let here = format!("/clusters/{id}");

    let form = browser.form(&here, "/size").await?;
    browser.submit(&form, &[("plan", "medium"), ("spus", "1")]).await?.expect(303)?;
    let refused = browser.submit(&form, &[("plan", "small"), ("spus", "1")]).await?.expect(422)?;
    assert!(refused.text().contains("does not become smaller"));
    let refused = browser.submit(&form, &[("plan", "medium"), ("spus", "many")]).await?.expect(422)?;
    assert!(refused.text().contains("value=\"many\""), "what was typed is kept");

    let changed =
        tenant.fluvio(&["cloud", "cluster", "update", "main", "--plan", "large"]).await?.succeed()?;
    assert!(changed.text().contains("large"), "{}", changed.text());
    let refused = tenant.fluvio(&["cloud", "cluster", "update", "main", "--plan", "small"]).await?;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("fix:"), "{}", refused.stderr);
    let listed = tenant.fluvio(&["cloud", "cluster", "list", "--output", "json"]).await?.succeed()?;
    let listed: Value = serde_json::from_str(&listed.text())?;
    assert_eq!((&listed[0]["plan"], &listed[0]["region"]), (&json!("large"), &json!("local")));

    let form = browser.form(&format!("{here}/pause"), "/pause").await?;
    browser.submit(&form, &[]).await?.expect(303)?;
    let shown = tenant.person.cluster(id).await?;
    assert!(matches!(shown.state.as_str(), "pausing" | "paused"), "{}", shown.state);
    let form = browser.form(&here, "/resume").await?;
    browser.submit(&form, &[]).await?.expect(303)?;
    tenant.person.running("main").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_grows_to_three_spus_and_keeps_its_records() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    create_topic(&tenant.admin().await?, "kept", 1).await?;
    let client = tenant.client().await?;
    produce(&producer(&client, "kept").await?, &[b"before".to_vec()]).await?;
    patch(&tenant.person, &tenant.cluster.id, json!({ "spus": 3 })).await?.expect(200)?;
    until("three SPUs serve", RUNNING_WITHIN, async || {
        let path = format!("/api/v1/clusters/{}", tenant.cluster.id);
        let now = tenant.person.api.get(&path).await?.expect(200)?.json()?;
        Ok((now["spus_ready"] == 3 && now["state"] == "running").then_some(()))
    })
    .await?;
    let records = read_all(&tenant.client().await?, "kept", 0, Isolation::ReadCommitted).await?;
    assert_eq!(records.len(), 1);
    // On one machine none is taken away: each may hold records.
    let refused =
        patch(&tenant.person, &tenant.cluster.id, json!({ "spus": 2 })).await?.expect(422)?.json()?;
    assert!(refused["fix"].as_str().unwrap().contains('3'), "{refused}");
    works_again(&tenant, "kept").await
}
