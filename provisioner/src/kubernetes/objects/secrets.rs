//! The Secrets of a cluster, one per use. They are immutable and named by their content, so another identity is
//! another name, and a pod sees either one whole or the other.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{Context, SHA256};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::{Shape, Site, metadata};

/// What a Secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Use {
    /// The servers' identity towards clients. Not mounted: it comes with the settings.
    Server,
    /// The servers' identity towards each other and the provisioner.
    Internal,
    /// The provisioner's identity towards the SC.
    Control,
    /// New keys, for as long as their certificates are asked for.
    Request,
}

impl Use {
    /// Those with a certificate.
    pub const IDENTITIES: [Use; 3] = [Use::Server, Use::Internal, Use::Control];

    /// As names and labels write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Use::Server => "server",
            Use::Internal => "internal",
            Use::Control => "control",
            Use::Request => "request",
        }
    }

    /// The kind of its certificate.
    pub fn certificate_kind(self) -> &'static str {
        match self {
            Use::Server => "server",
            Use::Internal | Use::Control | Use::Request => "internal",
        }
    }

    /// From a label.
    pub fn parse(text: &str) -> Option<Self> {
        [Use::Server, Use::Internal, Use::Control, Use::Request]
            .into_iter()
            .find(|known| known.as_str() == text)
    }
}

/// On a Secret: what it is for.
pub const USE: &str = "fluvio-cloud/use";
/// On a Secret with an identity: the end of its certificate.
pub const NOT_AFTER: &str = "fluvio-cloud/not-after";
/// Before the use, on a Secret with new keys: the request for the certificate.
pub const REQUEST: &str = "fluvio-cloud/request-";

/// An identity: PEM.
pub struct Identity<'a> {
    /// The certificate.
    pub certificate: &'a str,
    /// Its private key.
    pub key: &'a str,
    /// The CA that signed it.
    pub ca: &'a str,
}

/// A key whose certificate is asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What it will be for.
    pub purpose: Use,
    /// The request's id.
    pub request: Uuid,
    /// PKCS#8, PEM.
    pub key: String,
    /// PKCS#10, DER.
    pub csr: Vec<u8>,
}

/// The Secret with an identity.
pub fn identity(
    site: &Site,
    shape: &Shape,
    purpose: Use,
    of: &Identity<'_>,
    not_after: OffsetDateTime,
) -> Secret {
    let data = BTreeMap::from([
        ("tls.crt".to_owned(), ByteString(of.certificate.into())),
        ("tls.key".to_owned(), ByteString(of.key.into())),
        ("ca.crt".to_owned(), ByteString(of.ca.into())),
    ]);
    let end = not_after.format(&Rfc3339).unwrap_or_default();
    secret(site, shape, purpose, data, BTreeMap::from([(NOT_AFTER.to_owned(), end)]))
}

/// The Secret with new keys: it exists before the requests do, so that no certificate is ever issued for a key
/// that was lost.
pub fn request(site: &Site, shape: &Shape, asked: &[Asked]) -> Secret {
    let mut data = BTreeMap::new();
    let mut annotations = BTreeMap::new();
    for one in asked {
        let purpose = one.purpose.as_str();
        data.insert(format!("{purpose}.key"), ByteString(one.key.clone().into_bytes()));
        data.insert(format!("{purpose}.csr"), ByteString(one.csr.clone()));
        annotations.insert(format!("{REQUEST}{purpose}"), one.request.to_string());
    }
    secret(site, shape, Use::Request, data, annotations)
}

fn secret(
    site: &Site,
    shape: &Shape,
    purpose: Use,
    data: BTreeMap<String, ByteString>,
    annotations: BTreeMap<String, String>,
) -> Secret {
    let parts = data.iter().flat_map(|(key, value)| [key.as_bytes(), value.0.as_slice()]);
    let name = content_name(purpose.as_str(), parts);
    let mut metadata = metadata(site, shape, &name);
    metadata.labels.get_or_insert_default().insert(USE.into(), purpose.as_str().into());
    metadata.annotations = Some(annotations);
    Secret {
        metadata,
        data: Some(data),
        immutable: Some(true),
        type_: Some("Opaque".into()),
        ..Secret::default()
    }
}

/// A name that says what the content is: another content, another name.
pub fn content_name<'a>(prefix: &str, parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let digest = context.finish();
    let hex: String = digest.as_ref().iter().take(5).map(|byte| format!("{byte:02x}")).collect();
    format!("{prefix}-{hex}")
}
