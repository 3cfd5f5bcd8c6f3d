//! Queries, one file a noun. Every query about a tenant's things takes the organisation first.

pub mod access;
pub mod audit;
pub mod certificates;
pub mod clusters;
pub mod fleet;
pub mod idempotency;
pub mod links;
pub mod organisations;
pub mod outbox;
pub mod rates;
pub mod refresh;
pub mod regions;
pub mod roles;
pub mod sessions;
pub mod sizes;
pub mod sweep;
pub mod tokens;
pub mod usage;
pub mod users;

use std::time::Duration;

use anyhow::Context as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use crate::config::{self, MigrateConfig};

/// The schema's steps, carried inside the program.
static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../migrations");

/// How often a program that waits for Postgres tries again.
const RETRY: Duration = Duration::from_secs(1);
/// A packet to a server that has just gone is answered by nobody: the next attempt may find the new one.
const ATTEMPT: Duration = Duration::from_secs(5);
/// One line a few seconds is enough to say what is waited for.
const SAY_EVERY: u32 = 5;

/// `portal migrate`: brings the database to this program's schema.
pub async fn migrate(config: &MigrateConfig) -> anyhow::Result<()> {
    let options = config::database_options(&config.owner_url_file)?;
    let mut connection = connect_patiently(&options).await?;
    MIGRATOR.run(&mut connection).await.context("migrate the database")?;
    roles::admit(&mut connection, &config.role_password_files).await?;
    connection.close().await.context("close the connection")?;
    tracing::info!("the database has the schema of this program");
    Ok(())
}

/// Connects, and waits for a server that is not there yet. A server that answers with a refusal (wrong role,
/// no such database) is not waited for.
pub async fn connect_patiently(options: &PgConnectOptions) -> anyhow::Result<PgConnection> {
    for attempt in 0u32.. {
        let attempted = tokio::time::timeout(ATTEMPT, options.connect()).await;
        match attempted.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))) {
            Ok(connection) => return Ok(connection),
            Err(sqlx::Error::Database(error)) if error.code().as_deref() != Some("57P03") => {
                return Err(anyhow::Error::new(sqlx::Error::Database(error)).context("connect to Postgres"));
            }
            Err(error) if attempt % SAY_EVERY == 0 => tracing::warn!("waiting for Postgres: {error}"),
            Err(_) => {}
        }
        tokio::time::sleep(RETRY).await;
    }
    anyhow::bail!("Postgres did not answer")
}

/// Maps a violated unique constraint to a problem of the caller's.
pub fn violates(error: &sqlx::Error, constraint: &str) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.constraint() == Some(constraint))
}
