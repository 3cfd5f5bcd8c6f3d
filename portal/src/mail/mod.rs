//! Mail: plain text through a mail server, or into a table that the portals themselves show.

pub mod letters;
mod smtp;

use anyhow::Context as _;
use cidr::IpInet;
use lettre::Message;
use lettre::message::header::{ContentTransferEncoding, ContentType};
use lettre::message::{Body, Mailbox};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::config::MailConfig;
use crate::db::outbox;
use crate::mail::letters::Letter;
use crate::problem::Problem;

/// Sends mail.
pub enum Mailer {
    /// Into the table.
    Outbox(Outbox),
    /// Through a mail server.
    Server(Server),
}

/// Mail of a cloud without a mail server.
pub struct Outbox {
    pool: PgPool,
    /// Who may read it.
    pub readers: Vec<IpInet>,
}

/// A mail server, and who writes.
pub struct Server {
    from: Mailbox,
    queue: smtp::Queue,
}

impl Mailer {
    /// Ready to send.
    pub fn new(config: &MailConfig, pool: &PgPool, stopping: &CancellationToken) -> anyhow::Result<Self> {
        match config {
            MailConfig::Outbox { readers } => {
                Ok(Mailer::Outbox(Outbox { pool: pool.clone(), readers: readers.clone() }))
            }
            MailConfig::Smtp { host, port, from, username_file, password_file } => {
                let login = username_file.as_deref().zip(password_file.as_deref());
                let queue = smtp::Queue::start(host, *port, login, stopping.clone())?;
                let from = from.parse().with_context(|| format!("mail.from is no address: {from}"))?;
                Ok(Mailer::Server(Server { from, queue }))
            }
        }
    }

    /// The table that the portals show, if mail goes there.
    pub fn outbox(&self) -> Option<&Outbox> {
        match self {
            Mailer::Outbox(outbox) => Some(outbox),
            Mailer::Server(_) => None,
        }
    }

    /// Sends a letter: into the table at once, to a mail server by and by, so that the server's speed tells nobody
    /// anything.
    pub async fn send(&self, to: &str, letter: Letter) -> Result<(), Problem> {
        match self {
            Mailer::Outbox(outbox) => {
                Ok(outbox::insert(&outbox.pool, to, letter.subject, &letter.text).await?)
            }
            Mailer::Server(server) => {
                let message = server.message(to, letter).map_err(|error| Problem::internal(&error))?;
                server.queue.put(message)
            }
        }
    }
}

impl Server {
    fn message(&self, to: &str, letter: Letter) -> anyhow::Result<Message> {
        Ok(Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to.parse()?))
            .subject(letter.subject)
            .header(ContentType::TEXT_PLAIN)
            .body(plain(&letter.text)?)?)
    }
}

/// Seven bits, nothing encoded, so that a link stays whole also for who reads the file itself. The library would
/// encode lines of more than 76 characters; mail servers take up to 998.
fn plain(text: &str) -> anyhow::Result<Body> {
    anyhow::ensure!(text.is_ascii(), "a letter is not plain ASCII");
    anyhow::ensure!(text.lines().all(|line| line.len() <= 998), "a letter has a line that is too long");
    let lines: String = text.lines().flat_map(|line| [line, "\r\n"]).collect();
    Ok(Body::dangerous_pre_encoded(lines.into_bytes(), ContentTransferEncoding::SevenBit))
}
