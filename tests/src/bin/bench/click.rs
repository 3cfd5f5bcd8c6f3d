//! From the click on "Create" to the first record consumed, and from the command to a cloud that is up.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use e2e::cloud::Cloud;
use e2e::person::Person;
use e2e::stream;
use e2e::wait::within;
use fluvio::config::TlsCerts;
use fluvio::consumer::ConsumerConfigExtBuilder;
use fluvio::{Fluvio, FluvioClusterConfig, Offset, RecordKey};
use futures_util::StreamExt;
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;

use crate::report::{Better, Figure, Report};

const PEOPLE: usize = 10;
const CLUSTERS_EACH: usize = 2;

/// How long a cloud takes from built programs to ready: an empty folder, and one that it finds its state in.
pub fn start(report: &mut Report, runs: usize) -> anyhow::Result<()> {
    eprintln!("starting clouds");
    let (mut fresh, mut again) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let begun = Instant::now();
        let cloud = Cloud::start("bench-start", &[])?;
        fresh.push(begun.elapsed().as_secs_f64());
        cloud.stop()?;
        again.push(cloud.up()?.as_secs_f64());
    }
    report.add(
        Figure::of("`up` from built programs to ready, empty folder", "s", Better::Lower, fresh).target(5.0),
    );
    report.add(Figure::of("`up` again on its state", "s", Better::Lower, again).target(5.0));
    Ok(())
}

/// Twenty clusters, one after the other, each by a click and a published client.
pub async fn measure(cloud: &Cloud, report: &mut Report) -> anyhow::Result<()> {
    let figure = clicks("", async || Person::sign_up(cloud).await).await?;
    report.add(figure.target(1.0).hard_floor(3.0));
    Ok(())
}

/// The same for people of any cloud.
pub async fn clicks(
    place: &str,
    newcomer: impl AsyncFn() -> anyhow::Result<Person>,
) -> anyhow::Result<Figure> {
    eprintln!("click to first record{place}, {} clusters", PEOPLE * CLUSTERS_EACH);
    let (mut all, mut ready) = (Vec::new(), Vec::new());
    for _ in 0..PEOPLE {
        let person = newcomer().await?;
        person.first_cluster().await?;
        for number in 0..CLUSTERS_EACH {
            let (to_ready, to_record) = first_record(&person, &format!("bench-{number}")).await?;
            ready.push(to_ready.as_secs_f64());
            all.push(to_record.as_secs_f64());
        }
    }
    let p99 = all.iter().copied().fold(0.0, f64::max);
    let what = format!(
        "click to first record consumed{place}, 20 clusters, published Rust client through the gateway (p50)"
    );
    let ready = crate::report::median(&ready);
    let figure = Figure::of(&what, "s", Better::Lower, all);
    Ok(figure.beside("p99 (s)", p99).beside("of which click to ready, p50 (s)", ready))
}

async fn first_record(person: &Person, name: &str) -> anyhow::Result<(Duration, Duration)> {
    let click = Instant::now();
    person.api.post_json("/api/v1/clusters", &json!({"name": name})).await?.expect(201)?;
    let cluster = person.running(name).await?;
    let ready = click.elapsed();
    // As `fluvio cloud login` does: a key of one's own, a CSR, a profile.
    let key = KeyPair::generate()?;
    let csr = CertificateParams::new(Vec::<String>::new())?.serialize_request(&key)?.pem()?;
    let issued = person.request_certificate(&cluster.id, &json!({"csr": csr})).await?.expect(201)?.json()?;
    let text = |name: &str| issued[name].as_str().map(str::to_string).with_context(|| format!("no {name}"));
    let certs = TlsCerts {
        domain: cluster.domain,
        key: key.serialize_pem(),
        cert: text("certificate")?,
        ca_cert: text("ca")?,
    };
    let profile = FluvioClusterConfig::new(cluster.endpoint).with_tls(certs);
    let client = Fluvio::connect_with_config(&profile).await?;
    stream::create_topic(&client.admin().await, "first", 1).await?;
    let producer = stream::producer(&client, "first").await?;
    let sent = producer.send(RecordKey::NULL, "hello").await?;
    producer.flush().await?;
    sent.wait().await?;
    let mut config = ConsumerConfigExtBuilder::default();
    config.topic("first").partition(0).offset_start(Offset::beginning());
    let mut records = client.consumer_with_config(config.build()?).await?;
    let first = async { anyhow::Ok(records.next().await) };
    match within("the first record", stream::STEP_WITHIN, first).await? {
        Some(Ok(record)) if record.value() == b"hello" => Ok((ready, click.elapsed())),
        Some(Ok(_)) => bail!("the first record is another one"),
        Some(Err(code)) => bail!("the first record came as {code:?}"),
        None => bail!("the stream ended before the first record"),
    }
}
