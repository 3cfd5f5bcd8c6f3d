use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::ensure;
use e2e::cloud::Cloud;
use e2e::http::Ask;
use e2e::oracle::Load;
use e2e::person::Person;
use e2e::standby::Postgres;
use e2e::stream::{whole_flow, works_again};
use e2e::tenant::Tenant;
use e2e::visitor::Visitor;
use e2e::wait::until;
use e2e::wishes::{Kind, Wishes};
use hyper::Method;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};

/// From the moment on that the new primary takes changes.
const READY_AGAIN_WITHIN: Duration = Duration::from_secs(5);

/// How often the database fails over: two, or what `FLUVIO_CLOUD_FAILOVERS` says.
fn rounds() -> anyhow::Result<u32> {
    std::env::var("FLUVIO_CLOUD_FAILOVERS").map_or(Ok(2), |text| Ok(text.parse()?))
}

async fn until_ready(cloud: &Cloud, status: u16) -> anyhow::Result<()> {
    let visitor = Visitor::of(cloud);
    until(&format!("/readyz answers {status}"), Duration::from_secs(60), async || {
        visitor.get("/readyz").await?.expect(status).map(|_| Some(()))
    })
    .await
}

/// One failover; returns how long after it the portal was ready.
async fn fail_over(
    cloud: &Cloud,
    postgres: &mut Postgres,
    tenant: &Tenant,
    load: &Load,
    round: u32,
) -> anyhow::Result<Duration> {
    postgres.kill_primary()?;
    until_ready(cloud, 503).await?;
    // The gateway goes by its last table, for those who are connected and for newcomers.
    load.wait_for_more(200).await?;
    whole_flow(tenant, &format!("without-{round}")).await?;
    // Who moves the address is not always later than who promotes: every other time it leads to a mere standby first.
    let early = round % 2 == 1;
    if early {
        postgres.take_address()?;
        load.wait_for_more(200).await?;
        Visitor::of(cloud).get("/readyz").await?.expect(503)?;
    }
    let promotion = postgres.promote().await?;
    if !early {
        postgres.take_address()?;
    }
    let since = Instant::now();
    until_ready(cloud, 200).await?;
    let ready = since.elapsed();
    println!("round {round}: promoted in {promotion:.1?}, the portal was ready {ready:.1?} later");
    Ok(ready)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_fails_over_to_its_standby_loses_nothing_promised_and_makes_nothing_twice()
-> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let mut postgres = Postgres::start().await?;
    let url_file = postgres.url_file();
    let cloud = Cloud::start("failover", &["--database-url-file", &url_file.display().to_string()])?;
    let tenant = Tenant::new(&cloud).await?;
    let unlimited = sqlx::query("UPDATE organisations SET max_clusters = 1000");
    unlimited.execute(&mut postgres.database().await?).await?;
    let load = Load::start(&tenant, "under-load", 1).await?;
    let kinds = [Kind::Cluster, Kind::Token, Kind::Certificate(tenant.cluster.id.clone())];
    let wishes = kinds.map(|kind| Wishes::start(tenant.person.api.beside(), kind));
    let errors = load.errors();
    for round in 0..rounds()? {
        for each in &wishes {
            each.wait_for_more(5).await?;
        }
        let ready = fail_over(&cloud, &mut postgres, &tenant, &load, round).await?;
        ensure!(ready < READY_AGAIN_WITHIN, "the portal was ready after {ready:?}");
        for each in &wishes {
            each.wait_for_more(5).await?;
        }
        if round + 1 < rounds()? {
            postgres.add_standby().await?;
        }
    }
    assert_eq!(load.errors(), errors, "a client felt it that the database was away");
    let mut database = postgres.database().await?;
    for each in wishes {
        check(each, &tenant, &mut database).await?;
    }
    works_again(&Tenant::of(Person::sign_up(&cloud).await?).await?, "newcomer").await?;
    println!("{} acknowledged records are there", load.verify(&tenant).await?);
    Ok(())
}

/// All that was granted is there, once; and what was ended again does not live.
async fn check(wishes: Wishes, tenant: &Tenant, database: &mut PgConnection) -> anyhow::Result<()> {
    let kind = wishes.kind().clone();
    let (done, ended) = wishes.stop().await?;
    for each in &done {
        each.is_done_once(&tenant.person.api).await?;
    }
    let rows: Vec<(String, i64)> = sqlx::query_as(kind.census()).fetch_all(&mut *database).await?;
    let found: BTreeMap<String, i64> = rows.into_iter().collect();
    let expected: BTreeMap<String, i64> = done.iter().map(|each| (each.name.clone(), 1)).collect();
    assert_eq!(found, expected, "{kind:?}: what was made, and how often");
    let rows: Vec<(String,)> = sqlx::query_as(kind.living()).fetch_all(database).await?;
    let mut living: Vec<String> = rows.into_iter().map(|(name,)| name).collect();
    let mut expected: Vec<String> = done[ended..].iter().map(|each| each.name.clone()).collect();
    living.sort();
    expected.sort();
    assert_eq!(living, expected, "{kind:?}: what lives");
    let lost = done.iter().filter(|each| each.id.is_none()).count();
    println!("{} of {kind:?} made once, {ended} of them ended; of {lost} the answer was lost", done.len());
    Ok(())
}

/// From now on no answer to a request with a key can be kept; or it can again.
async fn lose_answers(cloud: &Cloud, lose: bool) -> anyhow::Result<()> {
    let statement = if lose {
        "CREATE FUNCTION lose_answer() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN RAISE EXCEPTION 'the database is away' USING ERRCODE = '57P01'; END $$;
         CREATE TRIGGER lose_answer BEFORE UPDATE ON idempotency_keys FOR EACH ROW
           WHEN (NEW.status IS NOT NULL) EXECUTE FUNCTION lose_answer()"
    } else {
        "DROP FUNCTION lose_answer CASCADE"
    };
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut cloud.database().await?).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_after_the_answer_was_lost_with_the_database_makes_nothing_twice() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let cloud = Cloud::start("lost-answers", &[])?;
    let person = Person::sign_up(&cloud).await?;
    let cluster = person.first_cluster().await?.id;
    let csr = CertificateParams::new(Vec::new())?.serialize_request(&KeyPair::generate()?)?.pem()?;
    let certificates = format!("/api/v1/clusters/{cluster}/certificates");
    let wishes = [
        ("/api/v1/clusters", json!({"name": "wished"}), 201),
        ("/api/v1/tokens", json!({"name": "wished"}), 409),
        (certificates.as_str(), json!({"label": "wished", "csr": csr}), 201),
    ];
    let ask =
        |path: &str, body: &Value| Ask::new(Method::POST, path).header("idempotency-key", path).json(body);
    lose_answers(&cloud, true).await?;
    for (path, body, _) in &wishes {
        person.api.ask(ask(path, body)).await?.expect(503)?;
    }
    lose_answers(&cloud, false).await?;
    for (path, body, status) in &wishes {
        for _ in 0..2 {
            person.api.ask(ask(path, body)).await?.expect(*status)?;
        }
        let list = person.api.get(path).await?.expect(200)?.json()?;
        let made = list["items"].as_array().into_iter().flatten();
        let wished = made.filter(|each| each["name"] == "wished" || each["label"] == "wished");
        assert_eq!(wished.count(), 1, "{path}");
    }
    Ok(())
}
