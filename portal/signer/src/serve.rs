//! The loop: woken by a notification, and by a timer in case one was missed, it answers all that is pending.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgListener, PgPoolOptions};
use time::OffsetDateTime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tracing::{error, info, warn};
use uuid::Uuid;

use crate::authority::{self, AuthorityError};
use crate::config::Config;
use crate::issue::{IssueError, issue};
use crate::policy;
use crate::seal::{Owner, Sealer};
use crate::store::{self, Position, Release, StoreError};

/// The channel on which new requests are announced.
const CHANNEL: &str = "certificate_requests";
/// How long a missed notification can go unnoticed.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Pause before the next attempt to reach the database.
const RETRY: Duration = Duration::from_secs(1);
/// Requests read at a time; each pass goes through all of them.
const PAGE: i64 = 64;

/// What one pass did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Certificates released.
    pub issued: usize,
    /// Requests refused.
    pub refused: usize,
    /// Requests left for the next pass.
    pub failed: usize,
}

/// Why a single request has no answer yet.
#[derive(Debug, thiserror::Error)]
enum AnswerError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    Issue(#[from] IssueError),
}

/// Serves until SIGTERM or SIGINT.
pub async fn serve(config: &Config, sealer: Sealer) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let pool = PgPoolOptions::new()
        .max_connections(4)
        .acquire_timeout(Duration::from_secs(5))
        .connect_lazy_with(config.database()?);
    let look = Arc::new(Notify::new());
    let ear = tokio::spawn(listen(pool.clone(), Arc::clone(&look)));
    info!("answering certificate requests");
    let work = async {
        loop {
            match pass(&pool, &sealer).await {
                Ok(tally) if tally != Tally::default() => {
                    info!(issued = tally.issued, refused = tally.refused, failed = tally.failed, "answered");
                }
                Ok(_) => {}
                Err(error) => warn!(%error, "cannot read the requests; trying again"),
            }
            let _ = tokio::time::timeout(LOOK_AGAIN, look.notified()).await;
        }
    };
    // Cutting a pass short is safe: it leaves what a crash would leave.
    tokio::select! {
        () = work => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    ear.abort();
    info!("stopped");
    Ok(())
}

/// Turns notifications into wake-ups. A task of its own, because receiving cannot be broken off half-way.
async fn listen(pool: PgPool, look: Arc<Notify>) {
    loop {
        if let Err(error) = hear(&pool, &look).await {
            warn!(%error, "not hearing of new requests; looking every {LOOK_AGAIN:?} instead");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn hear(pool: &PgPool, look: &Notify) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    loop {
        // Also after the connection was lost and made again: something may have been said in between.
        look.notify_one();
        listener.try_recv().await?;
    }
}

/// Answers everything that is pending now. One request that cannot be answered holds up no other.
pub async fn pass(pool: &PgPool, sealer: &Sealer) -> Result<Tally, StoreError> {
    let mut tally = Tally::default();
    let mut position = Position { at: OffsetDateTime::UNIX_EPOCH, id: Uuid::nil() };
    loop {
        let page = store::pending(pool, position, PAGE).await?;
        let Some(last) = page.last().copied() else { return Ok(tally) };
        for request in page {
            match answer(pool, sealer, request.id).await {
                Ok(Answer::Issued) => tally.issued += 1,
                Ok(Answer::Refused) => tally.refused += 1,
                Ok(Answer::Elsewhere) => {}
                Err(error) => {
                    tally.failed += 1;
                    error!(request = %request.id, %error, "no answer to a certificate request");
                }
            }
        }
        position = last;
    }
}

/// What became of a request.
enum Answer {
    Issued,
    Refused,
    /// Answered by another signer, or to be looked at again.
    Elsewhere,
}

async fn answer(pool: &PgPool, sealer: &Sealer, id: Uuid) -> Result<Answer, AnswerError> {
    let Some(request) = store::read(pool, id).await? else { return Ok(Answer::Elsewhere) };
    let grant = match policy::decide(&request) {
        Ok(grant) => grant,
        Err(refusal) => {
            store::refuse(pool, id, &refusal.to_string()).await?;
            return Ok(Answer::Refused);
        }
    };
    let kept = store::authority(pool, sealer, &request).await?;
    let owner = Owner { tenant: request.tenant, cluster: request.cluster, purpose: request.kind };
    let authority = authority::open(sealer, &owner, &kept)?;
    let terms = store::record(pool, &request, &grant, authority.not_after).await?;
    let der = issue(&authority, &grant, &terms)?;
    match store::release(pool, &request, &der).await? {
        Release::Issued => Ok(Answer::Issued),
        Release::Overtaken => Ok(Answer::Elsewhere),
    }
}
