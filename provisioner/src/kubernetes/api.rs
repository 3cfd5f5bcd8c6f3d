//! The API server, as the provisioner uses it: few verbs, each counted and each with an end, and errors by what
//! the caller does about them.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{
    ApiResource, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::{Api, Client, Config};
use serde_json::Value;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::live::Watched;
use super::metrics::{Counters, Verb};
use super::names::{FIELD_MANAGER, MANAGED_BY, MANAGER};
use super::objects::Kind;
use crate::config::KubernetesConfig;

/// What one request may take. Watches have no end of their own.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Why a request did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No answer, or an answer that says "later".
    #[error("the API server is away: {0}")]
    Away(String),
    /// Not allowed; shortly after a namespace was made, not allowed yet.
    #[error("the API server does not allow it: {0}")]
    Forbidden(String),
    /// The object changed in between.
    #[error("the object changed in between: {0}")]
    Conflict(String),
    /// A field that cannot be changed would have to.
    #[error("the API server does not take it: {0}")]
    Invalid(String),
    /// It is not there (any more).
    #[error("not there: {0}")]
    Absent(String),
    /// Anything else.
    #[error("the API server: {0}")]
    Other(String),
}

impl From<kube::Error> for ApiError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => {
                let text = format!("{} ({})", status.message, status.reason);
                match status.code {
                    404 => Self::Absent(text),
                    403 => Self::Forbidden(text),
                    409 => Self::Conflict(text),
                    422 => Self::Invalid(text),
                    408 | 429 | 500..=599 => Self::Away(text),
                    _ => Self::Other(text),
                }
            }
            kube::Error::HyperError(_) | kube::Error::Service(_) | kube::Error::ReadEvents(_) => {
                Self::Away(chain(&error))
            }
            other => Self::Other(chain(&other)),
        }
    }
}

/// An error with its sources, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(Some(error), |error| error.source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The API server.
#[derive(Clone)]
pub struct Server {
    client: Client,
    counters: Arc<Counters>,
    /// Requests at the same time, watches not counted.
    places: Arc<Semaphore>,
}

impl Server {
    /// Prepares to talk to it; nothing is sent yet.
    pub async fn new(config: &KubernetesConfig, counters: Arc<Counters>) -> anyhow::Result<Self> {
        let mut access = match &config.kubeconfig_file {
            Some(file) => {
                let file = Kubeconfig::read_from(file)?;
                Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?
            }
            None => Config::incluster()?,
        };
        access.connect_timeout = Some(Duration::from_secs(5));
        let places = Arc::new(Semaphore::new(config.workers));
        Ok(Self { client: Client::try_from(access)?, counters, places })
    }

