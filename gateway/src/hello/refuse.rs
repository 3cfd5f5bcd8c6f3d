//! The one way in which the gateway says no.
//!
//! Whatever the reason, the client gets [`REFUSAL`] and the end of the stream. Names of tenants cannot be
//! told from names that do not exist, nor a cluster at its limit from one that was deleted. The alert is
//! `access_denied`, which is true of every reason.

use std::io;

use rustix::net::Shutdown;
use tokio::net::TcpStream;

/// One TLS record: alert (21), version 3.3, two bytes long: fatal (2), access_denied (49).
pub const REFUSAL: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];

/// Bytes that a refused client has already sent and that are thrown away, so that the kernel answers with
/// an orderly end instead of a reset. Bounded: a refused client is no one's to wait for.
const MAX_DISCARDED: usize = 64 * 1024;

/// Sends the refusal and ends the stream. Never waits: seven bytes fit into the send buffer of a connection
/// on which nothing was sent.
pub fn refuse(client: TcpStream) {
    // A client that is gone needs no refusal.
    let _ = client.try_write(&REFUSAL);
    let _ = rustix::net::shutdown(&client, Shutdown::Write);
    let mut scratch = [0_u8; 4096];
    let mut discarded = 0;
    while discarded < MAX_DISCARDED {
        match client.try_read(&mut scratch) {
            Ok(0) => break,
            Ok(n) => discarded += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
}
