use std::io::Read;
use std::time::{Duration, Instant};

use e2e::cloud::Cloud;
use e2e::raw::{self, Cut};
use e2e::stream::{create_topic, produce, producer};
use e2e::tenant::Tenant;
use e2e::wait::until_blocking;
use e2e::wire;
use serde_json::json;

/// A second certificate of the tenant: its id, and what a connection needs.
async fn second(tenant: &Tenant, lifetime: Option<u64>) -> anyhow::Result<(String, String, String)> {
    let key = rcgen::KeyPair::generate()?;
    let request = rcgen::CertificateParams::new(Vec::<String>::new())?.serialize_request(&key)?.pem()?;
    let mut body = json!({"csr": request, "label": "the other laptop"});
    if let Some(seconds) = lifetime {
        body["lifetime_seconds"] = json!(seconds);
    }
    let issued = tenant.person.request_certificate(&tenant.cluster.id, &body).await?.expect(201)?.json()?;
    let text = |name: &str| issued[name].as_str().expect("text").to_string();
    Ok((text("id"), text("certificate"), key.serialize_pem()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_certificate_is_cut_off_at_once_and_others_are_not() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let tenant = Tenant::new(cloud).await?;
    create_topic(&tenant.admin().await?, "cut", 1).await?;
    let client = tenant.client().await?;
    let producer = producer(&client, "cut").await?;
    produce(&producer, &[b"one".to_vec()]).await?;
    let who = tenant.credentials()?;
    let (id, certificate, key) = second(&tenant, None).await?;
    let config = raw::configuration(&who.ca, Some((&certificate, &key)))?;
    let spu = format!("main-0.{}", who.domain);

    // Live connections to SC and SPU, one of them in the middle of a stream.
    let mut live = Vec::new();
    for name in [&who.domain, &spu] {
        let mut stream = raw::connect(cloud.gateway()?, name, config.clone(), Cut::Whole)?;
        wire::send(&mut stream, &wire::api_versions(1))?;
        assert!(wire::receive(&mut stream)?.is_some(), "served before the revocation");
        live.push(stream);
    }
    wire::send(&mut live[1], &wire::stream_fetch(2, "cut", 0, 0, 1 << 20))?;
    assert!(wire::receive(&mut live[1])?.is_some());

    tenant.person.revoke(&tenant.cluster.id, &id).await?;
    let revoked = Instant::now();
    for stream in &mut live {
        let mut rest = Vec::new();
        // The end may come as a reset; what matters is that it comes.
        let _ = stream.sock.set_read_timeout(Some(Duration::from_secs(20)));
        match stream.read_to_end(&mut rest) {
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
            {
                anyhow::bail!("a revoked connection lives on")
            }
            _ => {}
        }
    }
    println!("cut off {:?} after the answer to the revocation", revoked.elapsed());
    // And stays out.
    for name in [&who.domain, &spu] {
        until_blocking("new connections are refused", Duration::from_secs(10), || {
            let Ok(mut stream) = raw::connect(cloud.gateway().ok()?, name, config.clone(), Cut::Whole) else {
                return Some(());
            };
            let served = wire::send(&mut stream, &wire::api_versions(1)).is_ok()
                && wire::receive(&mut stream).ok().flatten().is_some();
            (!served).then_some(())
        })?;
    }
    // The first certificate's connection, opened before, is still good.
    assert_eq!(produce(&producer, &[b"two".to_vec()]).await?, [1]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_holds_through_a_restart_of_the_cluster() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let tenant = Tenant::new(cloud).await?;
    let who = tenant.credentials()?;
    let (id, certificate, key) = second(&tenant, None).await?;
    let own = raw::configuration(&who.ca, Some((&who.certificate, &who.key)))?;
    let revoked = raw::configuration(&who.ca, Some((&certificate, &key)))?;
    let served = |config: &std::sync::Arc<rustls::ClientConfig>| -> Option<bool> {
        let Ok(mut stream) = raw::connect(cloud.gateway().ok()?, &who.domain, config.clone(), Cut::Whole)
        else {
            return Some(false);
        };
        let sent = wire::send(&mut stream, &wire::api_versions(1)).is_ok();
        Some(sent && wire::receive(&mut stream).ok().flatten().is_some())
    };
    tenant.person.revoke(&tenant.cluster.id, &id).await?;
    until_blocking("it is cut off", Duration::from_secs(10), || (!served(&revoked)?).then_some(()))?;
    let killed = cloud.cluster(&tenant.cluster.id);
    killed.iter().try_for_each(e2e::processes::Process::kill)?;
    until_blocking("the cluster serves again", Duration::from_secs(30), || served(&own)?.then_some(()))?;
    assert_eq!(served(&revoked), Some(false));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_ends_when_its_certificate_expires() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let tenant = Tenant::new(cloud).await?;
    let who = tenant.credentials()?;
    let (_, certificate, key) = second(&tenant, Some(60)).await?;
    let config = raw::configuration(&who.ca, Some((&certificate, &key)))?;
    let mut stream = raw::connect(cloud.gateway()?, &who.domain, config.clone(), Cut::Whole)?;
    wire::send(&mut stream, &wire::api_versions(1))?;
    assert!(wire::receive(&mut stream)?.is_some(), "served while it is valid");
    stream.sock.set_read_timeout(Some(Duration::from_secs(90)))?;
    let ended = tokio::task::spawn_blocking(move || {
        let mut rest = Vec::new();
        match stream.read_to_end(&mut rest) {
            Err(error) => {
                !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
            }
            Ok(_) => true,
        }
    })
    .await?;
    assert!(ended, "an expired connection lives on");
    let again =
        raw::connect(cloud.gateway()?, &who.domain, config, Cut::Whole).ok().is_some_and(|mut stream| {
            wire::send(&mut stream, &wire::api_versions(1)).is_ok()
                && wire::receive(&mut stream).ok().flatten().is_some()
        });
    assert!(!again, "an expired certificate opens nothing");
    Ok(())
}