    /// For watches.
    pub fn everywhere(&self, watched: Watched) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &resource(watched))
    }

    fn within(&self, watched: Watched, namespace: &str) -> Api<DynamicObject> {
        match watched {
            Watched::Written(Kind::Namespace) | Watched::Volume => self.everywhere(watched),
            _ => Api::namespaced_with(self.client.clone(), namespace, &resource(watched)),
        }
    }

    fn secrets(&self, namespace: &str) -> Api<Secret> {
        Api::namespaced(self.client.clone(), namespace)
    }

    async fn counted<T>(
        &self,
        verb: Verb,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, ApiError> {
        let _place = self.places.acquire().await.map_err(|closed| ApiError::Away(closed.to_string()))?;
        self.counters.call(verb);
        let answer = tokio::time::timeout(TIMEOUT, request).await;
        answer.map_err(|_| ApiError::Away(format!("nothing within {TIMEOUT:?}")))?.map_err(ApiError::from)
    }

    /// Sets our fields of an object, making the object if there is none.
    pub async fn apply(
        &self,
        kind: Kind,
        namespace: &str,
        wanted: &Value,
    ) -> Result<DynamicObject, ApiError> {
        let name = wanted["metadata"]["name"].as_str().unwrap_or_default();
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let api = self.within(Watched::Written(kind), namespace);
        self.counted(Verb::Patch, api.patch(name, &parameters, &Patch::Apply(wanted))).await
    }

    /// Writes an object whole over the version that was seen.
    pub async fn replace(
        &self,
        kind: Kind,
        namespace: &str,
        object: &DynamicObject,
    ) -> Result<DynamicObject, ApiError> {
        let name = object.metadata.name.clone().unwrap_or_default();
        let parameters = PostParams { dry_run: false, field_manager: Some(FIELD_MANAGER.into()) };
        let api = self.within(Watched::Written(kind), namespace);
        self.counted(Verb::Update, api.replace(&name, &parameters, object)).await
    }

    /// Reads an object, from the store itself and not from a cache.
    pub async fn get(
        &self,
        watched: Watched,
        namespace: &str,
        name: &str,
    ) -> Result<Option<DynamicObject>, ApiError> {
        let api = self.within(watched, namespace);
        self.counted(Verb::Get, api.get_opt(name)).await
    }

    /// Reads a cluster's objects of one kind, and the version of the store at which they were so.
    pub async fn list(
        &self,
        watched: Watched,
        namespace: &str,
    ) -> Result<(Vec<DynamicObject>, u64), ApiError> {
        let ours = ListParams::default().labels(&format!("{MANAGED_BY}={MANAGER}"));
        let api = self.within(watched, namespace);
        let list = self.counted(Verb::List, api.list(&ours)).await?;
        let version = list.metadata.resource_version.and_then(|version| version.parse().ok());
        Ok((list.items, version.unwrap_or(0)))
    }

    /// Deletes exactly the object that was seen; one that is gone already is as well.
    pub async fn delete(
        &self,
        watched: Watched,
        namespace: &str,
        name: &str,
        uid: Uuid,
        policy: PropagationPolicy,
    ) -> Result<(), ApiError> {
        let parameters = DeleteParams {
            propagation_policy: Some(policy),
            preconditions: Some(Preconditions { uid: Some(uid.to_string()), resource_version: None }),
            ..DeleteParams::default()
        };
        let api = self.within(watched, namespace);
        match self.counted(Verb::Delete, api.delete(name, &parameters)).await {
            Ok(_) | Err(ApiError::Absent(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sets or removes one annotation of a namespace.
    pub async fn annotate(&self, namespace: &str, key: &str, value: Option<&str>) -> Result<(), ApiError> {
        let patch = serde_json::json!({ "metadata": { "annotations": { key: value } } });
        let api = self.everywhere(Watched::Written(Kind::Namespace));
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
        let patched = api.patch_metadata(namespace, &parameters, &patch);
        self.counted(Verb::Patch, patched).await.map(drop)
    }

    /// Stops all pods of a StatefulSet.
    pub async fn stop(&self, namespace: &str, set: &str) -> Result<(), ApiError> {
        let patch = serde_json::json!({ "spec": { "replicas": 0 } });
        let api = self.within(Watched::Written(Kind::StatefulSet), namespace);
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
        let patched = api.patch(set, &parameters, &patch);
        self.counted(Verb::Patch, patched).await.map(drop)
    }

    /// The cluster's Secrets without their content.
    pub async fn list_secrets(&self, namespace: &str) -> Result<Vec<PartialObjectMeta<Secret>>, ApiError> {
        let ours = ListParams::default().labels(&format!("{MANAGED_BY}={MANAGER}"));
        let api = self.secrets(namespace);
        Ok(self.counted(Verb::List, api.list_metadata(&ours)).await?.items)
    }

    /// A Secret with its content.
    pub async fn get_secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>, ApiError> {
        let api = self.secrets(namespace);
        self.counted(Verb::Get, api.get_opt(name)).await
    }

    /// Makes a Secret; one of that name has that content already.
    pub async fn create_secret(&self, namespace: &str, secret: &Secret) -> Result<(), ApiError> {
        let parameters = PostParams { dry_run: false, field_manager: Some(FIELD_MANAGER.into()) };
        let api = self.secrets(namespace);
        match self.counted(Verb::Create, api.create(&parameters, secret)).await {
            Ok(_) | Err(ApiError::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Deletes a Secret. Its name says its content, so no precondition is needed.
    pub async fn delete_secret(&self, namespace: &str, name: &str) -> Result<(), ApiError> {
        let api = self.secrets(namespace);
        match self.counted(Verb::Delete, api.delete(name, &DeleteParams::default())).await {
            Ok(_) | Err(ApiError::Absent(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Where a kind is found.
pub fn resource(watched: Watched) -> ApiResource {
    let (group, kind, plural) = match watched {
        Watched::Written(Kind::Namespace) => ("", "Namespace", "namespaces"),
        Watched::Written(Kind::RoleBinding) => ("rbac.authorization.k8s.io", "RoleBinding", "rolebindings"),
        Watched::Written(Kind::ResourceQuota) => ("", "ResourceQuota", "resourcequotas"),
        Watched::Written(Kind::LimitRange) => ("", "LimitRange", "limitranges"),
        Watched::Written(Kind::NetworkPolicy) => ("networking.k8s.io", "NetworkPolicy", "networkpolicies"),
        Watched::Written(Kind::ServiceAccount) => ("", "ServiceAccount", "serviceaccounts"),
        Watched::Written(Kind::ConfigMap) => ("", "ConfigMap", "configmaps"),
        Watched::Written(Kind::Service) => ("", "Service", "services"),
        Watched::Written(Kind::DisruptionBudget) => ("policy", "PodDisruptionBudget", "poddisruptionbudgets"),
        Watched::Written(Kind::StatefulSet) => ("apps", "StatefulSet", "statefulsets"),
        Watched::Pod => ("", "Pod", "pods"),
        Watched::Claim => ("", "PersistentVolumeClaim", "persistentvolumeclaims"),
        Watched::Volume => ("", "PersistentVolume", "persistentvolumes"),
    };
    ApiResource {
        group: group.into(),
        version: "v1".into(),
        api_version: if group.is_empty() { "v1".into() } else { format!("{group}/v1") },
        kind: kind.into(),
        plural: plural.into(),
    }
}
