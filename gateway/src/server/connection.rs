//! The life of one connection.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use super::Gateway;
use crate::hello::refuse::refuse;
use crate::hello::{Hello, read_hello, read_proxied};
use crate::limits::{AddressPermit, HalfOpenPlace, Place};
use crate::observe::Refusal;
use crate::relay::{Answered, BackendStream, Socket, answered, connect, prepare_client, proxy_header, relay};
use crate::routes::{Backend, OpenConnection, Route};

/// First and longest wait before a server that is away is called again: a local server is back in tens of
/// milliseconds, and one call costs microseconds.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Servers that may die one after the other with a hello that they have not answered.
const GIVEN_AGAIN: u32 = 2;

/// What a connection holds from accept on.
pub struct Places {
    /// `None` for a load balancer, whose header names the client.
    pub address: Option<AddressPermit>,
    pub half_open: HalfOpenPlace,
    pub _connection: Place,
    pub _socket: Place,
}

/// A connection whose server has the hello.
struct Routed {
    open: OpenConnection,
    backend: BackendStream,
    greeting: Greeting,
    _socket: Place,
}

/// What another server would need, until one has answered.
struct Greeting {
    /// Where the name leads.
    route: Route,
    /// What the server got.
    first: Vec<u8>,
}

/// Serves one client until one of the two ends, the route goes, or the gateway stops.
pub async fn serve(gateway: Arc<Gateway>, client: TcpStream, peer: SocketAddr, places: Places) {
    let Places { address, half_open, _connection, _socket } = places;
    // Each stage is boxed, so that a connection costs only the stage that it is in.
    let arrived = Box::pin(arrive(&gateway, &client, peer, address, &half_open)).await;
    drop(half_open);
    let routed = match arrived {
        Ok(Arrived { from, hello, address }) => {
            Box::pin(route(&gateway, &client, from, hello)).await.map(|routed| (routed, address))
        }
        Err(why) => Err(why),
    };
    match routed {
        Ok((routed, _address)) => {
            gateway.counters.count_routed();
            Box::pin(pass(&gateway, client, routed)).await;
        }
        Err(why) => {
            debug!(client = %peer, reason = why.word(), "refused");
            gateway.counters.count_refused(why);
            refuse(client);
        }
    }
}

/// A client that has said where it wants to go.
struct Arrived {
    /// Its own address, also behind a load balancer.
    from: SocketAddr,
    hello: Hello,
    address: AddressPermit,
}

async fn arrive(
    gateway: &Gateway,
    client: &TcpStream,
    peer: SocketAddr,
    address: Option<AddressPermit>,
    place: &HalfOpenPlace,
) -> Result<Arrived, Refusal> {
    let (accepted, limit) = (Instant::now(), gateway.config.handshake_timeout());
    let arrived = async {
        let (from, mut address) = match address {
            Some(address) => (peer, address),
            None => {
                let from = read_proxied(client, peer, accepted, limit).await?;
                (from, gateway.addresses.admit(from.ip(), std::time::Instant::now())?)
            }
        };
        let hello = read_hello(client, accepted, limit).await?;
        address.hello_is_whole();
        Ok(Arrived { from, hello, address })
    };
    tokio::select! {
        arrived = arrived => arrived,
        () = place.evicted() => Err(Refusal::Evicted),
        () = gateway.stop.cancelled() => Err(Refusal::Stopping),
    }
}

/// From a name to a server that has the hello.
async fn route(
    gateway: &Gateway,
    client: &TcpStream,
    from: SocketAddr,
    hello: Hello,
) -> Result<Routed, Refusal> {
    let route = gateway.routes.table().get(&hello.name).cloned().ok_or(Refusal::Unknown)?;
    let mut open = route.admit(gateway.cluster_rate(), std::time::Instant::now())?;
    let make_room = || gateway.half_open.evict_oldest();
    let socket = gateway.sockets.take(make_room).ok_or(Refusal::Full)?;
    let local = client.local_addr().map_err(|_| Refusal::Gone)?;
    prepare_client(client).map_err(|_| Refusal::Gone)?;
    let mut first = proxy_header(from, local);
    first.extend_from_slice(&hello.bytes);
    let backend = reach(gateway, &route, None, &mut open, &first).await?;
    let usage = &route.cluster.usage;
    usage.opened.fetch_add(1, Ordering::Relaxed);
    usage.bytes_in.fetch_add(hello.bytes.len() as u64, Ordering::Relaxed);
    Ok(Routed { open, backend, greeting: Greeting { route, first }, _socket: socket })
}

