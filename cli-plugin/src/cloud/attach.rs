//! Making a cluster usable from this machine: key, certificate, profile, and a live connection as the proof.

use std::fs;
use std::path::Path;
use std::time::Duration;

use fluvio::config::ConfigFile;
use fluvio::metadata::spu::SpuSpec;
use fluvio::{Fluvio, FluvioClusterConfig};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::account::{Account, segment};
use super::answers::{Cluster, Issued};
use super::api::Call;
use super::key::{KeyAndRequest, make_key};
use super::session::WrittenProfile;
use crate::failure::{Failure, OrFail};
use crate::output::{self, Table, progress::Progress};
use crate::places::Places;
use crate::profile::{self, CloudCluster, ProfileError};
use crate::streams::target::in_plain_words;

/// A gateway may learn of a new cluster a moment after the portal says that it runs.
const PROOF_PATIENCE: Duration = Duration::from_secs(20);
const PROOF_ATTEMPT: Duration = Duration::from_secs(6);
const PROOF_PAUSE: Duration = Duration::from_millis(150);

/// `GET /clusters/{c}/profile`.
#[derive(Deserialize)]
pub struct SuggestedProfile {
    /// A name for it.
    pub name: String,
    endpoint: String,
    domain: String,
}

/// The cluster as a profile file keeps it.
pub fn entry(suggested: &SuggestedProfile, made: &KeyAndRequest, issued: Issued) -> CloudCluster {
    CloudCluster {
        endpoint: suggested.endpoint.clone(),
        domain: suggested.domain.clone(),
        key: made.key.to_string(),
        certificate: issued.certificate,
        authority: issued.ca,
    }
}

/// A profile that works.
pub struct Attached {
    /// The profile's name.
    pub profile: String,
    /// Where it dials.
    pub endpoint: String,
    /// When its certificate ends.
    pub not_after: Option<String>,
    /// SPUs the cluster named when asked.
    pub spus: usize,
}

/// Fetches a certificate for the cluster, writes the profile, and proves it by connecting with the published client.
pub fn attach(
    places: &Places,
    account: &Account,
    cluster: &Cluster,
    profile_name: Option<&str>,
    make_current: bool,
) -> Result<Attached, Failure> {
    let base = format!("/clusters/{}", segment(&cluster.id));
    let suggested: SuggestedProfile = account.call(&Call::get(&format!("{base}/profile")))?;
    let name = profile_name.unwrap_or(&suggested.name).to_owned();
    refuse_foreign(places, &name)?;
    let made = make_key()?;
    let body = json!({ "csr": made.request, "label": label() });
    let key = uuid::Uuid::new_v4().to_string();
    let issued: Issued = account.call(&Call::post(&format!("{base}/certificates"), &body).once(&key))?;
    let (id, not_after) = (issued.id.clone(), issued.not_after.clone());
    let entry = entry(&suggested, &made, issued);
    profile::update(&places.profiles, |profiles| {
        profiles.set_cloud_cluster(&name, &entry, make_current).map_err(|error| refused(&error))
    })?;
    remember(account, &name, cluster, &id, not_after.as_deref())?;
    let spus = prove(&places.profiles, &name)?;
    Ok(Attached { profile: name, endpoint: suggested.endpoint, not_after, spus })
}

/// Says what is there now and what to do next.
pub fn announce(cluster: &Cluster, attached: &Attached, current: bool) -> Result<(), Failure> {
    let mark = if current { format!("{} (current)", attached.profile) } else { attached.profile.clone() };
    let table = Table::of_pairs([
        ("cluster", cluster.name.clone()),
        ("endpoint", attached.endpoint.clone()),
        ("profile", mark),
        (
            "certificate",
            format!("valid until {}", attached.not_after.as_deref().unwrap_or("an unknown time")),
        ),
        ("connection", format!("proven: {}", spus_text(attached.spus))),
    ]);
    let profile = if current { String::new() } else { format!(" --profile {}", attached.profile) };
    output::print(&table.render())?;
    output::line(&format!("next: fluvio{profile} topic create my-topic"))
}

