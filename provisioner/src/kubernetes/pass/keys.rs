//! Keys and certificates. A new key rests in a Secret of the tenant's namespace before its certificate is asked
//! for, and nowhere else.

use futures_util::future::try_join_all;
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;
use tracing::info;
use uuid::Uuid;

use super::Pass;
use crate::identity;
use crate::kubernetes::fleet::View;
use crate::kubernetes::mind::{Held, Keys, Request};
use crate::kubernetes::objects::secrets::{self, Asked, Identity, NOT_AFTER, REQUEST, USE, Use};
use crate::settings::pem;
use crate::step::StepError;
use crate::store::{self, Answer};

impl Pass<'_> {
    /// Looks at the names of the cluster's Secrets: after taking it up, and then rarely.
    pub(super) async fn look_at_secrets(&mut self, view: &View) -> Result<(), StepError> {
        let every = self.ground.fleet.site().config.secrets_seconds;
        if self.mind.keys.looked.is_some_and(|looked| looked.elapsed().as_secs() < every) {
            return Ok(());
        }
        let found = self.ground.server.list_secrets(&self.namespace()).await?;
        let mut keys = Keys::default();
        keys.looked = Some(Instant::now());
        for secret in &found {
            take_in(&mut keys, secret);
        }
        let before = std::mem::take(&mut self.mind.keys);
        if keys.secret(Use::Control) == before.secret(Use::Control) {
            keys.control = before.control;
        }
        if let Some((known, old)) =
            keys.request.as_mut().zip(before.request).filter(|(a, b)| a.secret == b.secret)
        {
            (known.keys, known.answered) = (old.keys, old.answered);
        }
        self.mind.keys = keys;
        self.decide_internal(view);
        if let Some(request) = &self.mind.keys.request {
            self.ground.fleet.await_answers(self.cluster, request.asked.iter().map(|(_, id)| *id));
        }
        Ok(())
    }

    /// The pods mount the newest identity. While a cluster rests and has none, what they mounted before is kept:
    /// nothing starts with it.
    fn decide_internal(&self, view: &View) {
        let newest = self.mind.keys.secret(Use::Internal).cloned();
        let mounted = || view.live.set("sc").and_then(|set| set.internal.clone());
        let resting = !view.shape.runs;
        let decided = newest.or_else(|| if resting { mounted() } else { None });
        self.ground.fleet.decide_internal(self.cluster, decided);
    }

    /// Whether the signer has answered all that was asked.
    pub(super) async fn look_for_answers(&mut self) -> Result<(), StepError> {
        let Some(request) = &mut self.mind.keys.request else { return Ok(()) };
        if request.answered {
            return Ok(());
        }
        let ids: Vec<Uuid> = request.asked.iter().map(|(_, id)| *id).collect();
        let answers = store::answers(&self.ground.pool, &ids).await?;
        if answers.iter().any(|(_, answer)| *answer == Answer::Unknown) {
            // The Secret was written, the rows were not: a crash, or a database of an earlier day.
            return self.ask_again().await;
        }
        request.answered = answers.iter().all(|(_, answer)| *answer != Answer::Pending);
        Ok(())
    }

    /// Makes keys, keeps them, then asks for their certificates: in this order, so that no certificate is ever
    /// issued for a key that was lost.
    pub(super) async fn ask(&mut self, uses: &[Use], view: &View) -> Result<(), StepError> {
        let asked: Vec<Asked> = uses.iter().map(|purpose| new_key(*purpose)).collect::<Result<_, _>>()?;
        let secret = secrets::request(self.ground.fleet.site(), &view.shape, &asked);
        self.still_ours()?;
        self.ground.server.create_secret(&self.namespace(), &secret).await?;
        self.mind.keys.request = Some(Request {
            secret: secret.metadata.name.unwrap_or_default().into(),
            asked: asked.iter().map(|one| (one.purpose, one.request)).collect(),
            keys: Some(asked),
            answered: false,
        });
        self.ask_again().await
    }

    async fn ask_again(&mut self) -> Result<(), StepError> {
        let Some(keys) = self.requested_keys().await? else { return Ok(()) };
        let requests: Vec<_> = keys
            .iter()
            .map(|one| store::Request {
                id: one.request,
                kind: one.purpose.certificate_kind(),
                csr: &one.csr,
            })
            .collect();
        self.ground.fleet.await_answers(self.cluster, requests.iter().map(|request| request.id));
        let lifetime = self.ground.config.server_certificate_seconds;
        Ok(store::ask(&self.ground.pool, self.cluster, &requests, lifetime).await?)
    }

    /// The keys whose certificates are asked for, from their Secret if they are not at hand.
    async fn requested_keys(&mut self) -> Result<Option<Vec<Asked>>, StepError> {
        let Some(request) = &self.mind.keys.request else { return Ok(None) };
        if let Some(keys) = &request.keys {
            return Ok(Some(keys.clone()));
        }
        let secret = self.ground.server.get_secret(&self.namespace(), &request.secret).await?;
        let data = secret.and_then(|secret| secret.data).unwrap_or_default();
        let read = |(purpose, id): &(Use, Uuid)| {
            let part = |suffix: &str| data.get(&format!("{}.{suffix}", purpose.as_str()));
            let key = String::from_utf8(part("key")?.0.clone()).ok()?;
            Some(Asked { purpose: *purpose, request: *id, key, csr: part("csr")?.0.clone() })
        };
        let keys: Option<Vec<Asked>> = request.asked.iter().map(read).collect();
        if keys.is_none() {
            // The Secret is gone or not what it was: there will be new keys.
            let lost = request.secret.clone();
            self.ground.server.delete_secret(&self.namespace(), &lost).await?;
            self.mind.keys.request = None;
        }
        Ok(keys)
    }

    /// Keeps the certificates that came, one Secret for each use; then the Secret with the new keys goes.
    pub(super) async fn collect(&mut self, view: &View) -> Result<(), StepError> {
        let Some(keys) = self.requested_keys().await? else { return Ok(()) };
        let ids: Vec<Uuid> = keys.iter().map(|one| one.request).collect();
        let answers = store::answers(&self.ground.pool, &ids).await?;
        let mut refusal = None;
        let mut made = Vec::new();
        for (one, (_, answer)) in keys.iter().zip(answers) {
            match answer {
                Answer::Issued { certificate, not_after } => {
                    let ca =
                        store::authority(&self.ground.pool, self.cluster, one.purpose.certificate_kind());
                    let Some(ca) = ca.await? else {
                        return Err(StepError::NotYet("the cluster has no CA yet".into()));
                    };
                    made.push((
                        one,
                        self.identity_secret(view, one, &certificate, &ca, not_after),
                        not_after,
                    ));
                }
                Answer::Refused(why) => refusal = Some(why),
                Answer::Unknown | Answer::Pending => {
                    if let Some(request) = &mut self.mind.keys.request {
                        request.answered = false;
                    }
                    return Ok(());
                }
            }
        }
        self.still_ours()?;
        let namespace = self.namespace();
        let (server, secrets) = (&self.ground.server, made.iter().map(|(_, secret, _)| secret));
        try_join_all(secrets.map(|secret| server.create_secret(&namespace, secret))).await?;
        for (one, secret, not_after) in made {
            let secret = secret.metadata.name.unwrap_or_default().into();
            self.mind.keys.hold(one.purpose, Held { secret, not_after });
        }
        if let Some(request) = self.mind.keys.request.take() {
            server.delete_secret(&namespace, &request.secret).await?;
        }
        self.decide_internal(view);
        info!(cluster = %self.cluster, "its certificates are there");
        match refusal {
            Some(error) => Err(StepError::Wrong { reason: "Its certificates were refused", error }),
            None => Ok(()),
        }
    }

    fn identity_secret(
        &self,
        view: &View,
        one: &Asked,
        certificate: &[u8],
        ca: &[u8],
        not_after: OffsetDateTime,
    ) -> Secret {
        let (certificate, ca) = (pem("CERTIFICATE", certificate), pem("CERTIFICATE", ca));
        let identity = Identity { certificate: &certificate, key: &one.key, ca: &ca };
        secrets::identity(self.ground.fleet.site(), &view.shape, one.purpose, &identity, not_after)
    }

    /// Deletes Secrets that nobody uses any more.
    pub(super) async fn forget(
        &mut self,
        outdated: Vec<(Use, std::sync::Arc<str>)>,
    ) -> Result<(), StepError> {
        for (purpose, secret) in outdated {
            self.still_ours()?;
            self.ground.server.delete_secret(&self.namespace(), &secret).await?;
            self.mind.keys.outdated.retain(|known| *known != (purpose, secret.clone()));
        }
        Ok(())
    }
}

