//! Which cluster a command talks to, and the connection to it.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use fluvio::config::{ConfigFile, TlsPaths, TlsPolicy};
use fluvio::{Fluvio, FluvioAdmin, FluvioClusterConfig};
use fluvio_socket::SocketError;
use tokio::time::timeout;

use crate::failure::{Failure, OrFail};
use crate::places::Places;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// The client waits a minute for an answer by itself; ours ends after it, so that its own words are seen.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(65);

/// The cluster to talk to; without any of these, the current profile's
#[derive(Debug, Args, Default)]
pub struct Target {
    /// Use this profile instead of the current one
    #[arg(long, short = 'P', value_name = "PROFILE", help_heading = "Cluster")]
    profile: Option<String>,
    /// Use the cluster at this address instead of a profile's
    #[arg(long, short = 'c', value_name = "HOST:PORT", conflicts_with = "profile", help_heading = "Cluster")]
    cluster: Option<String>,
    /// With --cluster: use TLS
    #[arg(long, requires = "cluster", help_heading = "Cluster")]
    tls: bool,
    /// With --tls: show a client certificate
    #[arg(long, help_heading = "Cluster")]
    enable_client_cert: bool,
    /// With --tls: the name in the server's certificate
    #[arg(long, value_name = "NAME", help_heading = "Cluster")]
    domain: Option<String>,
    /// With --tls: the authority behind the server's certificate, PEM
    #[arg(long, value_name = "FILE", help_heading = "Cluster")]
    ca_cert: Option<PathBuf>,
    /// With --tls: the client certificate, PEM
    #[arg(long, value_name = "FILE", help_heading = "Cluster")]
    client_cert: Option<PathBuf>,
    /// With --tls: the client certificate's key, PEM
    #[arg(long, value_name = "FILE", help_heading = "Cluster")]
    client_key: Option<PathBuf>,
}

impl Target {
    /// The configuration the published client connects with.
    pub fn config(&self, places: &Places) -> Result<FluvioClusterConfig, Failure> {
        let mut config = match &self.cluster {
            Some(address) => FluvioClusterConfig::new(address).with_tls(self.tls_policy()?),
            None => self.profile_config(places)?,
        };
        config.client_id =
            Some(std::env::var("FLUVIO_CLIENT_ID").unwrap_or_else(|_| "FLUVIO_CLI".to_owned()));
        Ok(config)
    }

    /// Whether a profile or an address was named.
    pub fn is_given(&self) -> bool {
        self.profile.is_some() || self.cluster.is_some()
    }

    /// Connects for streams.
    pub async fn connect(&self, places: &Places) -> Result<(Fluvio, FluvioClusterConfig), Failure> {
        let config = self.config(places)?;
        Ok((connect(&config).await?, config))
    }

    /// Connects for administration.
    pub async fn admin(&self, places: &Places) -> Result<FluvioAdmin, Failure> {
        connect_admin(&self.config(places)?).await
    }

    fn profile_config(&self, places: &Places) -> Result<FluvioClusterConfig, Failure> {
        let advice = "fluvio cloud login, fluvio cluster start, or fluvio profile list";
        if !places.profiles.exists() {
            return Err(Failure::failed("there is no profile yet")
                .with_fix("fluvio cloud login, or fluvio cluster start for a cluster on this machine"));
        }
        let file = ConfigFile::load(Some(places.profiles.to_string_lossy().into_owned()))
            .or_fail("the profiles cannot be read")?;
        let found =
            match &self.profile {
                Some(name) => file.config().cluster_with_profile(name).cloned().ok_or_else(|| {
                    Failure::failed(format!("there is no profile named `{name}` with a cluster"))
                }),
                None => file.config().current_cluster().cloned().or_fail("no profile is current"),
            };
        found.map_err(|failure| failure.with_fix(advice))
    }

    fn tls_policy(&self) -> Result<TlsPolicy, Failure> {
        if !self.tls {
            return Ok(TlsPolicy::Disabled);
        }
        if !self.enable_client_cert {
            return Ok(TlsPolicy::Anonymous);
        }
        match (&self.domain, &self.ca_cert, &self.client_cert, &self.client_key) {
            (Some(domain), Some(ca_cert), Some(cert), Some(key)) => Ok(TlsPolicy::from(TlsPaths {
                domain: domain.clone(),
                ca_cert: ca_cert.clone(),
                cert: cert.clone(),
                key: key.clone(),
            })),
            _ => Err(Failure::usage("a client certificate needs more than --enable-client-cert")
                .with_fix("add --domain, --ca-cert, --client-cert and --client-key")),
        }
    }
}

