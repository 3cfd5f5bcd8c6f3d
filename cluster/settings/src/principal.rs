//! The principal that a client certificate names, as a URI in its subject alternative names:
//!
//! `fluvio-cloud://<tenant>/<cluster>/<principal>`, each a UUID in lower-case hyphenated form.
//!
//! The bytes are compared exactly, and only under that cluster's client CA: identity by common name or by
//! pattern is how other brokers were opened (NATS CVE-2022-24450, CVE-2026-33248).

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

const SCHEME: &str = "fluvio-cloud://";

/// Who a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Principal {
    /// The organisation.
    pub tenant: Uuid,
    /// The cluster that the certificate opens, and no other.
    pub cluster: Uuid,
    /// The entry of the access list.
    pub id: Uuid,
}

/// The text is not a principal in its one exact form.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a principal of this cloud")]
pub struct PrincipalError;

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}/{}", self.tenant, self.cluster, self.id)
    }
}

impl FromStr for Principal {
    type Err = PrincipalError;

    fn from_str(text: &str) -> Result<Self, PrincipalError> {
        let mut ids = text.strip_prefix(SCHEME).ok_or(PrincipalError)?.split('/').map(Uuid::try_parse);
        let mut next = || ids.next().ok_or(PrincipalError)?.map_err(|_| PrincipalError);
        let principal = Principal { tenant: next()?, cluster: next()?, id: next()? };
        // One text, one principal: upper case, braces or a fourth part would be a second spelling.
        if principal.to_string() == text { Ok(principal) } else { Err(PrincipalError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_spelling_is_a_principal() {
        let exact = "fluvio-cloud://6f1c7a52-0d4e-4a57-9f5a-0d8a3c0e9f01/6f1c7a52-0d4e-4a57-9f5a-0d8a3c0e9f02/6f1c7a52-0d4e-4a57-9f5a-0d8a3c0e9f03";
        assert_eq!(exact.parse::<Principal>().unwrap().to_string(), exact);
        for wrong in [
            exact.to_uppercase(),
            exact.replace("fluvio-cloud", "spiffe"),
            format!("{exact}/"),
            format!("{exact}?x"),
            exact.replace('-', ""),
            exact[..exact.len() - 1].to_string(),
            String::new(),
        ] {
            assert_eq!(wrong.parse::<Principal>(), Err(PrincipalError), "{wrong}");
        }
    }
}
