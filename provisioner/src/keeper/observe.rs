//! What is: the reading half of a keeper.

use time::OffsetDateTime;

use super::{Held, Keeper};
use crate::control::Control;
use crate::identity;
use crate::plan::{Identity, Observed};
use crate::settings::{self, ServerIdentity};
use crate::step::StepError;
use crate::store::{self, Answer, Wanted};

impl Keeper {
    /// Looks at everything outside this program.
    pub(super) async fn look(&mut self, wanted: &Wanted) -> Result<(), StepError> {
        self.supervision.borrow_and_update();
        self.health = None;
        if wanted.rests() {
            // What it takes when it is resumed is not what it took before.
            self.pushed = None;
            return Ok(());
        }
        // The health first: it does not need the database, and tells most.
        self.look_at_health(wanted).await;
        if self.record.asked.is_some() {
            self.look_for_answer().await?;
        }
        if self.held.is_none() {
            self.load_identity().await?;
        }
        Ok(())
    }

    async fn look_at_health(&mut self, wanted: &Wanted) {
        let Some(pid) = self.observed(wanted).sc() else { return };
        let socket = self.place.socket("control");
        // No answer is no health; what to do about it is the same in each case.
        self.health = Control::Socket { path: &socket, pid }.health().await.ok();
        let lost = |settings: u64| self.health.as_ref().is_some_and(|health| health.generation < settings);
        if self.pushed.is_some_and(|(_, settings, _)| lost(settings)) {
            self.pushed = None;
        }
    }

    /// The certificate that the record names: after a start, and after each change.
    async fn load_identity(&mut self) -> Result<(), StepError> {
        let Some(request) = self.record.identity else { return Ok(()) };
        let answer = store::answer(&self.ground.pool, request).await?;
        match (answer, self.shelf.key(request)) {
            (Answer::Issued { certificate, not_after }, Some(key_pem)) => {
                let certificate_pem = settings::pem("CERTIFICATE", &certificate);
                self.held =
                    Some(Held { request, identity: ServerIdentity { key_pem, certificate_pem }, not_after });
            }
            // Key or certificate are lost; there will be a new pair.
            _ => self.change_record(|record| record.identity = None)?,
        }
        Ok(())
    }

    async fn look_for_answer(&mut self) -> Result<(), StepError> {
        let Some(request) = self.record.asked else { return Ok(()) };
        match store::answer(&self.ground.pool, request).await? {
            Answer::Pending => Ok(()),
            Answer::Issued { .. } => {
                let before = self.record.identity;
                self.change_record(|record| {
                    record.asked = None;
                    record.identity = Some(request);
                    // A new certificate is a change of the settings without a change of what is wanted.
                    record.offset += u64::from(before.is_some());
                })?;
                self.held = None;
                before.into_iter().for_each(|old| self.shelf.drop_key(old));
                Ok(())
            }
            answer => {
                self.change_record(|record| record.asked = None)?;
                self.shelf.drop_key(request);
                match answer {
                    Answer::Refused(error) => {
                        Err(StepError::Wrong { reason: "Its certificates were refused", error })
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    /// The facts on which the plan is made, as far as they are known.
    pub(super) fn observed(&self, wanted: &Wanted) -> Observed {
        let spus = wanted.spus.max(self.record.spus);
        let identity = match (&self.held, self.record.identity, self.record.asked) {
            (None, None, None) => Identity::None,
            (None, None, Some(_)) => Identity::Asked,
            (_, Some(_), Some(_)) => Identity::Renewing,
            (Some(held), ..)
                if identity::is_old(held.not_after, self.lifetime(), OffsetDateTime::now_utc()) =>
            {
                Identity::Old
            }
            _ => Identity::Held,
        };
        let in_use = self.held.as_ref().map(|held| held.request);
        Observed {
            spus,
            prepared: self.prepared_for == Some(spus),
            processes: self.supervision.borrow().clone(),
            identity,
            in_force: self.pushed.filter(|(.., request)| in_use == Some(*request)).map(|(wanted, ..)| wanted),
            health: self.health.clone(),
            backends: self.backends.clone(),
            sockets: settings::backends(&self.place, spus),
            proven: self.proven,
        }
    }
}
