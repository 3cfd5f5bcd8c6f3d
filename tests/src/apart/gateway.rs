//! The gateway in front of the SPUs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, ensure};
use rustls::server::Acceptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::START_WITHIN;
use crate::wait::within;

/// A gateway as small as can be: looks at the name that a client asks for and passes its bytes to that SPU.
pub(super) async fn split(listener: TcpListener, routes: Arc<Mutex<BTreeMap<String, SocketAddr>>>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let routes = Arc::clone(&routes);
        tokio::spawn(async move {
            let (name, hello) = within("a ClientHello", START_WITHIN, asked(&mut client)).await?;
            let route = routes.lock().unwrap_or_else(PoisonError::into_inner).get(&name).copied();
            let mut spu = TcpStream::connect(route.context("no such SPU")?).await?;
            client.set_nodelay(true)?;
            spu.set_nodelay(true)?;
            spu.write_all(&hello).await?;
            tokio::io::copy_bidirectional(&mut client, &mut spu).await?;
            anyhow::Ok(())
        });
    }
}

/// The name in a ClientHello, and its bytes.
async fn asked(client: &mut TcpStream) -> anyhow::Result<(String, Vec<u8>)> {
    let (mut acceptor, mut hello) = (Acceptor::default(), Vec::new());
    loop {
        let before = hello.len();
        ensure!(client.read_buf(&mut hello).await? > 0, "it went before it said a name");
        acceptor.read_tls(&mut &hello[before..])?;
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let name = accepted.client_hello().server_name().context("no name")?.to_string();
                return Ok((name, hello));
            }
            Ok(None) => {}
            Err((error, _)) => return Err(error.into()),
        }
    }
}