/// Calls the servers that may answer, one after the other and again while all of them are away; the one that `failed`
/// comes last.
async fn reach(
    gateway: &Gateway,
    route: &Route,
    failed: Option<&Arc<Backend>>,
    open: &mut OpenConnection,
    first: &[u8],
) -> Result<BackendStream, Refusal> {
    let until = Instant::now() + gateway.config.server_away_timeout();
    let mut pause = FIRST_PAUSE;
    loop {
        // A dead SPU's name goes to a live one, which passes on what it does not lead itself.
        for candidate in route.servers(failed) {
            open.move_to(candidate);
            match greet(gateway, open, first).await {
                Err(Refusal::Unreachable) => {}
                outcome => return outcome,
            }
        }
        if Instant::now() + pause > until {
            return Err(Refusal::Unreachable);
        }
        tokio::select! {
            biased;
            () = route.backend.cut.cancelled() => return Err(Refusal::Cut),
            () = gateway.stop.cancelled() => return Err(Refusal::Stopping),
            () = sleep(pause) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Calls the connection's server and gives it the client's first bytes.
async fn greet(gateway: &Gateway, open: &OpenConnection, first: &[u8]) -> Result<BackendStream, Refusal> {
    let route = &open.route;
    let greeted = async {
        let mut backend = connect(&route.backend.address, gateway.server_patience())
            .await
            .inspect_err(|reason| {
                debug!(cluster = %route.cluster.id, address = %route.backend.address, %reason, "not reached");
            })
            .map_err(|_| Refusal::Unreachable)?;
        // The address may have changed hands while it was called: not a byte goes to a cut route.
        if route.backend.cut.is_cancelled() {
            return Err(Refusal::Cut);
        }
        let patience = gateway.config.connect_timeout();
        let sent = match &mut backend {
            BackendStream::Tcp(stream) => timeout(patience, stream.write_all(first)).await,
            BackendStream::Unix(stream) => timeout(patience, stream.write_all(first)).await,
        };
        if matches!(sent, Ok(Ok(()))) { Ok(backend) } else { Err(Refusal::Unreachable) }
    };
    tokio::select! {
        biased;
        () = route.backend.cut.cancelled() => Err(Refusal::Cut),
        () = gateway.stop.cancelled() => Err(Refusal::Stopping),
        backend = greeted => backend,
    }
}

/// A server that dies, or stops, before it has answered the hello has told the client nothing, so another one gets it.
async fn until_answered(
    gateway: &Gateway,
    client: &TcpStream,
    greeting: Greeting,
    open: &mut OpenConnection,
    mut backend: BackendStream,
) -> BackendStream {
    // Where nobody else can be asked, there is nothing better to do than to wait.
    let patience = match greeting.route.others.is_empty() {
        true => Duration::MAX,
        false => gateway.config.answer_timeout(),
    };
    for _ in 0..GIVEN_AGAIN {
        let answered = async {
            match &backend {
                BackendStream::Tcp(backend) => answered(client, backend, patience).await,
                BackendStream::Unix(backend) => answered(client, backend, patience).await,
            }
        };
        let idle = async {
            match gateway.patience().idle {
                Some(idle) => sleep(idle).await,
                None => pending().await,
            }
        };
        let route = &open.route;
        let answered = tokio::select! {
            biased;
            // Passing on ends for the same reasons.
            () = route.backend.cut.cancelled() => return backend,
            () = gateway.stop.cancelled() => return backend,
            answered = answered => answered,
            () = idle => return backend,
        };
        if answered == Answered::Yes {
            return backend;
        }
        debug!(cluster = %route.cluster.id, address = %route.backend.address, "died or stopped without an answer");
        let failed = Arc::clone(&route.backend);
        match reach(gateway, &greeting.route, Some(&failed), open, &greeting.first).await {
            Ok(another) => backend = another,
            Err(_) => return backend,
        }
    }
    backend
}

async fn pass(gateway: &Gateway, client: TcpStream, routed: Routed) {
    let Routed { mut open, backend, greeting, _socket } = routed;
    match Box::pin(until_answered(gateway, &client, greeting, &mut open, backend)).await {
        BackendStream::Tcp(backend) => pass_to(gateway, client, backend, &open).await,
        BackendStream::Unix(backend) => pass_to(gateway, client, backend, &open).await,
    }
    // Both sockets are closed: whoever waits for this route to be empty may go on.
    drop(open);
}

async fn pass_to<B: Socket>(gateway: &Gateway, client: TcpStream, backend: B, open: &OpenConnection) {
    let route = &open.route;
    let relayed =
        relay(&client, &backend, &route.cluster.usage, &gateway.buffers, gateway.patience(), &gateway.stop);
    let ended = tokio::select! {
        biased;
        () = route.backend.cut.cancelled() => None,
        () = gateway.abort.cancelled() => Some(crate::relay::Ended::Stopping),
        ended = relayed => Some(ended),
    };
    if ended.is_none() {
        client.reset_on_close();
        backend.reset_on_close();
    }
    gateway.counters.count_ended(ended);
}
