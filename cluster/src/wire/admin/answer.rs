//! The SC's answers.

use super::Kind;
use super::objects::decoded;
use super::spec;
use crate::link::PartitionKey;
use crate::sc::Refusal;
use crate::sc::metadata::Standing;
use crate::sc::state::{Numbers, PartitionView, Resolution, SpuView, TopicView};
use crate::wire::schema::metadata::message::Message;
use crate::wire::schema::metadata::mirror::MirrorSpec;
use crate::wire::schema::metadata::mirroring::MirroringStatusResponse;
use crate::wire::schema::metadata::partition::{
    PartitionResolution, PartitionSpec, PartitionStatus, ReplicaStatus,
};
use crate::wire::schema::metadata::smartmodule::SmartModuleSpec;
use crate::wire::schema::metadata::spg::SpuGroupSpec;
use crate::wire::schema::metadata::spu::{
    CustomSpuSpec, EncryptionEnum, Endpoint, IngressAddr, IngressPort, SpuSpec, SpuStatus,
    SpuStatusResolution, SpuType,
};
use crate::wire::schema::metadata::tableformat::TableFormatSpec;
use crate::wire::schema::metadata::topic::{TopicResolution, TopicSpec, TopicStatus};
use crate::wire::schema::sc::objects::{
    ListResponse, Metadata, MetadataUpdate, ObjectApiListResponse, ObjectApiWatchResponse, WatchResponse,
};
use crate::wire::schema::sc::{AdminSpec, Status, TryEncodableFrom};
use crate::wire::schema::{Decoder, Encoder};
use crate::wire::{EncodeError, ErrorCode, Frame, Header, response};

/// Clients before this version cannot decode `OutOfStorage`.
const KNOWS_OUT_OF_STORAGE: i16 = 19;

/// A name that no object has, for the deletion that fills an otherwise empty update. It is also a valid
/// partition key.
pub(super) const NOBODY: &str = "none-0";

/// News for a watch stream: everything, or what changed since the last news.
#[derive(Debug)]
pub struct Change<'a, K, V> {
    /// Grows with each.
    pub epoch: i64,
    /// `updated` is everything.
    pub whole: bool,
    /// New and altered objects.
    pub updated: Vec<(&'a K, &'a V)>,
    /// Objects that went.
    pub deleted: Vec<(&'a K, &'a V)>,
}

/// Done.
pub fn status_ok(header: &Header, name: String) -> Result<Frame, EncodeError> {
    response(header, &Status::new_ok(name))
}

/// Not done, with upstream's code and a text.
pub fn status_refused(header: &Header, name: String, refusal: &Refusal) -> Result<Frame, EncodeError> {
    response(header, &Status::new(name, code(refusal), Some(refusal.to_string())))
}

/// Mirrors are not served.
pub fn mirroring_refused(header: &Header) -> Result<Frame, EncodeError> {
    let message = "mirroring is not available on this cluster".to_owned();
    let body = MirroringStatusResponse {
        error_code: ErrorCode::Other(message.clone()),
        error_message: Some(message),
        ..Default::default()
    };
    response(header, &body)
}

fn code(refusal: &Refusal) -> ErrorCode {
    let topic = || "topic".to_owned();
    match refusal {
        Refusal::Denied(_) => ErrorCode::PermissionDenied,
        Refusal::InvalidName(_) => ErrorCode::TopicInvalidName,
        Refusal::AlreadyExists(_) => ErrorCode::TopicAlreadyExists,
        Refusal::NotFound(_) => ErrorCode::TopicNotFound,
        Refusal::InvalidConfiguration(_) => ErrorCode::TopicInvalidConfiguration,
        Refusal::Topic(_) => ErrorCode::TopicError,
        Refusal::TableFormatExists(_) => ErrorCode::TableFormatAlreadyExists,
        Refusal::TableFormatNotFound(_) => ErrorCode::TableFormatNotFound,
        Refusal::SmartModuleNotFound(name) => ErrorCode::SmartModuleNotFound { name: name.clone() },
        Refusal::SmartModuleInvalid { name, error } => {
            ErrorCode::SmartModuleInvalid { error: error.clone(), name: Some(name.clone()) }
        }
        Refusal::SpuExists(_) => ErrorCode::SpuAlreadyExists,
        Refusal::SpuNotFound(_) => ErrorCode::SpuNotFound,
        Refusal::OwnSpu(_) => ErrorCode::SpuError,
        Refusal::DeduplicationModule => ErrorCode::DeduplicationSmartModuleNotLoaded,
        Refusal::NotProvisioned(_) => ErrorCode::TopicNotProvisioned,
        Refusal::SystemDeletion(name) => {
            ErrorCode::SystemSpecDeletionAttempt { kind: topic(), name: name.clone() }
        }
        Refusal::SystemUpdate(name) => {
            ErrorCode::SystemSpecUpdatingAttempt { kind: topic(), name: name.clone() }
        }
        Refusal::ReplicaType(_) => ErrorCode::TopicInvalidReplicaType,
        Refusal::Unsupported(message) | Refusal::Later(message) | Refusal::Object(message) => {
            ErrorCode::Other(message.clone())
        }
    }
}

