//! The certificates themselves, judged by rustls and by OpenSSL.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;
use x509_parser::prelude::FromDer;

use super::openssl::{ED25519, OpenSsl, P256};
use super::requests::good_request;
use crate::authority::{self, Authority};
use crate::issue::{IssueError, Terms, issue};
use crate::policy::{Grant, Kind, Names, decide};
use crate::seal::{Owner, Sealer};

const DOMAIN: &str = "blue-fox.fluvio.localhost";

fn sealer() -> Sealer {
    Sealer::new(&[7; 32]).unwrap()
}

fn ca(purpose: Kind) -> Authority {
    let owner = Owner { tenant: Uuid::from_u128(2), cluster: Uuid::from_u128(3), purpose };
    let kept = authority::make(&sealer(), &owner, DOMAIN, OffsetDateTime::now_utc()).unwrap();
    authority::open(&sealer(), &owner, &kept).unwrap()
}

fn terms() -> Terms {
    let now = authority::whole_seconds(OffsetDateTime::now_utc());
    let serial = authority::serial().unwrap();
    Terms { serial, not_before: now - Duration::hours(1), not_after: now + Duration::days(90) }
}

fn grant(kind: Kind, csr: Vec<u8>) -> Grant {
    let mut request = good_request(csr);
    request.kind = kind;
    request.requested_by =
        if kind == Kind::Client { "cloud_portal".into() } else { "cloud_provisioner".into() };
    decide(&request).unwrap()
}

fn roots(ca: &Authority) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.certificate.clone()).unwrap();
    Arc::new(roots)
}

fn server_accepted(ca: &Authority, leaf: &[u8], name: &str) -> bool {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(ca), provider).build().unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let leaf = CertificateDer::from(leaf.to_vec());
    verifier.verify_server_cert(&leaf, &[], &name, &[], UnixTime::now()).is_ok()
}

fn client_accepted(ca: &Authority, leaf: &[u8]) -> bool {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(ca), provider).build().unwrap();
    verifier.verify_client_cert(&CertificateDer::from(leaf.to_vec()), &[], UnixTime::now()).is_ok()
}

#[test]
fn a_request_full_of_foreign_names_gets_a_certificate_with_ours_only() {
    let openssl = OpenSsl::new();
    let csr = openssl.request(
        &P256,
        &[
            "-addext",
            "subjectAltName=DNS:victim.example,URI:fluvio-cloud://other/other/other,IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "keyUsage=keyCertSign,cRLSign",
            "-addext",
            "extendedKeyUsage=serverAuth,codeSigning",
            "-addext",
            "1.2.3.4.5.6=critical,ASN1:UTF8String:unknown",
        ],
    );
    let ca = ca(Kind::Client);
    let der = issue(&ca, &grant(Kind::Client, csr), &terms()).unwrap();
    let (_, leaf) = x509_parser::certificate::X509Certificate::from_der(&der).unwrap();
    assert!(!leaf.is_ca());
    openssl.write_certificate("leaf.pem", &der);
    let text = openssl.run(&["x509", "-in", "leaf.pem", "-noout", "-text"]);
    for foreign in [
        "victim",
        "other/other",
        "127.0.0.1",
        "somebody",
        "CA:TRUE",
        "Certificate Sign",
        "Code Signing",
        "1.2.3.4",
    ] {
        assert!(!text.contains(foreign), "{foreign} in {text}");
    }
    let principal =
        format!("URI:fluvio-cloud://{}/{}/{}", Uuid::from_u128(2), Uuid::from_u128(3), Uuid::from_u128(4));
    assert!(text.contains(&principal), "{text}");
    assert!(text.contains(&format!("CN = {}", Uuid::from_u128(4))), "{text}");
    assert!(
        text.contains("TLS Web Client Authentication") && !text.contains("TLS Web Server Authentication")
    );
    assert!(client_accepted(&ca, &der));
}

#[test]
fn a_server_certificate_serves_its_domain_and_one_level_below() {
    let openssl = OpenSsl::new();
    let ca = ca(Kind::Server);
    let der = issue(&ca, &grant(Kind::Server, openssl.request(&P256, &[])), &terms()).unwrap();
    for (name, accepted) in [
        (DOMAIN.to_owned(), true),
        (format!("main-0.{DOMAIN}"), true),
        (format!("a.main-0.{DOMAIN}"), false),
        ("fluvio.localhost".to_owned(), false),
        ("red-fox.fluvio.localhost".to_owned(), false),
        ("127.0.0.1".to_owned(), false),
    ] {
        assert_eq!(server_accepted(&ca, &der, &name), accepted, "{name}");
    }
    assert!(!client_accepted(&ca, &der), "a server's certificate opens nothing as a client's");
    openssl.write_certificate("ca.pem", &ca.certificate);
    openssl.write_certificate("leaf.pem", &der);
    let verify = ["verify", "-x509_strict", "-CAfile", "ca.pem", "-purpose"];
    openssl.run(
        &[&verify[..], &["sslserver", "-verify_hostname", &format!("main-0.{DOMAIN}"), "leaf.pem"]].concat(),
    );
    let (works, _) = openssl.attempt(&[&verify[..], &["sslclient", "leaf.pem"]].concat());
    assert!(!works);
}