fn new_key(purpose: Use) -> Result<Asked, StepError> {
    let new = identity::make().map_err(|error| StepError::NotYet(format!("no new key: {error}")))?;
    Ok(Asked { purpose, request: Uuid::new_v4(), key: new.key_pem, csr: new.csr_der })
}

/// Takes in a Secret by its labels and annotations; one that is not as we write it is not ours.
fn take_in(keys: &mut Keys, secret: &PartialObjectMeta<Secret>) {
    let metadata = &secret.metadata;
    let purpose = metadata.labels.as_ref().and_then(|labels| Use::parse(labels.get(USE)?));
    let (Some(purpose), Some(name)) = (purpose, metadata.name.as_deref()) else { return };
    if metadata.deletion_timestamp.is_some() {
        return;
    }
    let note = |key: &str| metadata.annotations.as_ref().and_then(|annotations| annotations.get(key));
    if purpose == Use::Request {
        let asked: Vec<(Use, Uuid)> = Use::IDENTITIES
            .into_iter()
            .filter_map(|one| Some((one, note(&format!("{REQUEST}{}", one.as_str()))?.parse().ok()?)))
            .collect();
        let another = Request { secret: name.into(), asked, keys: None, answered: false };
        if another.asked.is_empty() || keys.request.is_some() {
            keys.outdated.push((purpose, another.secret));
        } else {
            keys.request = Some(another);
        }
        return;
    }
    let end = note(NOT_AFTER).and_then(|end| OffsetDateTime::parse(end, &Rfc3339).ok());
    let not_after = end.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    keys.hold(purpose, Held { secret: name.into(), not_after });
}
