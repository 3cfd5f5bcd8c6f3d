//! Addresses of internal sockets as the configuration writes them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The kernel's limit for a Unix socket's path, without its final NUL.
const UNIX_PATH_MAX: usize = 107;

/// Stands for an SPU's name.
const NAME: &str = "{name}";

/// Where an internal socket listens or is dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `unix:PATH`: on this host.
    Unix(PathBuf),
    /// `tcp:HOST:PORT`: mutual TLS; a name is looked up at each dial.
    Tcp(String),
}

/// A text that is no such address.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// Not one of the forms.
    #[error("{0:?} is not an address of an internal socket: write unix:PATH or tcp:HOST:PORT")]
    Form(String),
    /// The kernel takes no longer path.
    #[error("the socket path {0:?} is longer than {UNIX_PATH_MAX} bytes: choose a shorter folder")]
    PathTooLong(PathBuf),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let form = || AddressError::Form(text.to_owned());
        match text.split_once(':').ok_or_else(form)? {
            ("unix", path) if path.len() > UNIX_PATH_MAX => Err(AddressError::PathTooLong(path.into())),
            ("unix", path) if !path.is_empty() => Ok(Self::Unix(path.into())),
            ("tcp", rest) => match rest.rsplit_once(':') {
                Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                    Ok(Self::Tcp(rest.to_owned()))
                }
                _ => Err(form()),
            },
            _ => Err(form()),
        }
    }
}

impl Address {
    /// The address with an SPU's name for each `{name}`.
    pub fn of_spu(&self, name: &str) -> Self {
        match self {
            Self::Unix(path) => Self::Unix(path.to_string_lossy().replace(NAME, name).into()),
            Self::Tcp(address) => Self::Tcp(address.replace(NAME, name)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_stands_for_that_of_every_spu() {
        for (text, expected) in [
            ("tcp:{name}.spus:9011", "tcp:main-1.spus:9011"),
            ("unix:/run/{name}.sock", "unix:/run/main-1.sock"),
            ("tcp:0.0.0.0:9011", "tcp:0.0.0.0:9011"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().of_spu("main-1").to_string(), expected);
        }
    }

    #[test]
    fn addresses_are_written_as_they_are_read() {
        for text in ["unix:/run/link.sock", "tcp:0.0.0.0:9010", "tcp:[::]:0", "tcp:sc.fluvio-1.svc:9010"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        let long = format!("unix:/{}", "x".repeat(107));
        for text in ["", "unix:", "tcp:9003", "tcp::9", "tcp:host:65536", "tcp+proxy:h:1", "/run/sock", &long]
        {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
