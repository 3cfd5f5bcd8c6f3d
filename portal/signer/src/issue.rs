//! Makes one certificate and reads it again before anybody gets it.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType,
    SerialNumber,
};
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::OID_SIG_ECDSA_WITH_SHA256;
use x509_parser::prelude::FromDer;

use crate::authority::Authority;
use crate::policy::{Grant, Names};

/// The longest common name that X.509 allows.
const MAX_COMMON_NAME: usize = 64;

/// What the certificate's row says; the certificate says the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Unique under its CA.
    pub serial: Vec<u8>,
    /// From when.
    pub not_before: OffsetDateTime,
    /// Until when.
    pub not_after: OffsetDateTime,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// It could not be written.
    #[error("cannot write the certificate: {0}")]
    Write(#[from] rcgen::Error),
    /// It does not say what it was to say. Never released; an error of this program.
    #[error("the certificate does not say what was granted: {0}")]
    Wrong(&'static str),
}

/// Signs a certificate on these terms, and checks it.
pub fn issue(authority: &Authority, grant: &Grant, terms: &Terms) -> Result<Vec<u8>, IssueError> {
    let certificate = params(grant, terms)?.signed_by(&grant.key, &authority.issuer)?;
    check(certificate.der(), authority, grant, terms)?;
    Ok(certificate.der().to_vec())
}

fn params(grant: &Grant, terms: &Terms) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name(&grant.names));
    for name in alternative_names(&grant.names) {
        params.subject_alt_names.push(match name {
            AlternativeName::Dns(name) => SanType::DnsName(Ia5String::try_from(name)?),
            AlternativeName::Uri(name) => SanType::URI(Ia5String::try_from(name)?),
        });
    }
    params.not_before = terms.not_before;
    params.not_after = terms.not_after;
    params.serial_number = Some(SerialNumber::from(terms.serial.clone()));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match grant.names {
        Names::Server { .. } => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Names::Client(_) => vec![ExtendedKeyUsagePurpose::ClientAuth],
        // Either end of an internal link is both.
        Names::Internal { .. } => {
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]
        }
    };
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

#[derive(Debug, PartialEq, Eq)]
enum AlternativeName {
    Dns(String),
    Uri(String),
}

fn alternative_names(names: &Names) -> Vec<AlternativeName> {
    match names {
        Names::Server { domain } => {
            vec![AlternativeName::Dns(domain.clone()), AlternativeName::Dns(format!("*.{domain}"))]
        }
        Names::Internal { domain } => vec![AlternativeName::Dns(format!("internal.{domain}"))],
        Names::Client(principal) => vec![AlternativeName::Uri(principal.to_string())],
    }
}

/// Nothing decides by the common name; it is there for people who look at a certificate.
fn common_name(names: &Names) -> String {
    match names {
        Names::Server { domain } | Names::Internal { domain } if domain.len() <= MAX_COMMON_NAME => {
            domain.clone()
        }
        Names::Server { domain } | Names::Internal { domain } => {
            domain.split('.').next().unwrap_or_default().to_owned()
        }
        Names::Client(principal) => principal.id.to_string(),
    }
}

/// Reads the certificate as a stranger would and compares every fact with what was granted.
fn check(der: &[u8], authority: &Authority, grant: &Grant, terms: &Terms) -> Result<(), IssueError> {
    let parse = |der| X509Certificate::from_der(der).map_err(|_| IssueError::Wrong("it cannot be read"));
    let (rest, leaf) = parse(der)?;
    let (_, ca) = parse(&authority.certificate)?;
    let utc = |at: OffsetDateTime| at.unix_timestamp();
    let facts = [
        (rest.is_empty(), "bytes after its end"),
        (leaf.public_key().raw == grant.key.spki, "public key"),
        (leaf.serial.to_bytes_be() == terms.serial, "serial number"),
        (leaf.validity().not_before.timestamp() == utc(terms.not_before), "start"),
        (leaf.validity().not_after.timestamp() == utc(terms.not_after), "end"),
        (terms.not_after <= authority.not_after, "end after the end of its CA"),
        (leaf.issuer() == ca.subject(), "issuer"),
        (!leaf.is_ca(), "it is a CA"),
        (common_names(&leaf) == [common_name(&grant.names)], "subject"),
        (usages_match(&leaf, &grant.names), "usages"),
        (names_in(&leaf) == Some(alternative_names(&grant.names)), "names"),
        (leaf.signature_algorithm.algorithm == OID_SIG_ECDSA_WITH_SHA256, "signature algorithm"),
        (signed_by(&leaf, &ca), "signature"),
    ];
    match facts.into_iter().find(|(holds, _)| !holds) {
        Some((_, fact)) => Err(IssueError::Wrong(fact)),
        None => Ok(()),
    }
}

fn common_names(leaf: &X509Certificate<'_>) -> Vec<String> {
    leaf.subject().iter_common_name().filter_map(|name| name.as_str().ok().map(str::to_owned)).collect()
}

fn usages_match(leaf: &X509Certificate<'_>, names: &Names) -> bool {
    let (server, client) = match names {
        Names::Server { .. } => (true, false),
        Names::Client(_) => (false, true),
        Names::Internal { .. } => (true, true),
    };
    let extended = leaf.extended_key_usage().ok().flatten();
    let extended = extended.is_some_and(|usage| {
        let usage = usage.value;
        let nothing_else =
            !usage.any && !usage.code_signing && !usage.email_protection && usage.other.is_empty();
        usage.server_auth == server && usage.client_auth == client && nothing_else
    });
    // Bit 0 is digitalSignature, and it is the only one.
    let plain = leaf.key_usage().ok().flatten().is_some_and(|usage| usage.value.flags == 1);
    extended && plain
}

fn names_in(leaf: &X509Certificate<'_>) -> Option<Vec<AlternativeName>> {
    let extension = leaf.subject_alternative_name().ok()??;
    let names = extension.value.general_names.iter();
    names
        .map(|name| match name {
            GeneralName::DNSName(name) => Some(AlternativeName::Dns((*name).to_owned())),
            GeneralName::URI(name) => Some(AlternativeName::Uri((*name).to_owned())),
            _ => None,
        })
        .collect()
}

fn signed_by(leaf: &X509Certificate<'_>, ca: &X509Certificate<'_>) -> bool {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &*ca.public_key().subject_public_key.data)
        .verify(leaf.tbs_certificate.as_ref(), &leaf.signature_value.data)
        .is_ok()
}
