//! The writer of a partition: runs on a blocking thread while there is work.

use std::collections::VecDeque;
use std::sync::PoisonError;

use tokio::sync::oneshot;

use super::queue::{Append, Work};
use super::{Appended, Inner};
use crate::batch::Batch;
use crate::error::{AppendError, OpenError};
use crate::log::{Log, Origin, State};

/// Does all that is queued, then ends. Only one runs at a time: the queue says who is to start one.
pub(super) fn run(inner: &Inner) {
    let _alarm = Alarm(inner);
    while let Some(work) = inner.queue.take() {
        let mut log = inner.log.lock().unwrap_or_else(PoisonError::into_inner);
        perform(inner, &mut log, work);
    }
}

fn perform(inner: &Inner, log: &mut Option<Log>, work: VecDeque<Work>) {
    let mut group = Vec::new();
    for item in work {
        if let Work::Append(append) = item {
            group.push(append);
            continue;
        }
        inner.queue.begins();
        append(log.as_mut(), std::mem::take(&mut group));
        inner.queue.begins();
        // Without a log the answer is dropped, which its receiver takes for "closed".
        match (item, log.as_mut()) {
            (Work::Truncate(to, answer), Some(log)) => {
                answer.send(log.truncate(to)).ok();
            }
            (Work::Maintain(answer), Some(log)) => {
                answer.send(log.maintain()).ok();
            }
            (Work::CloseSegment(base, answer), Some(log)) => {
                answer.send(log.close_segment(base)).ok();
            }
            (Work::Replace(rewriting, answer), Some(log)) => {
                let replaced = log.replace(&rewriting);
                // What is left of it is removed before anybody hears that it is over.
                drop(rewriting);
                answer.send(replaced).ok();
            }
            (Work::LetGo(before), Some(log)) => log.let_go(before),
            (Work::Configure(config), Some(log)) => log.configure(config),
            (Work::Close(answer), _) => {
                close(inner, log, State::Closed);
                answer.send(()).ok();
            }
            (Work::Delete(answer), Some(_)) => {
                answer.send(delete(inner, log)).ok();
            }
            _ => {}
        }
    }
    inner.queue.begins();
    append(log.as_mut(), group);
}

/// One group: written at once, synced once, answered one by one.
fn append(log: Option<&mut Log>, group: Vec<Append>) {
    let Some(log) = log.filter(|_| !group.is_empty()) else { return };
    let (batches, mut waiting): (Vec<(Vec<Batch>, Origin)>, Vec<_>) = group
        .into_iter()
        .map(|append| ((append.batches, append.origin), Some((append.answer, append.room))))
        .unzip();
    let batches: Vec<_> = batches.iter().map(|(batches, origin)| (batches.as_slice(), *origin)).collect();
    log.append(&batches, &mut |number, outcome| answer(waiting.get_mut(number), outcome));
}

type Waiting = Option<(oneshot::Sender<Result<Appended, AppendError>>, tokio::sync::OwnedSemaphorePermit)>;

/// Whoever asked may be gone by now; then the answer goes nowhere. The place in the queue is free again.
fn answer(waiting: Option<&mut Waiting>, outcome: Result<Appended, AppendError>) {
    if let Some((sender, _room)) = waiting.and_then(Option::take) {
        sender.send(outcome).ok();
    }
}

fn close(inner: &Inner, log: &mut Option<Log>, state: State) {
    inner.queue.close();
    if let Some(mut log) = log.take() {
        // A sync that fails is told by the state; what it would have covered was not acknowledged as durable.
        if log.sync().is_ok() {
            log.note();
        }
    }
    inner.view.enter(state);
}

fn delete(inner: &Inner, log: &mut Option<Log>) -> Result<(), OpenError> {
    let Some(open) = log.as_ref() else { return Ok(()) };
    let (store, folder) = open.place();
    inner.queue.close();
    *log = None;
    inner.view.enter(State::Deleted);
    store.remove_folder(&folder)
}

/// If the writer dies of a bug, nobody may wait for it for ever: the partition is closed then, and recovers by
/// being opened again.
struct Alarm<'a>(&'a Inner);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("the writer of a partition ended by a fault of its own; it is closed");
            self.0.queue.close();
            *self.0.log.lock().unwrap_or_else(PoisonError::into_inner) = None;
            self.0.view.enter(State::Closed);
        }
    }
}
