//! What handlers share, built once by `server::serve` from the configuration.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::accounts::access_token::Signer;
use crate::accounts::passwords::Passwords;
use crate::config::{self, ServeConfig};
use crate::db::sweep;
use crate::edge::rates::Rate;
use crate::live::Live;
use crate::mail::Mailer;

/// How long a request waits for a connection to the database before it answers "try again".
const DATABASE_PATIENCE: Duration = Duration::from_secs(3);
/// Connections to the database.
const DATABASE_CONNECTIONS: u32 = 12;
/// Event streams at once, over all people.
const EVENT_STREAMS: usize = 2_000;

/// How often rows that nobody needs any more are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// The shared state; cheap to clone.
pub type App = Arc<AppState>;

/// What handlers share.
pub struct AppState {
    /// The configuration.
    pub config: ServeConfig,
    /// Connections to the database.
    pub pool: PgPool,
    /// Hashes and checks passwords.
    pub passwords: Passwords,
    /// Signs and checks access tokens.
    pub signer: Signer,
    /// Sends mail.
    pub mailer: Mailer,
    /// Tells when to look again.
    pub live: Live,
    /// How fast things may be tried.
    pub rates: Rates,
    /// Room for event streams.
    pub streams: Arc<Semaphore>,
    /// Cancelled when the portal stops; event streams end on it.
    pub stopping: CancellationToken,
}

/// How fast things may be tried.
pub struct Rates {
    /// Sign-ups by client address.
    pub sign_ups: Rate<IpAddr>,
    /// Mails to one address: nobody's inbox is flooded through us.
    pub mails: Rate<String>,
    /// Failed sign-ins by client address.
    pub sign_ins: Rate<IpAddr>,
    /// Failed sign-ins by account and client address.
    pub guesses: Rate<(String, IpAddr)>,
    /// Failed sign-ins by account, over all addresses but those it signed in from before.
    pub accounts: Rate<String>,
    /// Requests to the JSON API by client address.
    pub requests: Rate<IpAddr>,
}

impl Rates {
    fn new(config: &ServeConfig) -> Self {
        let rates = config.rates;
        let seconds = |n: u32| Duration::from_secs(n.into());
        Rates {
            sign_ups: Rate::new(rates.sign_ups, seconds(rates.seconds_per_sign_up)),
            mails: Rate::new(5, seconds(120)),
            sign_ins: Rate::new(rates.failed_sign_ins, seconds(1)),
            guesses: Rate::new(10, seconds(20)),
            accounts: Rate::new(50, seconds(10)),
            requests: Rate::new(rates.requests, Duration::from_millis(5)),
        }
    }
}

/// Builds everything. The database need not answer yet.
pub async fn build(config: ServeConfig, stopping: CancellationToken) -> anyhow::Result<App> {
    let options = config::database_options(&config.database_url_file)?
        .application_name("portal")
        .options([("statement_timeout", "10s"), ("lock_timeout", "5s")]);
    let pool = PgPoolOptions::new()
        .max_connections(DATABASE_CONNECTIONS)
        .acquire_timeout(DATABASE_PATIENCE)
        .connect_lazy_with(options);
    let key = config::read_secret(&config.jwt_key_file)?;
    let signer = Signer::new(&key, &config.public_url)
        .with_context(|| format!("{} holds no P-256 key (PKCS#8 PEM)", config.jwt_key_file.display()))?;
    let mailer = Mailer::new(&config.mail, &stopping)?;
    let passwords = Passwords::new().await?;
    let live = Live::start(pool.clone(), stopping.clone());
    tokio::spawn(sweep_forever(pool.clone(), stopping.clone()));
    let rates = Rates::new(&config);
    let streams = Arc::new(Semaphore::new(EVENT_STREAMS));
    Ok(Arc::new(AppState { config, pool, passwords, signer, mailer, live, rates, streams, stopping }))
}

/// Forgets rows that nobody needs any more.
async fn sweep_forever(pool: PgPool, stopping: CancellationToken) {
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(SWEEP_EVERY) => {}
        }
        match sweep::all(&pool).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "forgot rows that nobody needs any more"),
            Err(error) => tracing::warn!("cannot sweep: {error}"),
        }
    }
}
