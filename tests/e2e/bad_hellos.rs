use std::io::Write;
use std::sync::Arc;

use e2e::cloud::Cloud;
use e2e::hello;
use e2e::raw::{self, Cut, Reaction};
use e2e::stream::whole_flow;
use e2e::tenant::Tenant;
use e2e::wire;
use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

/// What the gateway does with these first bytes.
fn reaction_to(bytes: &[u8]) -> anyhow::Result<Reaction> {
    let mut stream = raw::tcp(Cloud::shared()?.gateway()?)?;
    // It may close before it has read all; that is an answer too.
    let _ = stream.write_all(bytes);
    raw::reaction(&mut stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_name_but_a_clusters_own_is_closed_alike() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    let domain = tenant.cluster.domain.clone();
    let uppercase = domain.to_uppercase();
    let base = domain.split_once('.').expect("a label and a base").1.to_string();
    let unknown = reaction_to(&hello::with_names(Some(&[b"nobody.example.com"])))?;
    assert!(matches!(unknown, Reaction::Closed(_)), "{unknown:?}");
    let long = [b'a'; 256];
    let names: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("unknown under the base domain", vec![format!("nobody.{base}").into_bytes()]),
        ("the base domain", vec![base.clone().into_bytes()]),
        ("an unknown server of a cluster", vec![format!("main-7.{domain}").into_bytes()]),
        ("two labels before a cluster", vec![format!("a.main-0.{domain}").into_bytes()]),
        ("a longer label with the same end", vec![format!("x{domain}").into_bytes()]),
        ("empty", vec![Vec::new()]),
        ("256 bytes", vec![long.to_vec()]),
        ("an address", vec![b"127.0.0.1".to_vec()]),
        ("a NUL inside", vec![[domain.as_bytes(), b"\0.example.com"].concat()]),
        ("not ASCII", vec!["ä.example".as_bytes().to_vec()]),
        ("a space", vec![[b" ", domain.as_bytes()].concat()]),
        ("two names", vec![domain.clone().into_bytes(), b"other.example.com".to_vec()]),
        ("a wildcard", vec![[b"*.", domain.as_bytes()].concat()]),
        ("a leading dot", vec![[b".", domain.as_bytes()].concat()]),
        ("two trailing dots", vec![[domain.as_bytes(), b".."].concat()]),
    ];
    for (what, each) in names {
        let list: Vec<&[u8]> = each.iter().map(Vec::as_slice).collect();
        assert_eq!(reaction_to(&hello::with_names(Some(&list)))?, unknown, "{what}");
    }
    assert_eq!(reaction_to(&hello::with_names(None))?, unknown, "no server name at all");
    // Host names have no case: the same cluster, reached or closed, but never another.
    let upper = reaction_to(&hello::with_names(Some(&[uppercase.as_bytes()])))?;
    let exact = reaction_to(&hello::with_names(Some(&[domain.as_bytes()])))?;
    assert!(
        matches!(&exact, Reaction::Closed(bytes) | Reaction::Answered(bytes) if !bytes.is_empty()),
        "{exact:?}"
    );
    assert_ne!(exact, unknown, "a cluster's own name gets a server's answer");
    let reached = |reaction: &Reaction| match reaction {
        Reaction::Closed(bytes) | Reaction::Answered(bytes) => bytes.first().copied(),
    };
    assert!(upper == unknown || reached(&upper) == reached(&exact), "{upper:?}");
    whole_flow(&tenant, "after-the-names").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_hello_is_closed_alike() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    let good = hello::with_names(Some(&[tenant.cluster.domain.as_bytes()]));
    let unknown = reaction_to(&hello::with_names(Some(&[b"nobody.example.com"])))?;
    let mut lying = good.clone();
    // The handshake message's own length says more than the record holds, then the rest never makes sense.
    lying[7] = 0x10;
    lying.extend(hello::record(&[0; 4096]));
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("HTTP", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()),
        ("PROXY v1", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n".to_vec()),
        ("a Fluvio frame without TLS", wire::api_versions(1)),
        ("zero bytes", vec![0; 600]),
        ("0xff bytes", vec![0xff; 600]),
        ("an alert first", vec![21, 3, 3, 0, 2, 2, 40]),
        ("application data first", vec![23, 3, 3, 0, 5, 1, 2, 3, 4, 5]),
        ("an empty record", vec![22, 3, 1, 0, 0, 22, 3, 1, 0, 0]),
        ("a record of 65,535 bytes", [&[22, 3, 1, 0xff, 0xff][..], &[1; 65_535]].concat()),
        (
            "a hello that never ends",
            [vec![22, 3, 1, 0x3f, 0xff, 1, 0xff, 0xff, 0xff], vec![0; 40_000]].concat(),
        ),
        ("a lying length", lying),
        ("SSL 2", vec![0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10]),
    ];
    for (what, bytes) in cases {
        let seen = reaction_to(&bytes)?;
        assert!(matches!(seen, Reaction::Closed(_)), "{what}: {seen:?}");
        if let (Reaction::Closed(said), Reaction::Closed(usual)) = (&seen, &unknown) {
            assert!(said.is_empty() || said.len() <= usual.len().max(7), "{what} is told too much: {said:?}");
        }
    }
    whole_flow(&tenant, "after-the-noise").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_in_single_bytes_or_two_records_is_served() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let tenant = Tenant::new(cloud).await?;
    let who = tenant.credentials()?;
    let config = raw::configuration(&who.ca, Some((&who.certificate, &who.key)))?;
    for cut in [Cut::Whole, Cut::Bytes, Cut::TwoRecords] {
        for name in [who.domain.clone(), format!("main-0.{}", who.domain)] {
            let mut stream = raw::connect(cloud.gateway()?, &name, config.clone(), cut)?;
            wire::send(&mut stream, &wire::api_versions(1))?;
            assert!(wire::receive(&mut stream)?.is_some(), "{cut:?} to {name}");
        }
    }
    Ok(())
}