/// A list of topics.
pub fn list_topics(header: &Header, topics: &[(&String, &TopicView)]) -> Result<Frame, EncodeError> {
    list(header, topics.iter().map(|(name, view)| topic(name, view)).collect())
}

/// A list of partitions.
pub fn list_partitions(
    header: &Header,
    partitions: &[(&PartitionKey, &PartitionView)],
) -> Result<Frame, EncodeError> {
    list(header, partitions.iter().map(|(key, view)| partition(key, view, header.version)).collect())
}

/// A list of SPUs.
pub fn list_spus(header: &Header, spus: &[(&String, &SpuView)]) -> Result<Frame, EncodeError> {
    list(header, spus.iter().map(|(name, view)| spu(name, view)).collect())
}

/// A list of a type of which the cluster has none.
pub fn empty_list(header: &Header, kind: Kind) -> Result<Frame, EncodeError> {
    match kind {
        Kind::Topic => list::<TopicSpec>(header, Vec::new()),
        Kind::Partition => list::<PartitionSpec>(header, Vec::new()),
        Kind::Spu => list::<SpuSpec>(header, Vec::new()),
        Kind::CustomSpu => list::<CustomSpuSpec>(header, Vec::new()),
        Kind::SpuGroup => list::<SpuGroupSpec>(header, Vec::new()),
        Kind::SmartModule => list::<SmartModuleSpec>(header, Vec::new()),
        Kind::TableFormat => list::<TableFormatSpec>(header, Vec::new()),
        Kind::Mirror => list::<MirrorSpec>(header, Vec::new()),
    }
}

/// News of topics.
pub fn update_topics(header: &Header, change: &Change<'_, String, TopicView>) -> Result<Frame, EncodeError> {
    update(header, change, |name, view| topic(name, view))
}

/// News of partitions.
pub fn update_partitions(
    header: &Header,
    change: &Change<'_, PartitionKey, PartitionView>,
) -> Result<Frame, EncodeError> {
    update(header, change, |key, view| partition(key, view, header.version))
}

/// News of SPUs.
pub fn update_spus(header: &Header, change: &Change<'_, String, SpuView>) -> Result<Frame, EncodeError> {
    update(header, change, |name, view| spu(name, view))
}

/// The one piece of news of a type of which the cluster has none.
pub fn empty_update(header: &Header, kind: Kind) -> Result<Frame, EncodeError> {
    match kind {
        Kind::Topic => nothing::<TopicSpec>(header),
        Kind::Partition => nothing::<PartitionSpec>(header),
        Kind::Spu => nothing::<SpuSpec>(header),
        Kind::CustomSpu => nothing::<CustomSpuSpec>(header),
        Kind::SpuGroup => nothing::<SpuGroupSpec>(header),
        Kind::SmartModule => nothing::<SmartModuleSpec>(header),
        Kind::TableFormat => nothing::<TableFormatSpec>(header),
        Kind::Mirror => nothing::<MirrorSpec>(header),
    }
}

pub(super) fn list<S>(header: &Header, objects: Vec<Metadata<S>>) -> Result<Frame, EncodeError>
where
    S: AdminSpec + Default,
    S::Status: Encoder + Decoder + std::fmt::Debug + Default,
{
    let body = ObjectApiListResponse::try_encode_from(ListResponse::new(objects), header.version)
        .map_err(|error| EncodeError(error.to_string()))?;
    response(header, &body)
}

pub(super) fn update<K, V, S>(
    header: &Header,
    change: &Change<'_, K, V>,
    object: impl Fn(&K, &V) -> Metadata<S>,
) -> Result<Frame, EncodeError>
where
    S: AdminSpec + Default,
    S::Status: Encoder + Decoder + std::fmt::Debug + Default,
{
    let objects = change.updated.iter().map(|(key, view)| object(key, view));
    let deleted = change.deleted.iter().map(|(key, view)| Message::delete(object(key, view)));
    let news = if change.whole {
        MetadataUpdate { epoch: change.epoch, all: objects.collect(), changes: deleted.collect() }
    } else {
        let changes = objects.map(Message::update).chain(deleted).collect();
        MetadataUpdate { epoch: change.epoch, all: Vec::new(), changes }
    };
    send_news(header, news)
}

