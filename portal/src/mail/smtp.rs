//! A mail server, fed from a bounded queue with a few retries.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::problem::Problem;

/// Mails that wait.
const QUEUE: usize = 1_000;
/// Attempts at one mail, and the pause after each.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(2), Duration::from_secs(10), Duration::from_secs(30), Duration::from_secs(60)];
/// How long the server may take over one mail.
const PATIENCE: Duration = Duration::from_secs(30);
/// The port on which TLS begins at once.
const TLS_PORT: u16 = 465;

/// Mails on their way.
pub struct Queue {
    sender: mpsc::Sender<Message>,
}

impl Queue {
    /// Starts the one who sends.
    pub fn start(
        host: &str,
        port: u16,
        login: Option<(&Path, &Path)>,
        stopping: CancellationToken,
    ) -> anyhow::Result<Self> {
        let builder = if port == TLS_PORT {
            AsyncSmtpTransport::<Tokio1Executor>::relay(host)
        } else {
            AsyncSmtpTransport::<Tokio1Executor>::starttls_relay(host)
        };
        let mut builder = builder.context("the mail server")?.port(port).timeout(Some(PATIENCE));
        if let Some((name, password)) = login {
            let credentials = Credentials::new(config::read_secret(name)?, config::read_secret(password)?);
            builder = builder.credentials(credentials);
        }
        let transport = builder.build();
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            tokio::select! { () = stopping.cancelled() => {}, () = send_all(transport, receiver) => {} }
        });
        Ok(Queue { sender })
    }

    /// Puts a mail into the queue.
    pub fn put(&self, message: Message) -> Result<(), Problem> {
        self.sender.try_send(message).map_err(|_| Problem::Unavailable {
            detail: "The mail server is behind. Nothing was lost.",
            retry_after: 60,
        })
    }
}

async fn send_all(transport: AsyncSmtpTransport<Tokio1Executor>, mut queue: mpsc::Receiver<Message>) {
    while let Some(message) = queue.recv().await {
        for pause in PAUSES {
            match transport.send(message.clone()).await {
                Ok(_) => break,
                Err(error) if error.is_permanent() => {
                    tracing::warn!("the mail server refused a mail for good: {error}");
                    break;
                }
                Err(error) => tracing::warn!("the mail server did not take a mail: {error}"),
            }
            tokio::time::sleep(pause).await;
        }
    }
}
