//! Connections over real sockets: who is let in, who is cut, and what hostile bytes do.

pub(crate) mod fixture;

mod entry;
mod flow;
mod hostile;
mod plain;
mod rates;

use std::sync::Arc;

use futures_util::FutureExt;

use super::{Close, Service, Session, Work};
use crate::access::Action;
use crate::wire::{Request, Server, api_versions};

/// A service with one request of each kind.
pub(crate) struct Probe;

impl Service for Probe {
    type Connection = Arc<Session>;

    fn frame_cap(&self) -> usize {
        1 << 20
    }

    fn open(&self, session: &Arc<Session>) -> Arc<Session> {
        Arc::clone(session)
    }

    fn request(&self, session: &mut Arc<Session>, request: Request) -> Result<Work, Close> {
        let answer = api_versions(Server::Spu, &request.header)?;
        let session = Arc::clone(session);
        match request.header.key {
            // Answers at once.
            18 => Ok(Work::Reply(answer)),
            // Answers in its turn, later.
            1 => Ok(Work::Later(
                async move {
                    tokio::task::yield_now().await;
                    Ok(answer)
                }
                .boxed(),
            )),
            // Never ends and needs the right to change metadata.
            2 => {
                session.hold(Action::ChangeMetadata);
                Ok(Work::Stream(
                    async move {
                        session.outbox.send(answer).await?;
                        std::future::pending().await
                    }
                    .boxed(),
                ))
            }
            // Sends for ever.
            3 => Ok(Work::Stream(
                async move {
                    loop {
                        let room = session.outbox.room(1 << 20).await?;
                        let body = bytes::Bytes::from(vec![0; 1 << 20]);
                        room.send(crate::wire::Frame::pieces(body.slice(..8), vec![body]))?;
                    }
                }
                .boxed(),
            )),
            4 => panic!("asked to"),
            5 => Ok(Work::Later(async { panic!("asked to, later") }.boxed())),
            key => Err(Close::NotServed { key, version: request.header.version }),
        }
    }
}
