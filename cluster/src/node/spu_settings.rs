//! The settings of an SPU: what the link brings is kept on disk, put in force, and confirmed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cluster_settings::Settings;
use cluster_storage::disk::RealDisk;
use cluster_storage::document;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::access::{Policy, PolicyWatch};
use crate::link::SpuLink;
use crate::sc::Owner;

const VERSION: u32 = 1;

/// Pause before settings that the disk did not take are written again.
const RETRY: Duration = Duration::from_secs(1);

/// The settings that the SPU of this folder kept. What cannot be read is as good as none: the SC sends them.
pub fn kept(folder: &Path, owner: Owner) -> Option<Settings> {
    let kept: Option<Settings> = document::load_json(&RealDisk, &path(folder), VERSION)
        .inspect_err(|error| tracing::error!(%error, "cannot use the kept settings, waiting for the SC's"))
        .ok()?;
    kept.filter(|settings| owner.owns(settings))
}

/// The policy in force, from what was kept on, and the task that follows the link.
pub fn follow(
    link: SpuLink,
    folder: PathBuf,
    owner: Owner,
    stop: CancellationToken,
) -> (PolicyWatch, impl Future<Output = ()>) {
    let kept = link.settings().borrow().clone();
    let kept = kept.and_then(|settings| Policy::build(Settings::clone(&settings), None).ok());
    let (sender, policy) = watch::channel(kept.map(Arc::new));
    let follow = async move {
        let mut settings = link.settings();
        loop {
            let changed = tokio::select! {
                changed = settings.changed() => changed,
                () = stop.cancelled() => return,
            };
            if changed.is_err() {
                return;
            }
            let Some(new) = settings.borrow_and_update().clone() else { continue };
            if owner.owns(&new) {
                enforce(&link, &folder, &sender, new).await;
            } else {
                tracing::error!("the SC sent the settings of another cluster");
            }
        }
    };
    (policy, follow)
}

/// In force even if the disk does not take them (a revocation must act), but then not confirmed.
async fn enforce(
    link: &SpuLink,
    folder: &Path,
    sender: &watch::Sender<Option<Arc<Policy>>>,
    settings: Arc<Settings>,
) {
    let in_force = sender.borrow().clone();
    match Policy::build(Settings::clone(&settings), in_force.as_deref()) {
        Ok(policy) => sender.send_replace(Some(Arc::new(policy))),
        Err(error) => return tracing::error!(%error, "the SC sent settings that cannot be put in force"),
    };
    let generation = settings.generation;
    let target = path(folder);
    let write = move || {
        std::fs::create_dir_all(target.parent().unwrap_or(Path::new(".")))?;
        document::save_json(&RealDisk, &target, VERSION, &*settings)
    };
    match tokio::task::spawn_blocking(write).await.unwrap_or_else(|panic| Err(std::io::Error::other(panic))) {
        Ok(()) => link.applied_settings(generation),
        Err(error) => {
            tracing::error!(%error, "the settings are in force but not kept");
            tokio::time::sleep(RETRY).await;
        }
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join("settings")
}
