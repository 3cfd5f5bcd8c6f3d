//! Writing and deleting objects.

use futures_util::future::try_join_all;
use kube::api::PropagationPolicy;
use kube::core::DynamicObject;
use serde_json::Value;
use tracing::info;

use super::Pass;
use crate::kubernetes::api::ApiError;
use crate::kubernetes::fleet::View;
use crate::kubernetes::live::{Watched, covers_object};
use crate::kubernetes::names;
use crate::kubernetes::objects::{Kind, Ref, build};
use crate::step::StepError;
use crate::store;

impl Pass<'_> {
    /// Writes objects, all at once.
    pub(super) async fn apply_all(&self, objects: Vec<Ref>, view: &View) -> Result<(), StepError> {
        try_join_all(objects.iter().map(|object| self.apply_one(object, view))).await?;
        Ok(())
    }

    async fn apply_one(&self, object: &Ref, view: &View) -> Result<(), StepError> {
        let (site, server) = (self.ground.fleet.site(), &self.ground.server);
        let Some(wanted) = build(site, &view.shape, object) else { return Ok(()) };
        let (namespace, watched) = (self.namespace(), Watched::Written(object.kind));
        if view.live.uid(object).is_some() {
            // What the watch told may be older than the object, or of another time than what is wanted now:
            // where nothing differs, nothing is written.
            let fresh = server.get(watched, &namespace, &object.name).await?;
            if let Some(fresh) = &fresh {
                self.ground.fleet.see(watched, fresh);
            }
            if fresh.is_some_and(|fresh| covers_object(&wanted, &fresh)) {
                return Ok(());
            }
        }
        self.still_ours()?;
        let written = match server.apply(object.kind, &namespace, &wanted).await {
            Err(ApiError::Invalid(why)) => self.make_anew(object, &wanted, why).await?,
            answer => answer?,
        };
        if covers_object(&wanted, &written) || written.metadata.deletion_timestamp.is_some() {
            self.ground.fleet.see(watched, &written);
            return Ok(());
        }
        self.write_over(object.kind, &wanted, written).await
    }

    /// Somebody added to a list of ours what a merge does not take away: the object is written whole.
    async fn write_over(&self, kind: Kind, wanted: &Value, seen: DynamicObject) -> Result<(), StepError> {
        let name = seen.metadata.name.clone().unwrap_or_default();
        let mut whole: DynamicObject = serde_json::from_value(wanted.clone())
            .map_err(|error| StepError::NotYet(format!("{name}: {error}")))?;
        whole.metadata.resource_version = seen.metadata.resource_version;
        if kind == Kind::Service {
            // Given by the API server, and not to be given up.
            for field in ["clusterIP", "clusterIPs"] {
                whole.data["spec"][field] = seen.data["spec"][field].clone();
            }
        }
        self.still_ours()?;
        let written = self.ground.server.replace(kind, &self.namespace(), &whole).await?;
        let good = covers_object(wanted, &written);
        self.ground.fleet.see(Watched::Written(kind), &written);
        if good {
            return Ok(());
        }
        Err(StepError::Wrong {
            reason: "Something else changes its servers; the operator can see what",
            error: format!("{kind:?} {name} does not stay as it is written"),
        })
    }

    /// A field that cannot be changed is not as it is wanted: the object goes and comes again. Pods and volumes
    /// of a StatefulSet stay, and are taken over by the new one.
    async fn make_anew(&self, object: &Ref, wanted: &Value, why: String) -> Result<DynamicObject, StepError> {
        let (server, namespace, watched) =
            (&self.ground.server, self.namespace(), Watched::Written(object.kind));
        let refused = |error: String| StepError::Wrong {
            reason: "The region's machines do not take its servers; the operator can see why",
            error,
        };
        let replaceable =
            matches!(object.kind, Kind::RoleBinding | Kind::StatefulSet | Kind::DisruptionBudget);
        let fresh = server.get(watched, &namespace, &object.name).await?;
        let uid = fresh.and_then(|fresh| fresh.metadata.uid).and_then(|uid| uid.parse().ok());
        let Some(uid) = uid.filter(|_| replaceable) else { return Err(refused(why)) };
        self.still_ours()?;
        info!(cluster = %self.cluster, kind = ?object.kind, name = object.name, why, "making it anew");
        server.delete(watched, &namespace, &object.name, uid, PropagationPolicy::Orphan).await?;
        Ok(server.apply(object.kind, &namespace, wanted).await?)
    }

    /// Deletes objects that the cluster does not have any more, each exactly as it was seen.
    pub(super) async fn remove_all(&self, objects: Vec<Ref>, view: &View) -> Result<(), StepError> {
        for object in objects {
            let Some(uid) = view.live.uid(&object) else { continue };
            self.still_ours()?;
            let watched = Watched::Written(object.kind);
            let policy = PropagationPolicy::Background;
            self.ground.server.delete(watched, &self.namespace(), &object.name, uid, policy).await?;
            info!(cluster = %self.cluster, kind = ?object.kind, name = object.name, "removed");
            self.ground.fleet.lose_seen(self.cluster, watched, &object.name, uid);
        }
        Ok(())
    }

    /// Deletes the volumes of SPUs that are no more, after a fresh look at what could still need them.
    pub(super) async fn release(&self, claims: Vec<String>, view: &View) -> Result<(), StepError> {
        let (server, namespace) = (&self.ground.server, self.namespace());
        for claim in claims {
            let Some((_, uid, _)) = view.live.claims().find(|(name, ..)| *name == claim) else { continue };
            let Some(pod) = claim.strip_prefix("data-") else { continue };
            if server.get(Watched::Pod, &namespace, pod).await?.is_some() {
                return Err(StepError::NotYet(format!("pod {pod} still runs")));
            }
            let home = server.get(Watched::Written(Kind::Namespace), "", &namespace).await?;
            let given = home.and_then(|home| home.metadata.annotations?.get(names::SPUS)?.parse::<u8>().ok());
            if given != Some(view.shape.spus) {
                return Err(StepError::NotYet("the namespace names another number of SPUs".into()));
            }
            self.still_ours()?;
            server.delete(Watched::Claim, &namespace, &claim, uid, PropagationPolicy::Background).await?;
            info!(cluster = %self.cluster, claim, "removed the volume of an SPU that is no more");
            self.ground.fleet.lose_seen(self.cluster, Watched::Claim, &claim, uid);
        }
        Ok(())
    }

    /// Deletes the namespace that is this cluster's, if the time has come by the database's own clock.
    pub(super) async fn end_namespace(&self) -> Result<(), StepError> {
        store::confirm_purge(&self.ground.pool, self.lease, self.cluster).await?;
        let (server, name, watched) =
            (&self.ground.server, self.namespace(), Watched::Written(Kind::Namespace));
        let Some(fresh) = server.get(watched, "", &name).await? else {
            return Err(StepError::NotYet("the namespace is gone, and the watch has not told yet".into()));
        };
        self.ground.fleet.see(watched, &fresh);
        let uid = fresh.metadata.uid.as_deref().and_then(|uid| uid.parse().ok());
        let Some(uid) = uid.filter(|_| fresh.metadata.deletion_timestamp.is_none()) else { return Ok(()) };
        self.still_ours()?;
        server.delete(watched, "", &name, uid, PropagationPolicy::Background).await?;
        info!(cluster = %self.cluster, "removing its namespace");
        if let Some(ending) = server.get(watched, "", &name).await? {
            self.ground.fleet.see(watched, &ending);
        }
        Ok(())
    }

    /// Proves that nothing is left, then removes the row.
    pub(super) async fn purge(&self) -> Result<(), StepError> {
        store::confirm_purge(&self.ground.pool, self.lease, self.cluster).await?;
        let watched = Watched::Written(Kind::Namespace);
        if let Some(back) = self.ground.server.get(watched, "", &self.namespace()).await? {
            self.ground.fleet.see(watched, &back);
            return Err(StepError::NotYet("the namespace is still there".into()));
        }
        store::purge(&self.ground.pool, self.lease, self.cluster).await?;
        self.ground.fleet.remove(self.cluster);
        info!(cluster = %self.cluster, "removed for good");
        Err(StepError::Gone)
    }
}
