//! ClientHellos that no TLS library would write, built field by field.

/// A TLS 1.3 ClientHello whose server-name extension holds exactly these names (`None`: no such extension).
pub fn with_names(names: Option<&[&[u8]]>) -> Vec<u8> {
    let mut extensions = Vec::new();
    if let Some(names) = names {
        let mut list = Vec::new();
        for name in names {
            list.push(0); // host_name
            list.extend(prefixed(name));
        }
        extension(&mut extensions, 0, &prefixed(&list));
    }
    extension(&mut extensions, 43, &[2, 3, 4]); // supported_versions: 1.3
    extension(&mut extensions, 10, &[0, 2, 0, 0x1d]); // groups: x25519
    extension(&mut extensions, 13, &[0, 2, 4, 3]); // signatures: ecdsa_secp256r1_sha256
    let mut share = vec![0, 0x1d];
    share.extend(prefixed(&[9; 32]));
    extension(&mut extensions, 51, &prefixed(&share));

    let mut body = vec![3, 3];
    body.extend([7; 32]); // random
    body.push(32);
    body.extend([5; 32]); // session id
    body.extend([0, 2, 0x13, 0x01]); // TLS_AES_128_GCM_SHA256
    body.extend([1, 0]); // no compression
    body.extend(prefixed(&extensions));

    let mut message = vec![1, 0];
    message.extend(prefixed(&body));
    record(&message)
}

/// One handshake record.
pub fn record(message: &[u8]) -> Vec<u8> {
    let mut record = vec![22, 3, 1];
    record.extend(prefixed(message));
    record
}

fn extension(to: &mut Vec<u8>, number: u16, body: &[u8]) {
    to.extend(number.to_be_bytes());
    to.extend(prefixed(body));
}

/// The bytes behind their length in two bytes; what is longer is cut short, which is a bad hello too.
fn prefixed(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    let mut all = length.to_be_bytes().to_vec();
    all.extend_from_slice(&bytes[..usize::from(length)]);
    all
}
