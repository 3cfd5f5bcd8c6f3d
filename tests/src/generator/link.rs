//! One connection to an SPU, of a thread's own: TLS, or nothing, over a socket that is read far ahead.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;

use anyhow::Context;
use fluvio::config::TlsPolicy;
use fluvio::metadata::partition::PartitionSpec;
use fluvio::metadata::spu::SpuSpec;
use fluvio::{FluvioAdmin, FluvioClusterConfig};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::raw;
use crate::stream::STEP_WITHIN;
use crate::tenant::Credentials;
use crate::wait::{until, within};
use crate::wire;

/// rustls asks for 4 KiB at a time; this much is taken from the kernel at once.
const AHEAD: usize = 256 << 10;

/// An SPU and who asks for it.
#[derive(Debug, Clone)]
pub struct Spu {
    pub address: SocketAddr,
    /// The name in its certificate, by which a gateway finds it.
    pub name: String,
    /// `None` where there is no TLS.
    pub(super) config: Option<Arc<ClientConfig>>,
}

impl Spu {
    /// Who leads partition 0 of a topic, found as the published client finds it.
    pub async fn leading(
        admin: &FluvioAdmin,
        profile: &FluvioClusterConfig,
        topic: &str,
    ) -> anyhow::Result<Spu> {
        let mut all = Spu::leading_each(admin, profile, topic, 1).await?;
        all.pop().context("a partition has a leader")
    }

    /// Who leads each of a topic's partitions, in their order, once all have a leader that is online.
    pub async fn leading_each(
        admin: &FluvioAdmin,
        profile: &FluvioClusterConfig,
        topic: &str,
        n_partitions: u32,
    ) -> anyhow::Result<Vec<Spu>> {
        let (domain, config) = match &profile.tls {
            TlsPolicy::Disabled => (String::new(), None),
            _ => {
                let who = Credentials::of(profile)?;
                let config = raw::configuration(&who.ca, Some((&who.certificate, &who.key)))?;
                (who.domain, Some(config))
            }
        };
        let leaders = until("every partition has a leader", STEP_WITHIN, async || {
            let found = within("partitions", STEP_WITHIN, admin.all::<PartitionSpec>()).await?;
            let leader = |number| {
                let name = format!("{topic}-{number}");
                let online = found.iter().find(|each| each.name == name && each.status.is_online());
                online.map(|partition| partition.spec.leader)
            };
            Ok((0..n_partitions).map(leader).collect::<Option<Vec<_>>>())
        })
        .await?;
        let spus = within("SPUs", STEP_WITHIN, admin.all::<SpuSpec>()).await?;
        let found = |id| {
            let spu = spus.iter().find(|spu| spu.spec.id == id).context("a leader that is no SPU")?;
            let address = spu.spec.public_endpoint.addr().to_socket_addrs()?.next().context("no address")?;
            Ok(Spu { address, name: format!("{}.{domain}", spu.name), config: config.clone() })
        };
        leaders.into_iter().map(found).collect()
    }

    pub(super) fn server_name(&self) -> anyhow::Result<ServerName<'static>> {
        Ok(ServerName::try_from(self.name.clone())?)
    }

    /// Connects, and asks for the versions as every client does first.
    pub fn connect(&self) -> anyhow::Result<Link> {
        let socket = Ahead(BufReader::with_capacity(AHEAD, raw::tcp(self.address)?));
        let stream = match &self.config {
            None => Stream::Plain(socket),
            Some(config) => {
                let session = ClientConnection::new(Arc::clone(config), self.server_name()?)?;
                Stream::Tls(Box::new(StreamOwned::new(session, socket)))
            }
        };
        let mut link = Link { stream };
        link.send(&wire::api_versions(1))?;
        link.receive().with_context(|| format!("{} refuses the connection", self.name))?;
        Ok(link)
    }
}

/// A connection. Reads and writes fail after ten seconds of silence.
#[derive(Debug)]
pub struct Link {
    pub(super) stream: Stream,
}

#[derive(Debug)]
pub(super) enum Stream {
    Plain(Ahead),
    Tls(Box<StreamOwned<ClientConnection, Ahead>>),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(session) => session.read(buffer),
        }
    }
}

impl BufRead for Stream {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::Plain(socket) => socket.0.fill_buf(),
            Self::Tls(session) => session.fill_buf(),
        }
    }

    fn consume(&mut self, bytes: usize) {
        match self {
            Self::Plain(socket) => socket.0.consume(bytes),
            Self::Tls(session) => session.consume(bytes),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(session) => session.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(session) => session.flush(),
        }
    }
}

impl Link {
    pub fn send(&mut self, frame: &[u8]) -> anyhow::Result<()> {
        wire::send(&mut self.stream, frame)
    }

    /// The next response: correlation id and body.
    pub fn receive(&mut self) -> anyhow::Result<(i32, Vec<u8>)> {
        wire::receive(&mut self.stream)?.context("the server hung up")
    }
}

/// A socket that is read in large parts and written as it comes.
#[derive(Debug)]
pub(super) struct Ahead(BufReader<TcpStream>);

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Ahead {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.get_mut().write(bytes)
    }

    fn write_vectored(&mut self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.get_mut().write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.get_mut().flush()
    }
}
