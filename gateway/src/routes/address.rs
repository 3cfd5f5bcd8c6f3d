//! Where a cluster's server listens.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A socket path holds 108 bytes with its end mark.
const MAX_UNIX_PATH: usize = 107;

/// An address as it stands in `cluster_backends`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `unix:/path`
    Unix(PathBuf),
    /// `tcp:host:port`; the host is an IP address (IPv6 in brackets) or a name that the runtime gave.
    Tcp {
        /// Without brackets.
        host: String,
        /// Never 0.
        port: u16,
    },
}

/// Why a text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Neither `unix:` nor `tcp:`.
    #[error("an address starts with unix:/ or tcp:")]
    Kind,
    /// The kernel would not take the path.
    #[error("a socket path is absolute, has no NUL and at most 107 bytes")]
    Path,
    /// Not `host:port`.
    #[error("a tcp address is tcp:host:port with a port from 1 to 65535")]
    HostPort,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            let fits = path.starts_with('/') && path.len() <= MAX_UNIX_PATH && !path.contains('\0');
            return if fits { Ok(Self::Unix(path.into())) } else { Err(AddressError::Path) };
        }
        let rest = text.strip_prefix("tcp:").ok_or(AddressError::Kind)?;
        let (host, port) = rest.rsplit_once(':').ok_or(AddressError::HostPort)?;
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').ok_or(AddressError::HostPort)?,
            None if host.contains(':') => return Err(AddressError::HostPort),
            None => host,
        };
        match port.parse() {
            Ok(port) if port > 0 && !host.is_empty() => Ok(Self::Tcp { host: host.to_owned(), port }),
            _ => Err(AddressError::HostPort),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp:[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp:{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back_as_they_were_written() {
        for text in ["unix:/run/sc.sock", "tcp:10.0.0.7:9003", "tcp:[fd00::1]:9003", "tcp:sc.ns.svc:9003"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_no_kernel_would_take_is_refused() {
        let long = format!("unix:/{}", "p".repeat(107));
        for (text, error) in [
            ("", AddressError::Kind),
            ("http://x", AddressError::Kind),
            ("unix:relative", AddressError::Path),
            (long.as_str(), AddressError::Path),
            ("unix:/a\0b", AddressError::Path),
            ("tcp:host", AddressError::HostPort),
            ("tcp::9003", AddressError::HostPort),
            ("tcp:host:0", AddressError::HostPort),
            ("tcp:host:65536", AddressError::HostPort),
            ("tcp:fd00::1:9003", AddressError::HostPort),
            ("tcp:[fd00::1:9003", AddressError::HostPort),
        ] {
            assert_eq!(text.parse::<Address>(), Err(error), "{text}");
        }
    }
}