/// Connects as any client would, with what the profile file says.
pub fn prove(profiles: &Path, name: &str) -> Result<usize, Failure> {
    let mut progress = Progress::start(&format!("connecting to cluster with profile {name}"));
    let file = ConfigFile::load(Some(profiles.to_string_lossy().into_owned()))
        .or_fail("the profile that was written cannot be read back")?;
    let config = file.config().cluster_with_profile(name).ok_or_else(|| {
        Failure::failed(format!("the profile {name} disappeared while it was being proven"))
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .or_fail("the program could not start its own threads")?;
    let answer = runtime.block_on(connect_until(config, Instant::now() + PROOF_PATIENCE, &mut progress));
    progress.finish();
    answer.map_err(|why| {
        Failure::failed(format!(
            "the profile {name} was written, but {} cannot be used: {why}",
            config.endpoint
        ))
        .with_fix("check that this machine reaches that address, then `fluvio cloud cluster sync`")
    })
}

async fn connect_until(
    config: &FluvioClusterConfig,
    deadline: Instant,
    progress: &mut Progress,
) -> Result<usize, String> {
    loop {
        let attempt = timeout(PROOF_ATTEMPT, count_spus(config));
        let why = match timeout_at(deadline, attempt).await {
            Ok(Ok(Ok(spus))) => return Ok(spus),
            Ok(Ok(Err(error))) => in_plain_words(&format!("{error:#}")),
            Ok(Err(_)) | Err(_) => format!("no answer within {} seconds", PROOF_ATTEMPT.as_secs()),
        };
        if Instant::now() + PROOF_PAUSE >= deadline {
            return Err(why);
        }
        progress.step(&format!("connecting to {}: {why}", config.endpoint));
        sleep(PROOF_PAUSE).await;
    }
}

async fn count_spus(config: &FluvioClusterConfig) -> Result<usize, fluvio::FluvioError> {
    let to_error = |error| fluvio::FluvioError::Other(format!("{error:#}"));
    let fluvio = Fluvio::connect_with_config(config).await.map_err(to_error)?;
    let spus = fluvio.admin().await.all::<SpuSpec>().await.map_err(to_error)?;
    Ok(spus.len())
}

fn refuse_foreign(places: &Places, name: &str) -> Result<(), Failure> {
    let profiles = profile::read(&places.profiles)?;
    let foreign = profiles.exists(name) && !profiles.is_cloud(name);
    if foreign { Err(refused(&ProfileError::NotOurs(name.to_owned()))) } else { Ok(()) }
}

fn refused(error: &ProfileError) -> Failure {
    Failure::failed(format!("the profile was not written: {error}"))
        .with_fix("choose another name with --profile NAME")
}

fn remember(
    account: &Account,
    name: &str,
    cluster: &Cluster,
    certificate_id: &str,
    not_after: Option<&str>,
) -> Result<(), Failure> {
    let written = WrittenProfile {
        name: name.to_owned(),
        remote: account.remote().to_string(),
        cluster_id: cluster.id.clone(),
        certificate_id: certificate_id.to_owned(),
        not_after: not_after.map(str::to_owned),
    };
    account.store().update(|session| {
        let mut session = session.ok_or_else(|| Failure::failed("the login ended meanwhile"))?;
        session.remember(written);
        Ok((session, ()))
    })
}

/// How the portal's list of certificates names this machine.
fn label() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String =
        host.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')).take(40).collect();
    if host.is_empty() { "fluvio cloud login".to_owned() } else { format!("fluvio cloud login on {host}") }
}

fn spus_text(count: usize) -> String {
    if count == 1 { "1 SPU answers".to_owned() } else { format!("{count} SPUs are listed") }
}