#[test]
fn a_client_certificate_of_either_key_type_passes_openssl_and_serves_no_name() {
    let openssl = OpenSsl::new();
    let ca = ca(Kind::Client);
    openssl.write_certificate("ca.pem", &ca.certificate);
    for key in [&P256[..], &ED25519[..]] {
        let der = issue(&ca, &grant(Kind::Client, openssl.request(key, &[])), &terms()).unwrap();
        assert!(client_accepted(&ca, &der));
        assert!(!server_accepted(&ca, &der, DOMAIN));
        openssl.write_certificate("leaf.pem", &der);
        openssl.run(&["verify", "-x509_strict", "-CAfile", "ca.pem", "-purpose", "sslclient", "leaf.pem"]);
    }
}

#[test]
fn no_authority_of_a_cluster_stands_in_for_another() {
    let openssl = OpenSsl::new();
    let authorities = Kind::ALL.map(ca);
    for (kind, own) in Kind::ALL.iter().zip(&authorities) {
        let der = issue(own, &grant(*kind, openssl.request(&P256, &[])), &terms()).unwrap();
        for (other_kind, other) in Kind::ALL.iter().zip(&authorities) {
            let as_client = *kind != Kind::Server && kind == other_kind;
            assert_eq!(client_accepted(other, &der), as_client, "{kind:?} under {other_kind:?}");
        }
    }
}

#[test]
fn a_server_authority_signs_for_no_other_domain() {
    let openssl = OpenSsl::new();
    let ca = ca(Kind::Server);
    let key = grant(Kind::Server, openssl.request(&P256, &[])).key;
    let foreign = "red-fox.fluvio.localhost".to_owned();
    let der = issue(&ca, &Grant { names: Names::Server { domain: foreign.clone() }, key }, &terms()).unwrap();
    assert!(!server_accepted(&ca, &der, &foreign));
    openssl.write_certificate("ca.pem", &ca.certificate);
    openssl.write_certificate("leaf.pem", &der);
    let (works, text) = openssl.attempt(&["verify", "-CAfile", "ca.pem", "leaf.pem"]);
    assert!(!works && text.contains("permitted subtree"), "{text}");
}

#[test]
fn an_authority_is_a_ca_for_leaves_only_and_for_ten_years() {
    let openssl = OpenSsl::new();
    for kind in Kind::ALL {
        openssl.write_certificate("ca.pem", &ca(kind).certificate);
        let text = openssl.run(&["x509", "-in", "ca.pem", "-noout", "-text"]);
        for wanted in [
            "CA:TRUE, pathlen:0",
            "Certificate Sign, CRL Sign",
            "X509v3 Subject Key Identifier",
            "X509v3 Authority Key Identifier",
            "NIST CURVE: P-256",
            &format!("Fluvio Cloud {} CA {}", kind.as_str(), Uuid::from_u128(3)),
        ] {
            assert!(text.contains(wanted), "{wanted} not in {text}");
        }
        let nine_years = (9 * 365 * 86_400).to_string();
        openssl.run(&["x509", "-in", "ca.pem", "-noout", "-checkend", &nine_years]);
    }
}

#[test]
fn a_certificate_does_not_outlive_its_authority() {
    let openssl = OpenSsl::new();
    let ca = ca(Kind::Client);
    let mut terms = terms();
    terms.not_after = ca.not_after + Duration::seconds(1);
    let issued = issue(&ca, &grant(Kind::Client, openssl.request(&P256, &[])), &terms);
    assert!(matches!(issued, Err(IssueError::Wrong("end after the end of its CA"))), "{issued:?}");
}

#[test]
fn an_authority_whose_certificate_was_swapped_does_not_sign() {
    let owner = Owner { tenant: Uuid::from_u128(2), cluster: Uuid::from_u128(3), purpose: Kind::Server };
    let now = OffsetDateTime::now_utc();
    let own = authority::make(&sealer(), &owner, DOMAIN, now).unwrap();
    let mut swapped = own.clone();
    swapped.certificate_der = authority::make(&sealer(), &owner, DOMAIN, now).unwrap().certificate_der;
    assert!(authority::open(&sealer(), &owner, &own).is_ok());
    assert!(authority::open(&sealer(), &owner, &swapped).is_err());
}
