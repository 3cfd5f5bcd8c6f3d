//! `fluvio cloud cluster sync`: profiles for clusters that exist already.

use std::time::Duration;

use clap::Args;
use time::format_description::well_known::Rfc3339;
use time::{Duration as Span, OffsetDateTime};

use crate::cloud::account::{Account, segment};
use crate::cloud::answers::Cluster;
use crate::cloud::api::Call;
use crate::cloud::attach::{announce, attach};
use crate::cloud::session::{Session, WrittenProfile};
use crate::cloud::wait::until_running;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::places::Places;
use crate::profile::{self, Profiles};

/// A certificate with less than this left is replaced.
const RENEW_BEFORE_END: Span = Span::days(14);

/// Options of `cluster sync`.
#[derive(Debug, Args)]
pub struct Sync {
    /// One cluster; without it, all that run
    name: Option<String>,
    /// The name of the profile [default: the cluster's name]
    #[arg(long, value_name = "NAME", requires = "name")]
    profile: Option<String>,
    /// Fetch a new certificate even where the profile's is still good
    #[arg(long)]
    renew: bool,
    /// Seconds to wait for the named cluster to run
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    wait: u64,
}

impl Sync {
    /// Runs the command.
    pub fn run(&self, places: &Places) -> Outcome {
        let account = Account::open(places)?;
        let session = account.session()?;
        let profiles = profile::read(&places.profiles)?;
        let now = OffsetDateTime::now_utc();
        for cluster in self.wanted(&account)? {
            for name in self.names(&session, &profiles, &cluster) {
                if !self.renew && is_in_place(&session, &profiles, &name, &cluster, now) {
                    output::line(&format!("profile {name} is in place"))?;
                    continue;
                }
                let cluster = until_running(&account, &cluster, Duration::from_secs(self.wait))?;
                // A sync of everything must not change what commands without --profile talk to.
                let make_current = self.name.is_some();
                let attached = attach(places, &account, &cluster, Some(&name), make_current)?;
                let current = profile::read(&places.profiles)?.current().as_deref() == Some(&name);
                announce(&cluster, &attached, current)?;
            }
        }
        Ok(0)
    }

    /// The profiles to write for a cluster: the named one, else those that logins wrote for it, else one of its name.
    fn names(&self, session: &Session, profiles: &Profiles, cluster: &Cluster) -> Vec<String> {
        if let Some(name) = &self.profile {
            return vec![name.clone()];
        }
        let ours = session.profiles.iter().filter(|known| {
            known.cluster_id == cluster.id && known.remote == session.remote && profiles.is_cloud(&known.name)
        });
        let names: Vec<String> = ours.map(|known| known.name.clone()).collect();
        if names.is_empty() { vec![cluster.name.clone()] } else { names }
    }

    fn wanted(&self, account: &Account) -> Result<Vec<Cluster>, Failure> {
        if let Some(name) = &self.name {
            return Ok(vec![account.call(&Call::get(&format!("/clusters/{}", segment(name))))?]);
        }
        let mut clusters: Vec<Cluster> = account.all("/clusters")?;
        clusters.retain(|cluster| matches!(cluster.state.as_str(), "running" | "degraded"));
        if clusters.is_empty() {
            return Err(Failure::failed("no cluster runs yet")
                .with_fix("fluvio cloud cluster list, or fluvio cloud cluster create my-cluster --wait"));
        }
        Ok(clusters)
    }
}

/// Whether a profile needs nothing: ours, for this cluster and its present address, and good for a while yet.
fn is_in_place(
    session: &Session,
    profiles: &Profiles,
    name: &str,
    cluster: &Cluster,
    now: OffsetDateTime,
) -> bool {
    let points_there = profiles.list().iter().any(|row| {
        row.profile == name && row.endpoint == cluster.endpoint && profiles.is_cloud(&row.cluster)
    });
    let ours = |known: &WrittenProfile| known.cluster_id == cluster.id && known.remote == session.remote;
    points_there && session.written(name).filter(|known| ours(known)).is_some_and(|known| lasts(known, now))
}

fn lasts(known: &WrittenProfile, now: OffsetDateTime) -> bool {
    let end = known.not_after.as_deref().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
    end.is_some_and(|end| end - now > RENEW_BEFORE_END)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_profile_is_left_alone_only_if_it_is_ours_points_there_and_lasts() {
        let now = OffsetDateTime::parse("2026-01-01T00:00:00Z", &Rfc3339).unwrap();
        let cases = [
            ("gw:1", "c1", "https://p", "2026-03-01T00:00:00Z", true),
            ("gw:2", "c1", "https://p", "2026-03-01T00:00:00Z", false),
            ("gw:1", "c2", "https://p", "2026-03-01T00:00:00Z", false),
            ("gw:1", "c1", "https://q", "2026-03-01T00:00:00Z", false),
            ("gw:1", "c1", "https://p", "2026-01-10T00:00:00Z", false),
            ("gw:1", "c1", "https://p", "soon", false),
        ];
        for (endpoint, cluster_id, remote, not_after, expected) in cases {
            let session: Session = serde_json::from_value(json!({
                "remote": "https://p", "email": "a", "organisation": "a",
                "profiles": [{ "name": "main", "remote": remote, "cluster_id": cluster_id, "certificate_id": "x",
                               "not_after": not_after }]
            }))
            .unwrap();
            let profiles = Profiles::parse(&format!(
                "[profile.main]\ncluster='main'\n[cluster.main]\nendpoint='{endpoint}'\n[cluster.main.metadata]\ninstallation='cloud'"
            ))
            .unwrap();
            let cluster: Cluster = serde_json::from_value(json!({
                "id": "c1", "name": "main", "state": "running", "endpoint": "gw:1"
            }))
            .unwrap();
            assert_eq!(
                is_in_place(&session, &profiles, "main", &cluster, now),
                expected,
                "{endpoint} {cluster_id}"
            );
        }
    }
}
