//! Which SPU takes a partition's records, as the SC says it now, and the way there.
//!
//! The client's own watch of this is never opened again once its connection broke; asking anew after each error is what
//! lets a long run outlive a restart of the cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use fluvio::FluvioClusterConfig;
use fluvio::metadata::objects::ListRequest;
use fluvio::metadata::partition::{PartitionResolution, PartitionSpec};
use fluvio::metadata::spu::SpuSpec;
use fluvio::metadata::topic::{CompressionAlgorithm, TopicSpec};
use fluvio_socket::{ClientConfig, MultiplexerSocket, VersionedSerialSocket};
use tokio::time::timeout;

use crate::failure::{Failure, OrFail};
use crate::streams::target::{answer, causes, connect_admin};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A topic and the SPUs behind it.
#[derive(Debug, Default)]
pub struct Routes {
    /// How the topic wants its records compressed.
    pub compression: CompressionAlgorithm,
    /// How many partitions it has.
    pub partitions: u32,
    leaders: BTreeMap<u32, Leader>,
    spus: BTreeMap<i32, Spu>,
}

#[derive(Debug)]
struct Leader {
    spu: i32,
    online: bool,
    /// High-water mark as the SC heard it last.
    end: i64,
}

#[derive(Debug)]
struct Spu {
    name: String,
    address: String,
}

impl Routes {
    /// Asks the SC.
    pub async fn find(config: &FluvioClusterConfig, topic: &str) -> Result<Self, Failure> {
        let admin = connect_admin(config).await?;
        let (mut topics, mut partitions) = (Vec::new(), Vec::new());
        // The cluster's own topics are listed apart.
        for system in [false, true] {
            let request = ListRequest::<TopicSpec>::new(topic, false).system(system);
            let listing = admin.list_with_config::<TopicSpec, String>(request);
            topics.extend(answer("the topic cannot be looked up", listing).await?);
            let request = ListRequest::<PartitionSpec>::new(topic, false).system(system);
            let listing = admin.list_with_config::<PartitionSpec, String>(request);
            partitions.extend(answer("the partitions cannot be looked up", listing).await?);
        }
        let found = topics.into_iter().find(|found| found.name == topic).ok_or_else(|| {
            Failure::failed(format!("there is no topic named `{topic}`"))
                .with_fix(format!("fluvio topic list, or fluvio topic create {topic}"))
        })?;
        let spus = answer("the SPUs cannot be looked up", admin.all::<SpuSpec>()).await?;
        let leaders = partitions.into_iter().filter_map(|partition| {
            let (name, number) = partition.name.rsplit_once('-')?;
            let leader = Leader {
                spu: partition.spec.leader,
                online: partition.status.resolution == PartitionResolution::Online,
                end: partition.status.leader.hw,
            };
            (name == topic).then_some((number.parse().ok()?, leader))
        });
        let local = config.use_spu_local_address;
        let spus = spus.into_iter().map(|spu| {
            let address = match spu.spec.public_endpoint_local.filter(|_| local) {
                Some(endpoint) => format!("{}:{}", endpoint.host, endpoint.port),
                None => spu.spec.public_endpoint.addr(),
            };
            (spu.spec.id, Spu { name: spu.name, address })
        });
        Ok(Self {
            compression: found.spec.get_compression_type().clone(),
            partitions: found.spec.partitions(),
            leaders: leaders.collect(),
            spus: spus.collect(),
        })
    }

    /// Partitions that take records now.
    pub fn online(&self) -> Vec<u32> {
        self.leaders.iter().filter(|(_, leader)| leader.online).map(|(number, _)| *number).collect()
    }

    /// Where each partition ended at least, when this was asked.
    pub fn ends(&self) -> BTreeMap<u32, i64> {
        self.leaders.iter().map(|(number, leader)| (*number, leader.end.max(0))).collect()
    }

    /// The SPU that takes a partition's records, if the SC named one that exists.
    pub fn leader(&self, partition: u32) -> Option<i32> {
        self.leaders.get(&partition).map(|leader| leader.spu).filter(|spu| self.spus.contains_key(spu))
    }

    /// Connects to an SPU as the published client does: its own name below the cluster's TLS name.
    pub async fn connect(
        &self,
        config: &FluvioClusterConfig,
        spu: i32,
    ) -> Result<VersionedSerialSocket, Failure> {
        let spu =
            self.spus.get(&spu).ok_or_else(|| Failure::failed(format!("the SPU {spu} is not known")))?;
        let connector = config.tls.clone().try_into().or_fail("the profile's TLS settings cannot be used")?;
        let mut client = ClientConfig::new(&config.endpoint, connector, config.use_spu_local_address);
        if let Some(id) = &config.client_id {
            client.set_client_id(id.clone());
        }
        let mut client = client.with_prefix_sni_domain(&spu.name);
        client.set_addr(spu.address.clone());
        let doing = format!("SPU {} at {} cannot be reached", spu.name, spu.address);
        let connected = timeout(CONNECT_TIMEOUT, client.connect()).await.or_fail(&doing)?;
        let connected = connected.map_err(causes).or_fail(&doing)?;
        let (socket, config, versions) = connected.split();
        Ok(VersionedSerialSocket::new(MultiplexerSocket::shared(socket), config, versions))
    }
}
