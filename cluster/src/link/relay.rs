//! Operations on consumer offsets, from the SPU that was asked to the SPU that leads them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::OffsetsCall;
use super::message::{OffsetsAnswer, OffsetsRequest};

/// Operations that may wait for one SPU.
const QUEUE: usize = 256;

/// How long the leader may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// The registered SPUs' ends for such operations.
#[derive(Debug, Default)]
pub struct Relay {
    spus: Mutex<BTreeMap<i32, mpsc::Sender<OffsetsCall>>>,
}

impl Relay {
    /// The operations for an SPU that has just come; they replace a former connection's.
    pub(super) fn register(&self, spu: i32) -> mpsc::Receiver<OffsetsCall> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.spus.lock().unwrap_or_else(PoisonError::into_inner).insert(spu, sender);
        receiver
    }

    /// Has the operation done by this SPU.
    pub async fn call(&self, leader: Option<i32>, request: OffsetsRequest) -> OffsetsAnswer {
        let not_now = |why: &str| OffsetsAnswer::NotNow(why.into());
        let spus = || self.spus.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = leader.and_then(|leader| spus().get(&leader).cloned()) else {
            return not_now("the SPU that keeps the consumer offsets is away: try again in a moment");
        };
        let (reply, answer) = oneshot::channel();
        if sender.try_send(OffsetsCall { request, reply }).is_err() {
            return not_now("the SPU that keeps the consumer offsets is busy: try again in a moment");
        }
        match timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => not_now("the SPU that keeps the consumer offsets went away: try again in a moment"),
            Err(_) => not_now("the SPU that keeps the consumer offsets did not answer in time"),
        }
    }
}
