//! Ends what belongs to clusters that no longer exist: their servers at once, their data after a time, since a
//! database that was restored from yesterday must not cost today's data.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::api::PropagationPolicy;
use time::OffsetDateTime;
use tokio::time::Instant;
use tracing::{info, warn};
use uuid::Uuid;

use super::api::ApiError;
use super::live::{NamespaceFacts, Watched};
use super::names;
use super::objects::Kind;
use super::pass::Ground;
use crate::store;

/// How often; also the least time between the two looks into the database.
const EVERY: Duration = Duration::from_secs(10);

/// Sweeps for ever.
pub async fn sweep(ground: Arc<Ground>) {
    let mut suspects: BTreeMap<Uuid, Instant> = BTreeMap::new();
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(error) = round(&ground, &mut suspects).await {
            warn!(%error, "cannot sweep; trying again");
        }
    }
}

async fn round(ground: &Ground, suspects: &mut BTreeMap<Uuid, Instant>) -> anyhow::Result<()> {
    if !ground.fleet.is_synced(&super::watch::WATCHES) {
        return Ok(());
    }
    for cluster in ground.fleet.returned() {
        // Its row is back: its time as an orphan does not count any more.
        ground.server.annotate(&names::namespace(cluster), names::ORPHANED, None).await?;
    }
    let strangers = ground.fleet.strangers();
    let existing =
        if strangers.is_empty() { Vec::new() } else { store::existing(&ground.pool, &strangers).await? };
    // A row of another region or runtime is not ours to judge.
    let orphans: Vec<Uuid> = strangers.into_iter().filter(|cluster| !existing.contains(cluster)).collect();
    suspects.retain(|cluster, _| orphans.contains(cluster));
    for cluster in orphans {
        let first = suspects.entry(cluster).or_insert_with(Instant::now);
        // Twice: a row may have been on its way when its namespace was seen.
        if first.elapsed() < EVERY {
            continue;
        }
        match end_orphan(ground, cluster).await {
            Ok(()) | Err(ApiError::Conflict(_) | ApiError::Absent(_)) => {}
            Err(error) => warn!(%cluster, %error, "cannot end what is left of a cluster"),
        }
    }
    Ok(())
}

async fn end_orphan(ground: &Ground, cluster: Uuid) -> Result<(), ApiError> {
    let (server, namespace, live) = (&ground.server, names::namespace(cluster), ground.fleet.live(cluster));
    if live.namespace() != NamespaceFacts::Present {
        return Ok(());
    }
    for (set, facts) in live.sets() {
        if facts.replicas > 0 {
            info!(%cluster, set, "stopping the servers of a cluster that does not exist");
            server.stop(&namespace, set).await?;
        }
    }
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let Some(since) = live.orphaned_since() else {
        return server.annotate(&namespace, names::ORPHANED, Some(&now.to_string())).await;
    };
    let keep = i64::try_from(ground.config.orphan_keep_seconds).unwrap_or(i64::MAX);
    if now.saturating_sub(since) < keep {
        return Ok(());
    }
    let watched = Watched::Written(Kind::Namespace);
    let Some(fresh) = server.get(watched, "", &namespace).await? else { return Ok(()) };
    let labels = fresh.metadata.labels.clone().unwrap_or_default();
    let ours = names::labels(&ground.config.region, cluster)
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value));
    let uid = fresh.metadata.uid.as_deref().and_then(|uid| uid.parse().ok());
    let Some(uid) = uid.filter(|_| ours && fresh.metadata.deletion_timestamp.is_none()) else {
        return Ok(());
    };
    info!(%cluster, "removing what is left of a cluster that no longer exists");
    server.delete(watched, "", &namespace, uid, PropagationPolicy::Background).await
}
