//! Hears of every change of the live objects: one watch for each kind, over all tenants. Secrets are not
//! watched, since that would need the right to read all of them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use tracing::{debug, warn};

use super::fleet::Fleet;
use super::live::Watched;
use super::metrics::{Counters, Verb};
use super::names::{MANAGED_BY, MANAGER, REGION};
use super::objects::Kind;

/// Everything that is watched.
pub const WATCHES: [Watched; 13] = [
    Watched::Written(Kind::Namespace),
    Watched::Written(Kind::RoleBinding),
    Watched::Written(Kind::ResourceQuota),
    Watched::Written(Kind::LimitRange),
    Watched::Written(Kind::NetworkPolicy),
    Watched::Written(Kind::ServiceAccount),
    Watched::Written(Kind::ConfigMap),
    Watched::Written(Kind::Service),
    Watched::Written(Kind::DisruptionBudget),
    Watched::Written(Kind::StatefulSet),
    Watched::Pod,
    Watched::Claim,
    Watched::Volume,
];

/// Objects that come in one answer of a whole look: few, since they are in memory together.
const PAGE: u32 = 100;
/// First and longest pause before the next attempt to hear.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Watches one kind for ever.
pub async fn watch(
    api: kube::Api<kube::core::DynamicObject>,
    fleet: Arc<Fleet>,
    counters: Arc<Counters>,
    watched: Watched,
) {
    let ours = format!("{MANAGED_BY}={MANAGER},{REGION}={}", fleet.site().region);
    let config = Config::default().page_size(PAGE);
    // A volume carries no label of ours; it names the namespace of its claim.
    let config = if watched == Watched::Volume { config } else { config.labels(&ours) };
    fleet.until_rows_are_known().await;
    let mut events = watcher(api, config).boxed();
    let mut pause = PAUSES.0;
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                // The beginning of a whole look is no success yet.
                if !matches!(event, Event::Init) {
                    pause = PAUSES.0;
                }
                take_in(&fleet, &counters, watched, event);
            }
            Err(error) => {
                if pause >= PAUSES.1 {
                    warn!(?watched, %error, "cannot hear of changes; clusters go on as they are");
                } else {
                    debug!(?watched, %error, "hearing again");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
            }
        }
    }
}

fn take_in(fleet: &Fleet, counters: &Counters, watched: Watched, event: Event<kube::core::DynamicObject>) {
    match event {
        Event::Init => {
            counters.call(Verb::List);
            fleet.begin_round(watched);
        }
        Event::InitDone => {
            counters.call(Verb::Watch);
            fleet.end_round(watched);
        }
        Event::Apply(object) | Event::InitApply(object) => {
            counters.event();
            fleet.hear(watched, &object);
        }
        Event::Delete(object) => {
            counters.event();
            fleet.lose(watched, &object);
        }
    }
}