/// Connects to a cluster for streams.
pub async fn connect(config: &FluvioClusterConfig) -> Result<Fluvio, Failure> {
    within(CONNECT_TIMEOUT, config, Fluvio::connect_with_config(config)).await
}

/// Connects to a cluster's SC for administration.
pub async fn connect_admin(config: &FluvioClusterConfig) -> Result<FluvioAdmin, Failure> {
    within(CONNECT_TIMEOUT, config, FluvioAdmin::connect_with_config(config)).await
}

/// Waits for an answer of the cluster, not for ever, and puts its refusal in a person's words.
pub async fn answer<T>(doing: &str, call: impl Future<Output = anyhow::Result<T>>) -> Result<T, Failure> {
    match timeout(ANSWER_TIMEOUT, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(explain(doing, &in_plain_words(&format!("{error:#}")))),
        Err(_) => Err(Failure::failed(format!("{doing}: the cluster did not answer"))
            .with_fix("check the cluster with `fluvio cloud cluster list`, then try again")),
    }
}

/// An error of the client's sockets with all its causes.
pub fn causes(error: SocketError) -> String {
    in_plain_words(&format!("{:#}", anyhow::Error::from(error)))
}

/// The TLS library's words for a connection that was cut are no help to anybody; the others are.
pub fn in_plain_words(words: &str) -> String {
    if words.contains("close_notify") || words.contains("connection is closed") {
        return "the other side closed the connection".to_owned();
    }
    if words.contains("Socket is stale") || words.contains("Socket closed") {
        return "the connection was lost".to_owned();
    }
    if words.contains("Connection reset") || words.contains("Broken pipe") {
        return "the other side cut the connection".to_owned();
    }
    words.to_owned()
}

fn explain(doing: &str, words: &str) -> Failure {
    let failure = Failure::failed(format!("{doing}: {words}"));
    let lower = words.to_lowercase();
    if lower.contains("permission denied") {
        failure.with_fix("use a profile whose certificate has the role admin")
    } else if lower.contains("not found") {
        failure.with_fix("fluvio topic list shows what is there")
    } else {
        failure
    }
}

async fn within<T>(
    patience: Duration,
    config: &FluvioClusterConfig,
    connecting: impl Future<Output = anyhow::Result<T>>,
) -> Result<T, Failure> {
    let why = match timeout(patience, connecting).await {
        Ok(Ok(connected)) => return Ok(connected),
        Ok(Err(error)) => in_plain_words(&format!("{error:#}")),
        Err(_) => format!("no answer within {} seconds", patience.as_secs()),
    };
    Err(Failure::failed(format!("{} cannot be reached: {why}", config.endpoint)).with_fix(if is_here(config) {
        "fluvio cluster status says whether the cluster on this machine runs, fluvio cluster start starts it"
    } else {
        "check the network and `fluvio cloud cluster list`; a revoked or expired certificate: fluvio cloud cluster sync --renew"
    }))
}

/// Whether the cluster is one without TLS on this machine.
fn is_here(config: &FluvioClusterConfig) -> bool {
    let host = config.endpoint.rsplit_once(':').map_or(config.endpoint.as_str(), |(host, _)| host);
    matches!(config.tls, TlsPolicy::Disabled) && matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_connection_is_said_in_a_persons_words_and_other_errors_in_their_own() {
        let cut =
            "Socket io next response: peer closed connection without sending TLS close_notify: https://x";
        assert_eq!(in_plain_words(cut), "the other side closed the connection");
        assert_eq!(
            in_plain_words("io: Connection reset by peer (os error 104)"),
            "the other side cut the connection"
        );
        assert_eq!(in_plain_words("invalid peer certificate: Expired"), "invalid peer certificate: Expired");
    }

    #[test]
    fn a_refusal_names_its_way_out() {
        let fixes = [("Permission denied", "role admin"), ("Topic not found", "topic list")];
        for (words, fix) in fixes {
            assert!(format!("{:?}", explain("it failed", words)).contains(fix), "{words}");
        }
    }
}