/// Tickets of one server offered to every other: what a confused client, or a hostile one, would do.
#[derive(Debug)]
struct OneShelf(rustls::client::ClientSessionMemoryCache);

impl OneShelf {
    fn name() -> ServerName<'static> {
        ServerName::try_from("every.server").expect("a DNS name")
    }
}

impl ClientSessionStore for OneShelf {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(OneShelf::name(), group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&OneShelf::name())
    }

    fn set_tls12_session(&self, _: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.0.set_tls12_session(OneShelf::name(), session);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&OneShelf::name())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&OneShelf::name());
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(OneShelf::name(), ticket);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&OneShelf::name())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_of_one_tenant_resumes_nothing_at_another() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let (one, other) = (Tenant::new(cloud).await?, Tenant::new(cloud).await?);
    let (mine, theirs) = (one.credentials()?, other.credentials()?);
    // One configuration trusts both servers and keeps tickets; the identity stays that of the first tenant.
    let both = format!("{}{}", mine.ca, theirs.ca);
    let mut config = (*raw::configuration(&both, Some((&mine.certificate, &mine.key)))?).clone();
    let shelf = Arc::new(OneShelf(rustls::client::ClientSessionMemoryCache::new(16)));
    config.resumption = rustls::client::Resumption::store(shelf);
    let config = Arc::new(config);
    for name in [mine.domain.clone(), format!("main-0.{}", mine.domain)] {
        let mut stream = raw::connect(cloud.gateway()?, &name, config.clone(), Cut::Whole)?;
        wire::send(&mut stream, &wire::api_versions(1))?;
        assert!(wire::receive(&mut stream)?.is_some(), "with its own tenant, and by now a ticket");
    }
    for name in [theirs.domain.clone(), format!("main-0.{}", theirs.domain)] {
        // Refused in the handshake, or, as TLS 1.3 allows, at the first read.
        let Ok(mut stream) = raw::connect(cloud.gateway()?, &name, config.clone(), Cut::Whole) else {
            continue;
        };
        assert_ne!(stream.conn.handshake_kind(), Some(rustls::HandshakeKind::Resumed), "{name}");
        let served =
            wire::send(&mut stream, &wire::api_versions(1)).is_ok() && wire::receive(&mut stream)?.is_some();
        assert!(!served, "{name}");
    }
    Ok(())
}