fn nothing<S>(header: &Header) -> Result<Frame, EncodeError>
where
    S: AdminSpec + Default,
    S::Status: Encoder + Decoder + std::fmt::Debug + Default,
{
    send_news::<S>(header, MetadataUpdate { epoch: 0, all: Vec::new(), changes: Vec::new() })
}

fn send_news<S>(header: &Header, mut news: MetadataUpdate<S>) -> Result<Frame, EncodeError>
where
    S: AdminSpec + Default,
    S::Status: Encoder + Decoder + std::fmt::Debug + Default,
{
    // The client takes no notice of an update without any object and would wait for its first one for ever.
    if news.all.is_empty() && news.changes.is_empty() {
        let nobody = Metadata { name: NOBODY.into(), spec: S::default(), status: S::Status::default() };
        news.changes.push(Message::delete(nobody));
    }
    let body = ObjectApiWatchResponse::try_encode_from(WatchResponse::new(news), header.version)
        .map_err(|error| EncodeError(error.to_string()))?;
    response(header, &body)
}

fn topic(name: &str, view: &TopicView) -> Metadata<TopicSpec> {
    let (resolution, reason) = match &view.topic.standing {
        Standing::Provisioned => (TopicResolution::Provisioned, String::new()),
        Standing::Waiting(reason) => (TopicResolution::InsufficientResources, reason.clone()),
        Standing::Invalid(reason) => (TopicResolution::InvalidConfig, reason.clone()),
    };
    let placed = view.topic.partitions.iter();
    let mut status = TopicStatus::new(resolution, Vec::new(), reason);
    status.set_replica_map(placed.map(|(index, placed)| (*index, placed.replicas.clone())).collect());
    Metadata { name: name.into(), spec: spec::to_wire(&view.topic.spec), status }
}

fn partition(key: &PartitionKey, view: &PartitionView, version: i16) -> Metadata<PartitionSpec> {
    let mut wire = PartitionSpec::new(view.leader, view.replicas.clone());
    wire.cleanup_policy = spec::cleanup_policy(&view.options);
    wire.storage = spec::storage(&view.options);
    wire.compression_type = spec::compression_to_wire(view.options.compression);
    wire.system = view.options.system;
    let resolution = match view.resolution {
        Resolution::Online => PartitionResolution::Online,
        Resolution::Offline => PartitionResolution::Offline,
        Resolution::LeaderOffline => PartitionResolution::LeaderOffline,
        Resolution::OutOfStorage if version >= KNOWS_OUT_OF_STORAGE => PartitionResolution::OutOfStorage,
        // Older clients know no word for it, and it can be read.
        Resolution::OutOfStorage => PartitionResolution::Online,
    };
    let numbers = view.numbers;
    let leader = ReplicaStatus::new(view.leader, numbers.high_watermark, numbers.log_end);
    let follower =
        |(spu, numbers): &(i32, Numbers)| ReplicaStatus::new(*spu, numbers.high_watermark, numbers.log_end);
    let followers = view.followers.iter().map(follower).collect();
    let mut status = PartitionStatus::new2(leader, followers, numbers.size, resolution, numbers.base_offset);
    let n_in_sync = u32::try_from(view.n_in_sync).unwrap_or(u32::MAX);
    status.lsr = if view.resolution.serves() { n_in_sync } else { 0 };
    Metadata { name: key.to_string(), spec: wire, status }
}

fn spu(name: &str, view: &SpuView) -> Metadata<SpuSpec> {
    let resolution = if view.online { SpuStatusResolution::Online } else { SpuStatusResolution::Offline };
    let status = SpuStatus { resolution };
    if let Some(custom) = &view.custom {
        let spec: CustomSpuSpec = decoded(&custom.spec);
        return Metadata { name: name.into(), spec: spec.into(), status };
    }
    let endpoint = &view.endpoint;
    let encryption = if view.tls { EncryptionEnum::SSL } else { EncryptionEnum::PLAINTEXT };
    let spec = SpuSpec {
        id: view.id,
        spu_type: SpuType::Managed,
        public_endpoint: IngressPort {
            port: endpoint.port,
            ingress: vec![IngressAddr { hostname: Some(endpoint.host.clone()), ip: None }],
            encryption,
        },
        // SPUs talk to each other on links of their own that no client can reach.
        private_endpoint: Endpoint { port: 0, host: String::new(), encryption: EncryptionEnum::SSL },
        rack: view.rack.clone(),
        public_endpoint_local: None,
    };
    Metadata { name: name.into(), spec, status }
}
