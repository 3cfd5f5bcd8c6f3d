//! Waiting for a cluster to run, with a sign of life and an end.

use std::thread;
use std::time::{Duration, Instant};

use super::account::{Account, segment};
use super::answers::Cluster;
use super::api::Call;
use crate::failure::Failure;
use crate::output::progress::Progress;

const POLL: Duration = Duration::from_millis(200);

/// What a cluster's state means to somebody who waits for it.
#[derive(Debug, PartialEq, Eq)]
enum Readiness {
    Ready,
    NotYet(String),
    /// Why, and what to do.
    Never(String, String),
}

/// Waits until the cluster serves; answers it as it is then.
pub fn until_running(account: &Account, asked: &Cluster, patience: Duration) -> Result<Cluster, Failure> {
    let path = format!("/clusters/{}", segment(&asked.id));
    let cluster = &asked.name;
    let deadline = Instant::now() + patience;
    let mut progress = Progress::start(&format!("waiting for cluster {cluster}"));
    loop {
        let mut seen = "the portal does not answer".to_owned();
        match account.call::<Cluster>(&Call::get(&path)) {
            Ok(cluster) => match readiness(&cluster) {
                Readiness::Ready => return Ok(cluster),
                Readiness::NotYet(step) => seen = step,
                Readiness::Never(why, fix) => return Err(Failure::failed(why).with_fix(fix)),
            },
            Err(error) if error.is_passing() => {}
            Err(error) => return Err(error.into()),
        }
        if Instant::now() >= deadline {
            return Err(Failure::failed(format!(
                "cluster {cluster} was not running after {} seconds: {seen}",
                patience.as_secs()
            ))
            .with_fix("look at `fluvio cloud cluster list`, then run this command again"));
        }
        progress.step(&format!("waiting for cluster {cluster}: {seen}"));
        thread::sleep(POLL);
    }
}

fn readiness(cluster: &Cluster) -> Readiness {
    let name = &cluster.name;
    let why = cluster.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    match cluster.state.as_str() {
        "running" => Readiness::Ready,
        // Some SPUs serve: good enough for a first connection, which says the rest.
        "degraded" if cluster.spus_ready > 0 => Readiness::Ready,
        "failed" => Readiness::Never(format!("cluster {name} could not be started{why}"), another()),
        "deleting" | "deleted" => Readiness::Never(format!("cluster {name} is being deleted"), another()),
        "pausing" | "paused" => {
            let fix = format!("fluvio cloud cluster resume {name} --wait");
            Readiness::Never(format!("cluster {name} is paused"), fix)
        }
        state => Readiness::NotYet(format!("{state}{why}")),
    }
}

fn another() -> String {
    "fluvio cloud cluster list, or create another cluster".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(state: &str, spus_ready: u32, reason: Option<&str>) -> Cluster {
        serde_json::from_value(serde_json::json!({
            "id": "1", "name": "main", "state": state, "spus_ready": spus_ready, "reason": reason
        }))
        .unwrap()
    }

    #[test]
    fn waiting_ends_when_it_serves_and_when_it_never_will() {
        let cases = [
            (cluster("running", 1, None), Readiness::Ready),
            (cluster("degraded", 1, None), Readiness::Ready),
            (cluster("degraded", 0, Some("SPU down")), Readiness::NotYet("degraded: SPU down".to_owned())),
            (cluster("creating", 0, None), Readiness::NotYet("creating".to_owned())),
            (cluster("something-new", 0, None), Readiness::NotYet("something-new".to_owned())),
            (
                cluster("failed", 0, Some("no room")),
                Readiness::Never("cluster main could not be started: no room".to_owned(), another()),
            ),
            (
                cluster("deleting", 1, None),
                Readiness::Never("cluster main is being deleted".to_owned(), another()),
            ),
            (cluster("resuming", 0, None), Readiness::NotYet("resuming".to_owned())),
            (
                cluster("paused", 0, None),
                Readiness::Never(
                    "cluster main is paused".to_owned(),
                    "fluvio cloud cluster resume main --wait".to_owned(),
                ),
            ),
        ];
        for (cluster, expected) in cases {
            assert_eq!(readiness(&cluster), expected);
        }
    }
}
