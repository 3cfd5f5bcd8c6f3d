//! SmartModules whose code comes from a client or goes to one.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use crate::connection::{Close, Outbox, Work};
use crate::sc::objects::{Asked, Code, Encoded, SmartModule, Table};
use crate::sc::{Refusal, Sc};
use crate::wire::admin::{Change, List, ShownCode, ShownModule, asked_for, list_modules, update_modules};
use crate::wire::{Frame, Header};

/// Bytes of code that answers to all clients together may have in memory: twice as much as there can be of it.
const ROOM_KIB: u32 = 64 << 10;

/// How long an answer waits for room, and an upload for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(20);

/// How long an answer may keep its room. The published client gives up on it after as long.
const WRITTEN_WITHIN: Duration = Duration::from_secs(60);

/// Keeps and shows them.
#[derive(Debug, Clone)]
pub struct Modules {
    sc: Sc,
    /// What answers wait for; in KiB.
    pub(super) room: Arc<Semaphore>,
    /// Each connection has its own: one answer with code at a time.
    turn: Arc<Semaphore>,
    /// One upload is written at a time.
    uploads: Arc<Semaphore>,
    pub(super) turn_within: Duration,
    pub(super) written_within: Duration,
}

/// An answer. With code in it, it ends a connection that is too slow to take it.
pub struct Answer {
    frame: Frame,
    /// What is told nothing, but learns that the code is written; and how long that may take.
    written: Written,
}

/// See [`Answer`].
type Written = Option<(oneshot::Receiver<Infallible>, Duration)>;
/// Of each SmartModule; `None` if it is not shown.
type Codes = Vec<Option<ShownCode>>;

impl From<Frame> for Answer {
    fn from(frame: Frame) -> Self {
        Self { frame, written: None }
    }
}

impl Answer {
    /// Sends it, and waits until code in it is written.
    pub async fn send(self, outbox: &Outbox) -> Result<(), Close> {
        let Some((written, within)) = self.written else { return Ok(outbox.send(self.frame).await?) };
        let sending = async {
            outbox.send(self.frame).await?;
            let _ = written.await;
            Ok(())
        };
        timeout(within, sending)
            .await
            .unwrap_or(Err(Close::TooMuch("SmartModules, which it reads too slowly")))
    }
}

/// What an answer keeps until its code is written.
struct Held {
    _turn: OwnedSemaphorePermit,
    _room: OwnedSemaphorePermit,
    _written: oneshot::Sender<Infallible>,
}

impl Modules {
    /// For this SC.
    pub fn new(sc: Sc) -> Self {
        let one = || Arc::new(Semaphore::new(1));
        let room = Arc::new(Semaphore::new(ROOM_KIB as usize));
        let (turn_within, written_within) = (TURN_WITHIN, WRITTEN_WITHIN);
        Self { sc, room, turn: one(), uploads: one(), turn_within, written_within }
    }

