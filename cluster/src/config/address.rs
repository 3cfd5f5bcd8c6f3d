//! Addresses as the configuration writes them.

use std::path::PathBuf;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::connection::ListenAddress;

/// Bytes that fit in a Unix socket's address, without the closing zero.
const UNIX_PATH_MAX: usize = 107;

pub fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ListenAddress>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| parse(text)).collect()
}

pub fn unix<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    unix_path(&String::deserialize(deserializer)?)
}

pub fn optional_unix<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    Option::<String>::deserialize(deserializer)?.as_deref().map(unix_path).transpose()
}

fn unix_path<E: Error>(text: &str) -> Result<PathBuf, E> {
    match parse(text)? {
        ListenAddress::Unix(path) => Ok(path),
        ListenAddress::Tcp(_) | ListenAddress::TcpBehindProxy(_) => {
            Err(E::custom(format!("{text:?}: only a unix: address will do here")))
        }
    }
}

fn parse<E: Error>(text: &str) -> Result<ListenAddress, E> {
    let address = text.parse().map_err(E::custom)?;
    match &address {
        // Now rather than at the bind, so that the line of the file is in the message.
        ListenAddress::Unix(path) if path.as_os_str().len() > UNIX_PATH_MAX => Err(E::custom(format!(
            "the socket path {} is longer than {UNIX_PATH_MAX} bytes: choose a shorter folder",
            path.display()
        ))),
        _ => Ok(address),
    }
}
