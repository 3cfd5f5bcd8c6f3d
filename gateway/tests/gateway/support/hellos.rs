//! Hellos: a real client's, and hand-made ones that no real client would send.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// A hello as the published client sends it, post-quantum key share included.
pub fn real_hello(name: &str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut bytes).unwrap();
    }
    bytes
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &(body.len() as u16).to_be_bytes(), body].concat()
}

fn with_length(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u16).to_be_bytes()[..], body].concat()
}

/// The handshake message of a hello with these names, each of kind 0 (host name); `None` for no such
/// extension at all.
pub fn hello_message(names: Option<&[&[u8]]>, padding: usize) -> Vec<u8> {
    let mut extensions = Vec::new();
    if let Some(names) = names {
        let list: Vec<u8> = names.iter().flat_map(|name| [vec![0], with_length(name)].concat()).collect();
        extensions.extend(extension(0, &with_length(&list)));
    }
    extensions.extend(extension(10, &with_length(&[0, 29])));
    extensions.extend(extension(13, &with_length(&[4, 3, 8, 4])));
    extensions.extend(extension(43, &[2, 3, 4]));
    extensions.extend(extension(51, &with_length(&[&[0, 29, 0, 32][..], &[9; 32]].concat())));
    if padding > 0 {
        extensions.extend(extension(21, &vec![0; padding]));
    }
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend(with_length(&[0x13, 1, 0x13, 2]));
    body.extend([1, 0]);
    body.extend(with_length(&extensions));
    let length = (body.len() as u32).to_be_bytes();
    [&[1], &length[1..], &body].concat()
}

/// The message in records of at most `size` bytes.
pub fn in_records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|piece| [&[22, 3, 1][..], &with_length(piece)].concat()).collect()
}

/// One record with a hello of exactly this name.
pub fn hello_naming(name: &[u8]) -> Vec<u8> {
    in_records(&hello_message(Some(&[name]), 0), 16_000)
}
