//! The SC as clients meet it.

mod change;
mod list;
mod seen;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use super::{Refusal, Sc};
use crate::access::{Action, On};
use crate::connection::{Close, Service, Session, Work};
use crate::usage::Usage;
use crate::wire::admin::{self, Kind, key};
use crate::wire::{Header, Request, Server, api_versions};
use seen::Seen;

/// Largest request. Topics with long hand-made partition maps are far below it, and SmartModules, the only
/// large objects, are not taken.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// How long a request that changes something waits for the partitions to serve.
pub(super) const PROVISION_PATIENCE: Duration = Duration::from_secs(8);

/// Answers admin requests.
#[derive(Debug)]
pub struct AdminService {
    sc: Sc,
    usage: Arc<Usage>,
}

impl AdminService {
    /// For this SC.
    pub fn new(sc: Sc, usage: Arc<Usage>) -> Self {
        Self { sc, usage }
    }

    fn list(&self, session: &Session, request: Request) -> Result<Work, Close> {
        let asked = admin::list(&self.usage, &request.header, request.body)?;
        let kind = asked.kind.ok_or_else(|| not_served(&request.header))?;
        if !session.may(Action::ReadMetadata, On::Cluster) {
            return Ok(Work::Reply(admin::empty_list(&request.header, kind)?));
        }
        let state = self.sc.state().borrow().clone();
        Ok(Work::Reply(list::answer(&request.header, kind, &asked, &Seen::of(&state, session))?))
    }

    fn watch(&self, session: &Arc<Session>, request: Request) -> Result<Work, Close> {
        let header = request.header;
        let kind = admin::watch(&header, request.body)?.ok_or_else(|| not_served(&header))?;
        // A client that may see nothing gets nothing, but is not left waiting.
        if !session.may(Action::ReadMetadata, On::Cluster) || !has_objects(kind) {
            return Ok(Work::Reply(admin::empty_update(&header, kind)?));
        }
        session.hold(Action::ReadMetadata);
        Ok(Work::Stream(watch::run(header, kind, self.sc.state(), Arc::clone(session)).boxed()))
    }
}

/// Types that this cluster can have objects of.
fn has_objects(kind: Kind) -> bool {
    matches!(kind, Kind::Topic | Kind::Partition | Kind::Spu)
}

fn not_served(header: &Header) -> Close {
    Close::NotServed { key: header.key, version: header.version }
}

impl Service for AdminService {
    type Connection = Arc<Session>;

    fn frame_cap(&self) -> usize {
        FRAME_BYTES_MAX
    }

    fn open(&self, session: &Arc<Session>) -> Self::Connection {
        Arc::clone(session)
    }

    fn request(&self, session: &mut Self::Connection, request: Request) -> Result<Work, Close> {
        let header = request.header;
        if !Server::Sc.understands(&header) {
            return Err(not_served(&header));
        }
        let may_change = |topic: Option<&str>| session.may(Action::ChangeMetadata, On::of(topic));
        match header.key {
            key::LIST => self.list(session, request),
            key::WATCH => self.watch(session, request),
            key::CREATE => {
                let asked = admin::create(&self.usage, &header, request.body)?;
                let (sc, may) = (self.sc.clone(), may_change(asked.topic()));
                Ok(Work::Later(change::create(sc, header, asked, may).boxed()))
            }
            key::DELETE => {
                let asked = admin::delete(&self.usage, &header, request.body)?;
                let (sc, may) = (self.sc.clone(), may_change(asked.topic()));
                Ok(Work::Later(change::delete(sc, header, asked, may).boxed()))
            }
            key::UPDATE => {
                let asked = admin::update(&self.usage, &header, request.body)?;
                let (sc, may) = (self.sc.clone(), may_change(asked.topic()));
                Ok(Work::Later(change::update(sc, header, asked, may).boxed()))
            }
            key::MIRRORING => Ok(Work::Reply(admin::mirroring_refused(&header)?)),
            _ => Ok(Work::Reply(api_versions(Server::Sc, &header)?)),
        }
    }
}

/// What a client is told who wants to create, change or delete something that is not a topic.
fn unsupported(kind: Option<Kind>) -> Refusal {
    Refusal::Unsupported(
        match kind {
            None => "unknown admin object type",
            Some(Kind::CustomSpu | Kind::Spu | Kind::SpuGroup) => {
                "the cloud manages this cluster's SPUs: they cannot be registered or removed by hand"
            }
            Some(Kind::SmartModule) => "SmartModules are not available on this cluster",
            Some(Kind::TableFormat) => "table formats are not available on this cluster",
            Some(Kind::Mirror) => "mirroring is not available on this cluster",
            Some(Kind::Topic | Kind::Partition) => "this cannot be done with an object of this type",
        }
        .into(),
    )
}

#[cfg(test)]
mod tests;
