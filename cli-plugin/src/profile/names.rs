//! The document: profiles by name, the clusters they point at, and the current one. Everything we do not know of
//! (other clusters, other keys, comments, their order) goes through unchanged.

use std::fmt;
use std::net::IpAddr;

use serde::Serialize;
use toml_edit::{DocumentMut, Item, Table, TableLike, TomlError, value};

/// The version upstream's client writes and expects.
const FORMAT_VERSION: &str = "2.0";

/// A cluster of the cloud, as a profile holds it.
#[derive(Debug, Clone)]
pub struct CloudCluster {
    /// Where to dial: the gateway's `host:port`.
    pub endpoint: String,
    /// The TLS name of the cluster's SC; its SPUs are names below it.
    pub domain: String,
    /// The client's private key, PEM.
    pub key: String,
    /// The client's certificate, PEM.
    pub certificate: String,
    /// The authority that signed the cluster's server certificate, PEM.
    pub authority: String,
}

/// Why a change to the profiles was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// No profile has this name.
    #[error("there is no profile named `{0}`")]
    Unknown(String),
    /// A profile of this name is already there.
    #[error("there is already a profile named `{0}`")]
    Taken(String),
    /// The name belongs to a cluster that the cloud did not make.
    #[error("`{0}` is a cluster that does not come from the cloud")]
    NotOurs(String),
    /// The name that the cluster on this machine has is in use.
    #[error("the profile `{0}` is of another cluster than the one on this machine")]
    OfAnotherCluster(String),
}

/// One line of `profile list`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The profile's name.
    pub profile: String,
    /// Whether commands use it when none is named.
    pub current: bool,
    /// The cluster it points at.
    pub cluster: String,
    /// The cluster's `host:port`, empty if the cluster is missing from the file.
    pub endpoint: String,
    /// `disabled`, `anonymous` or `verified`.
    pub tls: String,
}

/// All profiles of one file.
#[derive(Debug, Clone)]
pub struct Profiles {
    document: DocumentMut,
}

impl Profiles {
    /// Reads the file's text; an empty text is a file without profiles.
    pub fn parse(text: &str) -> Result<Self, TomlError> {
        let mut document: DocumentMut = text.parse()?;
        if document.is_empty() {
            document["version"] = value(FORMAT_VERSION);
        }
        Ok(Self { document })
    }

    /// Every profile, by name.
    pub fn list(&self) -> Vec<Summary> {
        let current = self.current();
        let Some(profiles) = self.section("profile") else { return Vec::new() };
        let mut list: Vec<Summary> =
            profiles.iter().map(|(name, _)| self.summary(name, current.as_deref())).collect();
        list.sort_by(|a, b| a.profile.cmp(&b.profile));
        list
    }

    /// The profile that commands use when none is named.
    pub fn current(&self) -> Option<String> {
        self.document.get("current_profile")?.as_str().map(str::to_owned)
    }

    /// Makes another profile the current one.
    pub fn switch(&mut self, name: &str) -> Result<(), ProfileError> {
        self.known(name)?;
        self.document["current_profile"] = value(name);
        Ok(())
    }

