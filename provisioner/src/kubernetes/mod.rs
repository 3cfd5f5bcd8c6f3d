//! Clusters as pods of a Kubernetes cluster: a namespace for each tenant's cluster.
//!
//! The [director] reads what is wanted, as far as it changed, and shares the clusters with other provisioners by
//! leases; a [watch] for each kind of object tells what is. Both only note it in the [fleet] and say whose turn
//! it is. A [pass] over one cluster then [gathers the facts](facts), [plans](plan) (pure), applies what the
//! [builders](objects) (pure) make, and records what is ([status], pure). The [sweep] ends what belongs to
//! nobody.
//!
//! A cluster that nothing happens to costs a few kilobytes and one small question a minute to its own SC.

pub mod api;
pub mod covers;
pub mod director;
pub mod facts;
pub mod fleet;
mod listen;
pub mod live;
pub mod metrics;
pub mod mind;
pub mod names;
pub mod objects;
pub mod pass;
pub mod plan;
pub mod render;
mod rolls;
pub mod status;
pub mod sweep;
mod turns;
pub mod watch;

use std::sync::Arc;

use anyhow::Context;
use aws_lc_rs::digest::{SHA256, digest};
use sqlx::PgPool;
use tokio::sync::{Notify, watch as channel};
use tokio::task::JoinSet;
use tracing::debug;
use uuid::Uuid;

use crate::config::{Config, KubernetesConfig};
use crate::store;
use director::Director;
use fleet::Fleet;
use metrics::Counters;
use objects::Site;
use pass::Ground;

/// What wakes the work.
pub struct Calls {
    /// The database.
    pub pool: PgPool,
    /// What is wanted changed.
    pub look: Arc<Notify>,
    /// Changes whenever the signer answered somebody.
    pub certificates: channel::Receiver<u64>,
}

/// Keeps clusters until told to stop.
pub async fn keep(
    config: Config,
    kubernetes: KubernetesConfig,
    calls: Calls,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let holder = holder(&config.region, &config.host);
    let counters = Arc::new(Counters::default());
    let server = api::Server::new(&kubernetes, Arc::clone(&counters)).await;
    let server = server.context("cannot talk to the API server with this configuration")?;
    let fleet = Arc::new(Fleet::new(Site { region: config.region.clone(), config: kubernetes }));
    let mut tasks = JoinSet::new();
    for watched in watch::WATCHES {
        let (api, fleet, counters) = (server.everywhere(watched), Arc::clone(&fleet), Arc::clone(&counters));
        tasks.spawn(watch::watch(api, fleet, counters, watched));
    }
    let metrics_listen = config.metrics_listen;
    let ground = Arc::new(Ground { config, pool: calls.pool, server, fleet, counters });
    if let Some(address) = metrics_listen {
        let listener = listen::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        tasks.spawn(listen::listen(listener, Arc::clone(&ground)));
    }
    tasks.spawn(hear_answers(Arc::clone(&ground), calls.certificates));
    tasks.spawn(turns::give(Arc::clone(&ground)));
    tasks.spawn(sweep::sweep(Arc::clone(&ground)));
    let mut director = Director::new(ground, holder, calls.look);
    let end = tokio::select! {
        () = director.run() => Ok(()),
        () = stop => Ok(()),
        // Each of them works for ever; without one of them nothing good comes of the others.
        _ = tasks.join_next() => Err(anyhow::anyhow!("a part of the provisioner ended")),
    };
    tasks.shutdown().await;
    director.stop().await;
    end
}

/// The name under which a pod holds leases: the same after a restart of its container, so that it need not wait
/// for its own leases to run out.
fn holder(region: &str, host: &str) -> Uuid {
    let name = digest(&SHA256, format!("{region}/{host}").as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&name.as_ref()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// Wakes the clusters whose certificates came: one question for all of them.
async fn hear_answers(ground: Arc<Ground>, mut certificates: channel::Receiver<u64>) {
    while certificates.changed().await.is_ok() {
        let awaited = ground.fleet.awaited();
        if awaited.is_empty() {
            continue;
        }
        match store::answered(&ground.pool, &awaited).await {
            Ok(answered) => ground.fleet.answered(&answered),
            Err(error) => debug!(%error, "the signer's answers are read when their clusters have their turn"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_the_same_holder_after_a_restart_and_no_other_is() {
        assert_eq!(holder("home", "a"), holder("home", "a"));
        assert_ne!(holder("home", "a"), holder("home", "b"));
        assert_ne!(holder("home", "a"), holder("away", "a"));
    }
}
