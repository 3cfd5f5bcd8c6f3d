//! The policy and the reading of signing requests, as tables.

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::openssl::{ED25519, OpenSsl, P256};
use crate::csr::{CsrError, MAX_BYTES, proven_key};
use crate::policy::{Kind, Names, Refusal, Request, decide};

/// A request for a client certificate that is granted.
pub fn good_request(csr_der: Vec<u8>) -> Request {
    Request {
        id: Uuid::from_u128(1),
        kind: Kind::Client,
        requested_by: "cloud_portal".into(),
        principal: Some(Uuid::from_u128(4)),
        principal_live: true,
        tenant: Uuid::from_u128(2),
        cluster: Uuid::from_u128(3),
        domain: "blue-fox.fluvio.localhost".into(),
        cluster_deleted: false,
        csr_der,
        lifetime: Duration::days(90),
        requested_at: OffsetDateTime::now_utc(),
        now: OffsetDateTime::now_utc(),
    }
}

#[test]
fn only_p256_with_sha256_and_ed25519_are_accepted() {
    let openssl = OpenSsl::new();
    let ec = |curve: &'static str| vec!["-algorithm", "EC", "-pkeyopt", curve];
    let rsa = |bits: &'static str| vec!["-algorithm", "RSA", "-pkeyopt", bits];
    type Row<'a> = (Vec<&'a str>, &'a [&'a str], Result<(), CsrError>);
    let table: [Row<'_>; 13] = [
        (P256.to_vec(), &["-sha256"], Ok(())),
        (ED25519.to_vec(), &[], Ok(())),
        (P256.to_vec(), &["-sha384"], Err(CsrError::Signature)),
        (P256.to_vec(), &["-sha512"], Err(CsrError::Signature)),
        (P256.to_vec(), &["-sha1"], Err(CsrError::Signature)),
        (ec("ec_paramgen_curve:P-224"), &["-sha256"], Err(CsrError::Key)),
        (ec("ec_paramgen_curve:P-384"), &["-sha256"], Err(CsrError::Key)),
        (ec("ec_paramgen_curve:P-384"), &["-sha384"], Err(CsrError::Key)),
        (ec("ec_paramgen_curve:P-521"), &["-sha256"], Err(CsrError::Key)),
        (ec("ec_paramgen_curve:secp256k1"), &["-sha256"], Err(CsrError::Key)),
        (rsa("rsa_keygen_bits:1024"), &["-sha256"], Err(CsrError::Key)),
        (rsa("rsa_keygen_bits:2048"), &["-sha256"], Err(CsrError::Key)),
        (vec!["-algorithm", "ED448"], &[], Err(CsrError::Key)),
    ];
    for (key, options, wanted) in table {
        let csr = openssl.request(&key, options);
        assert_eq!(proven_key(&csr).map(|_| ()), wanted, "{key:?} {options:?}");
    }
}

#[test]
fn explicit_curve_parameters_are_refused() {
    let openssl = OpenSsl::new();
    let key = [&P256[..], &["-pkeyopt", "ec_param_enc:explicit"]].concat();
    let csr = openssl.request(&key, &["-sha256"]);
    assert_eq!(proven_key(&csr), Err(CsrError::Key));
}

#[test]
fn a_request_whose_signature_is_not_of_its_key_is_refused() {
    let openssl = OpenSsl::new();
    for key in [&P256[..], &ED25519[..]] {
        let mut csr = openssl.request(key, &[]);
        assert!(proven_key(&csr).is_ok());
        // The common name is signed too: one letter in it breaks the proof.
        let at = csr.windows(8).position(|window| window == b"somebody").unwrap();
        csr[at] = b'S';
        assert_eq!(proven_key(&csr), Err(CsrError::Possession));
    }
}

#[test]
fn no_altered_byte_of_a_request_gets_another_key_accepted() {
    let openssl = OpenSsl::new();
    let csr = openssl.request(&P256, &[]);
    let key = proven_key(&csr).unwrap();
    for at in 0..csr.len() {
        for flip in [0x01, 0x80] {
            let mut altered = csr.clone();
            altered[at] ^= flip;
            // An encoding of the signature may have a second spelling; the key never changes.
            if let Ok(other) = proven_key(&altered) {
                assert_eq!(other, key, "byte {at}");
            }
        }
        assert!(proven_key(&csr[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn garbage_is_refused_without_a_panic() {
    let mut state = 0x9e37_79b9_u32;
    let mut noise = |length: usize| -> Vec<u8> {
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        (0..length).map(|_| next()).collect()
    };
    for length in (0..2_000).step_by(7) {
        let mut bytes = noise(length);
        assert!(proven_key(&bytes).is_err());
        // With an outer sequence of the right length, so that the parser goes deeper.
        bytes.splice(0..0, [0x30, 0x82, (length >> 8) as u8, length as u8]);
        assert!(proven_key(&bytes).is_err());
    }
    assert_eq!(proven_key(&vec![0x30; MAX_BYTES + 1]), Err(CsrError::TooLarge));
}

#[test]
fn bytes_after_the_request_are_refused() {
    let openssl = OpenSsl::new();
    let mut csr = openssl.request(&P256, &[]);
    csr.push(0);
    assert_eq!(proven_key(&csr), Err(CsrError::Malformed));
}

#[test]
fn who_asks_for_what_decides() {
    let openssl = OpenSsl::new();
    let good = good_request(openssl.request(&P256, &[]));
    let with = |change: &dyn Fn(&mut Request)| {
        let mut request = good.clone();
        change(&mut request);
        decide(&request).map(|grant| grant.names)
    };
    assert!(matches!(with(&|_| {}), Ok(Names::Client(principal)) if principal.id == Uuid::from_u128(4)));
    for (asker, kind, granted) in [
        ("cloud_portal", Kind::Client, true),
        ("cloud_portal", Kind::Server, false),
        ("cloud_portal", Kind::Internal, false),
        ("cloud_provisioner", Kind::Client, false),
        ("cloud_provisioner", Kind::Server, true),
        ("cloud_provisioner", Kind::Internal, true),
        ("cloud_gateway", Kind::Server, false),
        ("postgres", Kind::Client, false),
        ("", Kind::Server, false),
    ] {
        let decision = with(&|request| {
            request.requested_by = asker.into();
            request.kind = kind;
        });
        assert_eq!(decision.is_ok(), granted, "{asker} {kind:?}: {decision:?}");
    }
    assert_eq!(with(&|r| r.principal_live = false), Err(Refusal::Principal));
    assert_eq!(with(&|r| r.principal = None), Err(Refusal::Principal));
    assert_eq!(with(&|r| r.cluster_deleted = true), Err(Refusal::Deleted));
    assert_eq!(with(&|r| r.requested_at -= Duration::hours(1)), Err(Refusal::Stale));
    assert_eq!(with(&|r| r.csr_der = vec![1, 2, 3]), Err(Refusal::Csr(CsrError::Malformed)));
}
