//! Who used the processor while a stretch of work lasted.

use std::time::{Duration, Instant};

use e2e::cloud::Cloud;
use e2e::processes::Process;
use e2e::tenant::Tenant;

use crate::report::{Figure, median};

/// The processes that take part, beside this one, which is the client.
#[derive(Debug, Clone, Default)]
pub struct Watched {
    pub gateway: Vec<Process>,
    pub cluster: Vec<Process>,
}

impl Watched {
    /// A tenant's cluster behind its cloud's gateway.
    pub fn tenant(cloud: &Cloud, tenant: &Tenant) -> Watched {
        Watched { gateway: cloud.program("gateway"), cluster: cloud.cluster(&tenant.cluster.id) }
    }

    /// A server that is met straight.
    pub fn server(process: Process) -> Watched {
        Watched { gateway: Vec::new(), cluster: vec![process] }
    }
}

/// One stretch of work: how long it took, and the processor time of each who took part, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    pub took: f64,
    pub client: f64,
    pub gateway: f64,
    pub cluster: f64,
}

/// Where the processor's time goes, in percent of one core while the stretch lasts; two cores are all there is.
#[derive(Debug, Default)]
pub struct Shares {
    client: Vec<f64>,
    gateway: Vec<f64>,
    cluster: Vec<f64>,
}

impl Shares {
    pub fn note(&mut self, stretch: &Stretch) {
        self.client.push(stretch.client / stretch.took * 100.0);
        self.gateway.push(stretch.gateway / stretch.took * 100.0);
        self.cluster.push(stretch.cluster / stretch.took * 100.0);
    }

    /// The figure with who used how much.
    pub fn beside(&self, figure: Figure) -> Figure {
        figure
            .beside("the client's share of a core (%)", median(&self.client))
            .beside("the gateway's (%)", median(&self.gateway))
            .beside("the cluster's (%)", median(&self.cluster))
    }
}

/// Processor time so far of client, gateway and cluster.
#[derive(Debug)]
pub struct Clock {
    watched: Watched,
    begun: Instant,
    used: [f64; 3],
}

impl Clock {
    pub fn start(watched: Watched) -> anyhow::Result<Clock> {
        Ok(Clock { used: look(&watched)?, watched, begun: Instant::now() })
    }

    pub fn stop(self) -> anyhow::Result<Stretch> {
        let took = self.begun.elapsed().as_secs_f64();
        let now = look(&self.watched)?;
        let [client, gateway, cluster] = [0, 1, 2].map(|who| now[who] - self.used[who]);
        Ok(Stretch { took, client, gateway, cluster })
    }
}

fn look(watched: &Watched) -> anyhow::Result<[f64; 3]> {
    let own = Process { pid: i32::try_from(std::process::id())?, arguments: Vec::new() };
    let sum = |all: &[Process]| -> anyhow::Result<f64> {
        Ok(all.iter().map(Process::processor_time).sum::<anyhow::Result<Duration>>()?.as_secs_f64())
    };
    Ok([sum(&[own])?, sum(&watched.gateway)?, sum(&watched.cluster)?])
}