    /// Gives a profile another name; its cluster keeps its own.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), ProfileError> {
        self.known(from)?;
        if self.known(to).is_ok() {
            return Err(ProfileError::Taken(to.to_owned()));
        }
        let profiles = self.section_mut("profile");
        if let Some(entry) = profiles.remove(from) {
            profiles.insert(to, entry);
        }
        if self.current().as_deref() == Some(from) {
            self.document["current_profile"] = value(to);
        }
        Ok(())
    }

    /// Forgets a profile, and its cluster when no other profile uses it.
    pub fn delete(&mut self, name: &str) -> Result<(), ProfileError> {
        self.known(name)?;
        let cluster = self.cluster_of(name);
        self.section_mut("profile").remove(name);
        if self.current().as_deref() == Some(name) {
            self.document.remove("current_profile");
        }
        let Some(cluster) = cluster else { return Ok(()) };
        let still_used = self.list().iter().any(|summary| summary.cluster == cluster);
        if !still_used {
            self.section_mut("cluster").remove(&cluster);
        }
        Ok(())
    }

    /// The cluster a profile points at.
    pub fn cluster_of(&self, profile: &str) -> Option<String> {
        let entry = self.section("profile")?.get(profile)?.as_table_like()?;
        entry.get("cluster")?.as_str().map(str::to_owned)
    }

    /// Writes a cluster of the cloud and a profile that points at it, and makes it current if asked.
    pub fn set_cloud_cluster(
        &mut self,
        name: &str,
        cluster: &CloudCluster,
        make_current: bool,
    ) -> Result<(), ProfileError> {
        if self.cluster_table(name).is_some() && !self.is_cloud(name) {
            return Err(ProfileError::NotOurs(name.to_owned()));
        }
        let table = self.point_profile_at(name, &cluster.endpoint);
        child(table, "metadata").insert("installation", value("cloud"));
        let tls = child(table, "tls");
        tls.insert("tls_policy", value("verified"));
        tls.insert("tls_source", value("inline"));
        let certificates = child(tls, "certs");
        certificates.insert("domain", value(&cluster.domain));
        certificates.insert("key", value(&cluster.key));
        certificates.insert("cert", value(&cluster.certificate));
        certificates.insert("ca_cert", value(&cluster.authority));
        if make_current || self.current().is_none() {
            self.document["current_profile"] = value(name);
        }
        Ok(())
    }

    /// Writes a cluster reached without TLS and a profile that points at it.
    pub fn set_plain_cluster(&mut self, name: &str, endpoint: &str) {
        let table = self.point_profile_at(name, endpoint);
        let tls = child(table, "tls");
        tls.clear();
        tls.insert("tls_policy", value("disabled"));
        if self.current().is_none() {
            self.document["current_profile"] = value(name);
        }
    }

    /// Whether the name can be the one of the cluster on this machine: nobody has it, or a cluster without TLS on
    /// loopback, which was one before.
    pub fn takes_local_cluster(&self, name: &str) -> Result<(), ProfileError> {
        let points_elsewhere = self.cluster_of(name).is_some_and(|cluster| cluster != name);
        let is_another = self.cluster_table(name).is_some_and(|table| {
            let (endpoint, tls) = endpoint_and_tls(Some(table));
            let was_one = tls == "disabled" && is_loopback(&endpoint);
            !was_one && !self.is_local(name)
        });
        if points_elsewhere || is_another {
            return Err(ProfileError::OfAnotherCluster(name.to_owned()));
        }
        Ok(())
    }

    /// Writes the cluster on this machine and a profile that points at it, and makes it current.
    pub fn set_local_cluster(&mut self, name: &str, endpoint: &str) -> Result<(), ProfileError> {
        self.takes_local_cluster(name)?;
        self.set_plain_cluster(name, endpoint);
        let table = child(self.section_mut("cluster"), name);
        child(table, "metadata").insert("installation", value("local"));
        self.document["current_profile"] = value(name);
        Ok(())
    }

    /// Whether the cluster says that it is the one on this machine.
    pub fn is_local(&self, cluster: &str) -> bool {
        let metadata = self.cluster_table(cluster).and_then(|table| table.get("metadata")?.as_table_like());
        metadata.is_some_and(|metadata| metadata.get("installation").and_then(Item::as_str) == Some("local"))
    }

    /// Whether a cluster of this name is in the file.
    pub fn exists(&self, cluster: &str) -> bool {
        self.cluster_table(cluster).is_some()
    }

    /// Whether the cluster says that it comes from the cloud.
    pub fn is_cloud(&self, cluster: &str) -> bool {
        let metadata = self.cluster_table(cluster).and_then(|table| table.get("metadata")?.as_table_like());
        metadata.is_some_and(|metadata| {
            metadata.get("installation").and_then(Item::as_str) == Some("cloud")
                || metadata.contains_key("infinyon_cloud_cli")
        })
    }

    /// Profile and cluster tables for `name`, with the endpoint set and everything else kept.
    fn point_profile_at(&mut self, name: &str, endpoint: &str) -> &mut dyn TableLike {
        child(self.section_mut("profile"), name).insert("cluster", value(name));
        let table = child(self.section_mut("cluster"), name);
        // `addr` is the client's other spelling of `endpoint`; both at once would be refused.
        table.remove("addr");
        table.insert("endpoint", value(endpoint));
        table.insert("use_spu_local_address", value(false));
        table
    }

    fn summary(&self, profile: &str, current: Option<&str>) -> Summary {
        let cluster = self.cluster_of(profile).unwrap_or_default();
        let (endpoint, tls) = endpoint_and_tls(self.cluster_table(&cluster));
        Summary { current: current == Some(profile), profile: profile.to_owned(), cluster, endpoint, tls }
    }

    fn known(&self, name: &str) -> Result<(), ProfileError> {
        let known = self.section("profile").is_some_and(|profiles| profiles.contains_key(name));
        if known { Ok(()) } else { Err(ProfileError::Unknown(name.to_owned())) }
    }

    fn cluster_table(&self, name: &str) -> Option<&dyn TableLike> {
        self.section("cluster")?.get(name)?.as_table_like()
    }

    fn section(&self, name: &str) -> Option<&dyn TableLike> {
        self.document.get(name)?.as_table_like()
    }

    fn section_mut(&mut self, name: &str) -> &mut dyn TableLike {
        child(self.document.as_table_mut(), name)
    }
}

impl fmt::Display for Profiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client refuses a file in which one of these two is missing.
        let mut document = self.document.clone();
        for section in ["profile", "cluster"] {
            let empty = child(document.as_table_mut(), section).is_empty();
            if let Some(table) = document.get_mut(section).and_then(Item::as_table_mut) {
                table.set_implicit(!empty);
            }
        }
        write!(f, "{document}")
    }
}

fn endpoint_and_tls(table: Option<&dyn TableLike>) -> (String, String) {
    let text = |item: Option<&Item>| item.and_then(Item::as_str).unwrap_or_default().to_owned();
    let endpoint = text(table.and_then(|table| table.get("endpoint").or_else(|| table.get("addr"))));
    let policy = text(table.and_then(|table| table.get("tls")?.as_table_like()?.get("tls_policy")));
    (endpoint, if policy.is_empty() { "disabled".to_owned() } else { policy })
}

/// Whether `host:port` is on this machine whatever its resolver says.
fn is_loopback(endpoint: &str) -> bool {
    let host = endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host);
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The table under a key; whatever else stood there gives way.
fn child<'a>(parent: &'a mut dyn TableLike, name: &str) -> &'a mut dyn TableLike {
    let is_table = parent.get(name).is_some_and(Item::is_table_like);
    if !is_table {
        let mut table = Table::new();
        table.set_implicit(true);
        parent.insert(name, Item::Table(table));
    }
    parent.get_mut(name).and_then(Item::as_table_like_mut).expect("the line above put a table there")
}

#[cfg(test)]
mod tests;
