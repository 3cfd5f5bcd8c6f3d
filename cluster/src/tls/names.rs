//! The names under which the servers of a cluster are reached.

use cluster_settings::Settings;

/// Which server of the cluster one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerName {
    /// The streaming controller: `<domain>`.
    Sc,
    /// A stream processing unit: `<name>.<domain>`.
    Spu(String),
}

impl ServerName {
    /// The TLS name that clients ask for.
    pub fn tls_name(&self, domain: &str) -> String {
        match self {
            ServerName::Sc => domain.to_owned(),
            ServerName::Spu(name) => format!("{name}.{domain}"),
        }
    }
}

impl ServerName {
    /// Whether a client that asked for this name is right here. Any SPU answers for every SPU of its cluster: a client
    /// keeps calling the name that it learnt first, and its gateway sends it to one that lives.
    pub fn answers_to(&self, asked: Option<&str>, settings: &Settings) -> bool {
        let domain = &settings.domain;
        names_match(asked, &self.tls_name(domain))
            || matches!(self, Self::Spu(_))
                && settings.spus.iter().any(|spu| names_match(asked, &format!("{}.{domain}", spu.name)))
    }
}

/// Whether a client asked for this server. A name that is missing matches nothing: without it a connection
/// that strayed from another cluster would get as far as the handshake.
fn names_match(asked: Option<&str>, own: &str) -> bool {
    asked.is_some_and(|asked| asked.strip_suffix('.').unwrap_or(asked).eq_ignore_ascii_case(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_name_reaches_a_server() {
        let sc = ServerName::Sc.tls_name("c1.example.com");
        let spu = ServerName::Spu("main-0".into()).tls_name("c1.example.com");
        for (asked, own, expected) in [
            (Some("c1.example.com"), &sc, true),
            (Some("C1.example.com."), &sc, true),
            (Some("main-0.c1.example.com"), &spu, true),
            (Some("main-0.c1.example.com"), &sc, false),
            (Some("c1.example.com"), &spu, false),
            (Some("xc1.example.com"), &sc, false),
            (Some(""), &sc, false),
            (None, &sc, false),
        ] {
            assert_eq!(names_match(asked, own), expected, "{asked:?} at {own}");
        }
    }
}
