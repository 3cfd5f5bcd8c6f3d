//! New connections, one by one.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpSocket};
use tokio::time::sleep;
use tracing::{debug, warn};

use super::Gateway;
use super::connection::{Places, serve};
use crate::hello::refuse::refuse;
use crate::observe::Refusal;

/// Connections that may wait for accept: a fleet that reconnects at once.
const BACKLOG: u32 = 4096;
/// Waits after the system refused to hand out connections, doubling.
const FIRST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Binds the public port.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts until no new connections are to be taken.
pub async fn accept_all(gateway: Arc<Gateway>, listener: TcpListener) {
    let mut wait = FIRST_WAIT;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = gateway.shut.cancelled() => return,
        };
        match accepted {
            Ok((client, peer)) => {
                wait = FIRST_WAIT;
                match admit(&gateway, peer.ip()) {
                    Ok(places) => {
                        gateway.tasks.spawn(serve(gateway.clone(), client, peer, places));
                    }
                    Err(why) => {
                        debug!(client = %peer, reason = why.word(), "refused");
                        gateway.counters.count_refused(why);
                        refuse(client);
                    }
                }
            }
            // That client left before its turn; the next one is unharmed.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                gateway.counters.count_accept_error();
                warn!(%error, wait_ms = wait.as_millis(), "no connection was handed out; waiting");
                gateway.half_open.evict_oldest();
                sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
    }
}

/// Places for a new connection, or what there is too much of.
fn admit(gateway: &Gateway, address: IpAddr) -> Result<Places, Refusal> {
    // The clients of a load balancer are known, and limited, once its header is read.
    let permit = if gateway.config.is_balancer(address) {
        None
    } else {
        Some(gateway.addresses.admit(address, Instant::now())?)
    };
    let make_room = || gateway.half_open.evict_oldest();
    let connection = gateway.connections.take(make_room).ok_or(Refusal::Full)?;
    let socket = gateway.sockets.take(make_room).ok_or(Refusal::Full)?;
    Ok(Places {
        address: permit,
        half_open: gateway.half_open.enter(),
        _connection: connection,
        _socket: socket,
    })
}
