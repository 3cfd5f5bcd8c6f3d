//! Looking at what is.

use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use super::Pass;
use crate::kubernetes::fleet::View;
use crate::kubernetes::live::{NamespaceFacts, Watched};
use crate::kubernetes::mind::{Keys, LookedAgain};
use crate::kubernetes::names;
use crate::kubernetes::objects::Kind;
use crate::step::StepError;

/// A cluster that is not as it is wanted, and of which nothing was heard for so long, is looked at past the
/// watches.
const TRUST: Duration = Duration::from_secs(20);

/// What the way of a cluster depends on. What only its own writes change is known by their answers.
const AWAITED: [Watched; 6] = [
    Watched::Written(Kind::Namespace),
    Watched::Written(Kind::ResourceQuota),
    Watched::Written(Kind::StatefulSet),
    Watched::Pod,
    Watched::Claim,
    Watched::Volume,
];

impl Pass<'_> {
    /// Looks at what no watch tells: Secrets, answers of the signer, and the cluster's own word.
    pub(super) async fn look(&mut self, view: &View) -> Result<(), StepError> {
        let wanted = &view.row.wanted;
        if view.live.namespace() != NamespaceFacts::Present {
            self.mind.keys = Keys::default();
            (self.mind.health, self.mind.pushed) = (None, None);
            self.ground.fleet.decide_internal(self.cluster, None);
            return Ok(());
        }
        // Without the binding nothing in the namespace may be read.
        if view.live.refs().any(|object| object.kind == Kind::RoleBinding) {
            self.look_at_secrets(view).await?;
        }
        if wanted.rests() {
            (self.mind.health, self.mind.pushed) = (None, None);
            return Ok(());
        }
        self.look_for_answers().await?;
        self.look_at_health(view).await
    }

    /// A watch may have missed something. Who waits for long asks for himself: again soon where there was news
    /// that the watches had not told, and else ever more rarely.
    pub(super) async fn look_again_when_due(&mut self, view: &View) -> Result<(), StepError> {
        let Some(since) = self.mind.unsettled else {
            self.mind.looked_again = None;
            return Ok(());
        };
        let silent_since = view.heard.map_or(since, |heard| heard.max(since));
        let (last, trust) = match self.mind.looked_again {
            Some(look) => (look.at.max(silent_since), look.trust),
            None => (silent_since, TRUST),
        };
        if last.elapsed() < trust || !self.ground.fleet.may_look_again() {
            return Ok(());
        }
        self.mind.looked_again = Some(LookedAgain { at: Instant::now(), trust: trust * 2 });
        if self.look_past_the_watches(view).await? {
            self.mind.looked_again = Some(LookedAgain { at: Instant::now(), trust: TRUST });
        } else {
            let wanted = names::pods(view.shape.spus, &self.ground.fleet.site().config.zones);
            self.mind.shrunk &= view.live.pods().any(|(pod, _)| !wanted.iter().any(|name| name == pod));
        }
        Ok(())
    }

    /// Says whether there was news.
    async fn look_past_the_watches(&self, view: &View) -> Result<bool, StepError> {
        let mut news = false;
        debug!(cluster = %self.cluster, "looking past the watches");
        let (server, fleet, namespace) = (&self.ground.server, &self.ground.fleet, self.namespace());
        for watched in AWAITED {
            match watched {
                Watched::Written(Kind::Namespace) => {
                    let found = server.get(watched, "", &namespace).await?;
                    news |= fleet.see_all(self.cluster, watched, found.as_slice(), u64::MAX);
                }
                Watched::Volume => {
                    let mut found = Vec::new();
                    for volume in view.live.volumes() {
                        found.extend(server.get(watched, "", volume).await?);
                    }
                    news |= fleet.see_all(self.cluster, watched, &found, u64::MAX);
                }
                _ => {
                    let (found, version) = server.list(watched, &namespace).await?;
                    news |= fleet.see_all(self.cluster, watched, &found, version);
                }
            }
        }
        Ok(news)
    }
}
