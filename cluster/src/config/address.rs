//! Addresses as the configuration writes them.

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::connection::ListenAddress;
use crate::internal::Address;

pub fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ListenAddress>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
}

pub fn internal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Address, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

pub fn optional_internal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Address>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
}

/// Host and port of a plain TCP socket.
pub fn optional_tcp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match optional_internal(deserializer)? {
        None => Ok(None),
        Some(Address::Tcp(address)) => Ok(Some(address)),
        Some(Address::Unix(path)) => {
            Err(D::Error::custom(format!("{}: only a tcp: address will do here", path.display())))
        }
    }
}
