//! What handlers share, built once by `server::serve` from the configuration.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::accounts::access_token::Signer;
use crate::accounts::passwords::Passwords;
use crate::clusters::regions;
use crate::config::{self, ServeConfig};
use crate::db::sweep;
use crate::edge::rates::{Rate, Store};
use crate::live::Live;
use crate::mail::Mailer;

/// How long a request waits for a connection to the database before it answers "try again".
const DATABASE_PATIENCE: Duration = Duration::from_secs(3);
/// Connections to the database.
const DATABASE_CONNECTIONS: u32 = 12;
/// Event streams at once, over all people.
pub const EVENT_STREAMS: usize = 2_000;

/// How often rows that nobody needs any more are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);
/// After the database did not answer, before the next attempt.
const RETRY: Duration = Duration::from_secs(2);
/// How often full buckets are: anybody on the network can make one.
const SWEEP_RATES_EVERY: Duration = Duration::from_secs(60);
/// Requests of one client of which the database hears at once: one statement a request would be the dearest part
/// of most of them.
const REQUESTS_EACH: u32 = 20;

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
    /// Cancelled when a stop was asked for: requests are still served, and no new ones should be sent here.
    pub draining: CancellationToken,
    /// Cancelled when the portal stops; event streams end on it.
    pub stopping: CancellationToken,
}

/// How fast things may be tried.
pub struct Rates {
    /// Sign-ups by client address.
    pub sign_ups: Rate,
    /// Mails to one address: nobody's inbox is flooded through us.
    pub mails: Rate,
    /// Failed sign-ins by client address.
    pub sign_ins: Rate,
    /// Failed sign-ins by account and client address.
    pub guesses: Rate,
    /// Failed sign-ins by account, over all addresses but those it signed in from before.
    pub accounts: Rate,
    /// Requests to the JSON API by client address.
    pub requests: Rate,
}

impl Rates {
    fn new(config: &ServeConfig, pool: &PgPool) -> Self {
        let rates = config.rates;
        let seconds = |n: u32| Duration::from_secs(n.into());
        let store = Store::new(pool.clone());
        let rate = |kind, burst, period| Rate::new(&store, kind, burst, period);
        Rates {
            sign_ups: rate("sign_up", rates.sign_ups, seconds(rates.seconds_per_sign_up)),
            mails: rate("mail", 5, seconds(120)),
            sign_ins: rate("sign_in", rates.failed_sign_ins, seconds(1)),
            guesses: rate("guess", 10, seconds(20)),
            accounts: rate("account", 50, seconds(10)),
            requests: rate("request", rates.requests, Duration::from_millis(5)).settled_each(REQUESTS_EACH),
        }
    }

    /// Forgets what need not be remembered.
    async fn sweep(&self) -> sqlx::Result<u64> {
        let all =
            [&self.sign_ups, &self.mails, &self.sign_ins, &self.guesses, &self.accounts, &self.requests];
        let mut rows = 0;
        for rate in all {
            rows += rate.sweep().await?;
        }
        Ok(rows)
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
    let mailer = Mailer::new(&config.mail, &pool, &stopping)?;
    let passwords = Passwords::new().await?;
    let live = Live::start(pool.clone(), stopping.clone());
    let rates = Rates::new(&config, &pool);
    let streams = Arc::new(Semaphore::new(EVENT_STREAMS));
    let app = Arc::new(AppState {
        config,
        pool,
        passwords,
        signer,
        mailer,
        live,
        rates,
        streams,
        draining: CancellationToken::new(),
        stopping,
    });
    tokio::spawn(make_region_known(app.clone()));
    tokio::spawn(sweep_forever(app.clone()));
    tokio::spawn(sweep_rates_forever(app.clone()));
    Ok(app)
}

/// Makes the region of the configuration known as soon as the database answers.
async fn make_region_known(app: App) {
    while let Err(error) = regions::make_default_known(&app.pool, &app.config).await {
        tracing::warn!("cannot make the region {} known yet: {error}", app.config.region);
        if !waited(&app, RETRY).await {
            return;
        }
    }
}

/// Forgets rows that nobody needs any more.
async fn sweep_forever(app: App) {
    while waited(&app, SWEEP_EVERY).await {
        note(sweep::all(&app.pool).await);
    }
}

/// Forgets buckets that are full again.
async fn sweep_rates_forever(app: App) {
    while waited(&app, SWEEP_RATES_EVERY).await {
        note(app.rates.sweep().await);
    }
}

/// Waits; `false` when the portal stops.
async fn waited(app: &App, time: Duration) -> bool {
    tokio::select! {
        () = app.stopping.cancelled() => false,
        () = tokio::time::sleep(time) => true,
    }
}

fn note(swept: sqlx::Result<u64>) {
    match swept {
        Ok(0) => {}
        Ok(rows) => tracing::info!(rows, "forgot rows that nobody needs any more"),
        Err(error) => tracing::warn!("cannot sweep: {error}"),
    }
}
