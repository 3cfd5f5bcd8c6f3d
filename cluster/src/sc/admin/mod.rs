//! The SC as clients meet it.

mod change;
mod list;
mod modules;
mod seen;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use super::objects::MODULE_BYTES_MAX;
use super::{Refusal, Sc};
use crate::access::{Action, On};
use crate::connection::{Close, Service, Session, Work};
use crate::usage::Usage;
use crate::wire::admin::{self, Kind, key};
use crate::wire::{Header, Request, Server, api_versions};
use modules::Modules;
use seen::Seen;
use watch::Told;

/// Largest request. Twice the largest SmartModule, so that who uploads one that is too large is told so. All
/// other requests have to be far smaller ([`admin::is_too_large`]).
const FRAME_BYTES_MAX: usize = 2 * MODULE_BYTES_MAX as usize;

/// How long a request that changes something waits for the partitions to serve.
pub(super) const PROVISION_PATIENCE: Duration = Duration::from_secs(8);

/// Answers admin requests.
#[derive(Debug)]
pub struct AdminService {
    sc: Sc,
    modules: Modules,
    usage: Arc<Usage>,
}

/// What is kept for one connection.
#[derive(Debug)]
pub struct Client {
    session: Arc<Session>,
    modules: Modules,
}

impl AdminService {
    /// For this SC.
    pub fn new(sc: Sc, usage: Arc<Usage>) -> Self {
        Self { modules: Modules::new(sc.clone()), sc, usage }
    }

    fn list(&self, client: &Client, request: Request) -> Result<Work, Close> {
        let asked = admin::list(&self.usage, &request.header, request.body)?;
        let kind = asked.kind.ok_or_else(|| not_served(&request.header))?;
        let session = &client.session;
        if !session.may(Action::ReadMetadata, On::Cluster) {
            return Ok(Work::Reply(admin::empty_list(&request.header, kind)?));
        }
        if kind == Kind::SmartModule {
            return client.modules.list(request.header, &asked, &session.outbox);
        }
        let state = self.sc.state().borrow().clone();
        Ok(Work::Reply(list::answer(&request.header, kind, &asked, &Seen::of(&state, session))?))
    }

    fn watch(&self, client: &Client, request: Request) -> Result<Work, Close> {
        let header = request.header;
        let admin::Watch { kind, summary } = admin::watch(&header, request.body)?;
        let kind = kind.ok_or_else(|| not_served(&header))?;
        let session = &client.session;
        // A client that may see nothing gets nothing, but is not left waiting.
        if !session.may(Action::ReadMetadata, On::Cluster) || kind == Kind::Mirror {
            return Ok(Work::Reply(admin::empty_update(&header, kind)?));
        }
        session.hold(Action::ReadMetadata);
        let told = Told { header, kind, summary, modules: client.modules.clone() };
        Ok(Work::Stream(watch::run(told, self.sc.state(), Arc::clone(session)).boxed()))
    }
}

fn not_served(header: &Header) -> Close {
    Close::NotServed { key: header.key, version: header.version }
}

impl Service for AdminService {
    type Connection = Client;

    fn frame_cap(&self) -> usize {
        FRAME_BYTES_MAX
    }

    fn open(&self, session: &Arc<Session>) -> Self::Connection {
        Client { session: Arc::clone(session), modules: self.modules.of_connection() }
    }

    fn request(&self, client: &mut Self::Connection, request: Request) -> Result<Work, Close> {
        let header = request.header;
        if !Server::Sc.understands(&header) {
            return Err(not_served(&header));
        }
        if admin::is_too_large(&header, &request.body) {
            return Err(Close::TooMuch("a request of more than 1 MiB that uploads no SmartModule"));
        }
        let may_change = |topic: Option<&str>| client.session.may(Action::ChangeMetadata, On::of(topic));
        match header.key {
            key::LIST => self.list(client, request),
            key::WATCH => self.watch(client, request),
            key::CREATE => {
                let asked = admin::create(&self.usage, &header, request.body, may_change(None))?;
                let may = may_change(asked.topic());
                let modules = self.modules.clone();
                Ok(Work::Later(change::create(self.sc.clone(), modules, header, asked, may).boxed()))
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

/// What a client is told who wants to create, change or delete what cannot be.
fn unsupported(kind: Option<Kind>) -> Refusal {
    Refusal::Unsupported(
        match kind {
            None => "unknown admin object type",
            // Nothing here starts SPUs for a group, so that one that was stored would wait for them for ever.
            Some(Kind::SpuGroup) => {
                "all SPUs of this cluster are one group, 'main', which cannot be made or deleted: SPUs are added and \
                 removed on the cluster's page in the portal, or with `fluvio cluster start --spu N`"
            }
            Some(Kind::Mirror) => "mirroring is not available on this cluster",
            Some(
                Kind::Topic
                | Kind::Partition
                | Kind::Spu
                | Kind::CustomSpu
                | Kind::SmartModule
                | Kind::TableFormat,
            ) => "this cannot be done with an object of this type",
        }
        .into(),
    )
}

#[cfg(test)]
mod tests;
