//! The engine itself: what an SPU takes, gives and bears when the client beside it costs little
//! ([`e2e::generator`]). Each figure is of acknowledgements after the fsync, and of mutual TLS where it does not say that
//! there is none.

pub mod acknowledged;
pub mod bulk;
pub mod consumers;
pub mod spus;

use e2e::cloud::Cloud;
use e2e::node::{Node, Owner};
use e2e::tenant::Tenant;
use e2e::wait::within;
use fluvio::metadata::topic::TopicSpec;
use fluvio::{FluvioAdmin, FluvioClusterConfig};

use crate::processor::Watched;
use e2e::generator::link::Spu;
use e2e::stream::{STEP_WITHIN, create_copied_topic};

/// A cluster of one process that clients meet straight, as if there were no gateway.
pub struct Straight {
    pub node: Node,
    _data: tempfile::TempDir,
}

impl Straight {
    pub async fn start(owner: &Owner) -> anyhow::Result<Straight> {
        let data = tempfile::Builder::new().prefix("fb").tempdir_in("/tmp")?;
        let node = Node::start(owner, data.path(), 1, "disk").await?;
        Ok(Straight { node, _data: data })
    }
}

/// A way to a cluster: to whom it goes, and who works on the way.
pub struct Way {
    pub name: &'static str,
    profile: FluvioClusterConfig,
    pub admin: FluvioAdmin,
    pub watched: Watched,
}

impl Way {
    pub async fn straight(to: &Straight) -> anyhow::Result<Way> {
        let watched = Watched::server(to.node.process()?);
        Way::new("mutual TLS, straight to the SPU", to.node.profile(), watched).await
    }

    pub async fn in_plaintext(to: &Straight) -> anyhow::Result<Way> {
        let watched = Watched::server(to.node.process()?);
        Way::new("without TLS, straight to the SPU", to.node.profile(), watched).await
    }

    pub async fn through_the_gateway(cloud: &Cloud, tenant: &Tenant) -> anyhow::Result<Way> {
        Way::new("mutual TLS, through the gateway", tenant.profile()?, Watched::tenant(cloud, tenant)).await
    }

    async fn new(name: &'static str, profile: FluvioClusterConfig, watched: Watched) -> anyhow::Result<Way> {
        let connecting = FluvioAdmin::connect_with_config(&profile);
        let admin = within("the admin client connects", STEP_WITHIN, connecting).await?;
        Ok(Way { name, profile, admin, watched })
    }

    /// Makes a topic of one partition with so many copies; the SPU that leads it.
    pub async fn topic(&self, topic: &str, copies: u32) -> anyhow::Result<Spu> {
        create_copied_topic(&self.admin, topic, 1, copies).await?;
        Spu::leading(&self.admin, &self.profile, topic).await
    }

    pub async fn delete(&self, topic: &str) -> anyhow::Result<()> {
        within("deleted", STEP_WITHIN, self.admin.delete::<TopicSpec>(topic.to_string())).await
    }
}

/// Work on sockets that block, away from the runtime's threads.
pub async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await?
}
