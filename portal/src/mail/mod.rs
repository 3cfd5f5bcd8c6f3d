//! Mail: plain text through a mail server, or into a folder that the portal itself shows.

pub mod letters;
pub mod outbox;
mod smtp;

use std::path::PathBuf;

use anyhow::Context as _;
use lettre::Message;
use lettre::message::header::{ContentTransferEncoding, ContentType};
use lettre::message::{Body, Mailbox};
use tokio_util::sync::CancellationToken;

use crate::config::MailConfig;
use crate::mail::letters::Letter;
use crate::problem::Problem;

/// Who writes when the outbox is used; nobody answers such mail.
const OUTBOX_FROM: &str = "Fluvio Cloud <cloud@localhost.localdomain>";

/// Sends mail.
pub struct Mailer {
    from: Mailbox,
    way: Way,
}

enum Way {
    Outbox(PathBuf),
    Smtp(smtp::Queue),
}

impl Mailer {
    /// Ready to send.
    pub fn new(config: &MailConfig, stopping: &CancellationToken) -> anyhow::Result<Self> {
        match config {
            MailConfig::Outbox { directory } => {
                std::fs::create_dir_all(directory)
                    .with_context(|| format!("create the outbox {}", directory.display()))?;
                let from = OUTBOX_FROM.parse().context("the outbox's sender")?;
                Ok(Mailer { from, way: Way::Outbox(directory.clone()) })
            }
            MailConfig::Smtp { host, port, from, username_file, password_file } => {
                let login = username_file.as_deref().zip(password_file.as_deref());
                let queue = smtp::Queue::start(host, *port, login, stopping.clone())?;
                let from = from.parse().with_context(|| format!("mail.from is no address: {from}"))?;
                Ok(Mailer { from, way: Way::Smtp(queue) })
            }
        }
    }

    /// The folder that the portal shows, if mail goes there.
    pub fn outbox(&self) -> Option<&std::path::Path> {
        match &self.way {
            Way::Outbox(directory) => Some(directory),
            Way::Smtp(_) => None,
        }
    }

    /// Sends a letter: into the folder at once, to a mail server by and by, so that the server's speed tells
    /// nobody anything.
    pub async fn send(&self, to: &str, letter: Letter) -> Result<(), Problem> {
        let message = self.message(to, letter).map_err(|error| Problem::internal(&error))?;
        match &self.way {
            Way::Outbox(directory) => outbox::write(directory, &message.formatted())
                .await
                .map_err(|error| Problem::internal(&error)),
            Way::Smtp(queue) => queue.put(message),
        }
    }

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