    /// The same for one more connection.
    pub fn of_connection(&self) -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), ..self.clone() }
    }

    /// Stores one; `meta` and `wasm` are the client's.
    pub async fn store(
        &self,
        name: String,
        meta: Option<Encoded>,
        wasm: Bytes,
        dry_run: bool,
    ) -> Result<u64, Refusal> {
        let asked = move |code| Asked::SmartModule(name.clone(), SmartModule { meta: meta.clone(), code });
        // Nothing is written for what may not be.
        let may = self.sc.change_object(asked(Code::unwritten(&wasm)), true).await?;
        if dry_run {
            return Ok(may);
        }
        let turn = timeout(TURN_WITHIN, Arc::clone(&self.uploads).acquire_owned()).await;
        let later = || Refusal::Later("other SmartModules are being uploaded: try again in a moment".into());
        let turn = turn.ok().and_then(Result::ok).ok_or_else(later)?;
        // A task of its own: what was written is named by the metadata or removed, even if the client goes away.
        let sc = self.sc.clone();
        let done = tokio::spawn(async move {
            let _turn = turn;
            let code = write(&sc, wasm).await?;
            let file = code.file;
            let done = sc.change_object(asked(code), false).await;
            // What could not be kept may be half kept, and the next start will tell.
            if done.as_ref().is_err_and(|refusal| !matches!(refusal, Refusal::Later(_))) {
                let files = sc.code_files().clone();
                let _ = tokio::task::spawn_blocking(move || files.remove(file)).await;
            }
            done
        });
        done.await.unwrap_or_else(|_| Err(not_written()))
    }

    /// Answers a client that lists them. What waits for room is a stream, which keeps nothing of the request.
    pub fn list(&self, header: Header, asked: &List, outbox: &Outbox) -> Result<Work, Close> {
        let modules = Arc::clone(&self.sc.state().borrow().metadata.objects.smart_modules);
        let is_wanted = asked_for(&asked.names);
        let wanted = modules.iter().filter(|(name, module)| is_wanted(name, module.meta.as_ref()));
        let wanted: Vec<_> = wanted.map(|(name, module)| (name.clone(), Arc::clone(module))).collect();
        if asked.summary {
            let wanted = borrowed(&wanted);
            return Ok(Work::Reply(list_modules(&header, &shown(&wanted, lengths(&wanted)))?));
        }
        let (modules, outbox) = (self.clone(), outbox.clone());
        let answer = async move {
            let wanted = borrowed(&wanted);
            let (codes, written) = modules.whole(&wanted).await?;
            let frame = list_modules(&header, &shown(&wanted, codes))?;
            drop(wanted);
            Answer { frame, written }.send(&outbox).await
        };
        Ok(Work::Stream(answer.boxed()))
    }

    /// The news for a client that watches them.
    pub async fn news(
        &self,
        header: &Header,
        change: &Change<'_, String, SmartModule>,
        summary: bool,
    ) -> Result<Answer, Close> {
        let (codes, written) =
            if summary { (lengths(&change.updated), None) } else { self.whole(&change.updated).await? };
        let deleted: Vec<_> = change.deleted.iter().map(|(name, _)| name.as_str()).collect();
        let updated = shown(&change.updated, codes);
        let frame = update_modules(header, change.epoch, change.whole, &updated, &deleted)?;
        Ok(Answer { frame, written })
    }

    /// Room for so much code, and the connection's turn; `None` if others do not give it in time.
    async fn hold(&self, n_bytes: u64, written: oneshot::Sender<Infallible>) -> Option<Held> {
        let units = u32::try_from(n_bytes.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, ROOM_KIB);
        let both = async {
            let turn = Arc::clone(&self.turn).acquire_owned().await.ok()?;
            let room = Arc::clone(&self.room).acquire_many_owned(units).await.ok()?;
            Some(Held { _turn: turn, _room: room, _written: written })
        };
        timeout(self.turn_within, both).await.ok().flatten()
    }

    /// The code of each, read from its file; `None` where the SmartModule is gone or replaced meanwhile. Where a code is
    /// lost the SmartModule is shown without any, so that it can be found and uploaded again. Without room in time there
    /// is no code in the answer, but only its length: the protocol has no error for this, and a closed connection would
    /// take the client's other streams with it.
    async fn whole(&self, modules: &[(&String, &SmartModule)]) -> Result<(Codes, Written), Close> {
        if modules.is_empty() {
            return Ok((Vec::new(), None));
        }
        let n_bytes: u64 = modules.iter().map(|(_, module)| u64::from(module.code.bytes)).sum();
        let (guard, written) = oneshot::channel();
        let Some(held) = self.hold(n_bytes, guard).await else {
            tracing::warn!(n_bytes, "SmartModules are shown without code: too much is being read at once");
            return Ok((lengths(modules), None));
        };
        let held = Arc::new(held);
        let files = self.sc.code_files().clone();
        let codes: Vec<Code> = modules.iter().map(|(_, module)| module.code.clone()).collect();
        let reading = tokio::task::spawn_blocking(move || {
            codes.iter().map(|code| files.read(code)).collect::<Vec<_>>()
        });
        let read = reading.await.map_err(|_| Close::TooMuch("SmartModules"))?;
        let now = Arc::clone(&self.sc.state().borrow().metadata.objects.smart_modules);
        let shown = modules.iter().zip(read).map(|((name, module), read)| match read {
            Ok(bytes) => {
                Some(ShownCode::Whole(Bytes::from_owner(InRoom { bytes, _held: Arc::clone(&held) })))
            }
            Err(_) if !still_names(&now, name, &module.code) => None,
            Err(reason) => {
                tracing::error!(name, reason, "the code of a SmartModule is lost: upload it again");
                Some(ShownCode::Whole(Bytes::new()))
            }
        });
        Ok((shown.collect(), Some((written, self.written_within))))
    }
}

fn borrowed(modules: &[(String, Arc<SmartModule>)]) -> Vec<(&String, &SmartModule)> {
    modules.iter().map(|(name, module)| (name, &**module)).collect()
}

fn lengths(modules: &[(&String, &SmartModule)]) -> Codes {
    modules.iter().map(|(_, module)| Some(ShownCode::Length(module.code.bytes))).collect()
}

fn shown<'a>(modules: &[(&'a String, &'a SmartModule)], codes: Codes) -> Vec<ShownModule<'a>> {
    let show = |((name, module), code): (&(&'a String, &'a SmartModule), Option<_>)| {
        Some(ShownModule { name, meta: module.meta.as_ref(), code: code? })
    };
    modules.iter().zip(codes).filter_map(show).collect()
}

fn still_names(modules: &Table<SmartModule>, name: &str, code: &Code) -> bool {
    modules.get(name).is_some_and(|module| module.code == *code)
}

async fn write(sc: &Sc, wasm: Bytes) -> Result<Code, Refusal> {
    let files = sc.code_files().clone();
    let written = tokio::task::spawn_blocking(move || files.write(&wasm)).await;
    written.unwrap_or_else(|panic| Err(std::io::Error::other(panic))).map_err(|error| {
        tracing::error!(%error, "the code of a SmartModule was not kept");
        not_written()
    })
}

fn not_written() -> Refusal {
    Refusal::Later("the cluster cannot write the SmartModule now: try again later".into())
}

/// Code in memory, which gives its room back once the frame that holds it is written.
struct InRoom {
    bytes: Bytes,
    _held: Arc<Held>,
}

impl AsRef<[u8]> for InRoom {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
