//! `/outbox`: the mails of a cloud on one machine. Only for browsers on that machine.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;

use crate::app::App;
use crate::edge::address::ClientAddress;
use crate::mail::outbox::{self, Mail};
use crate::pages::frame::{Frame, Visitor};
use crate::problem::Problem;

#[derive(Template)]
#[template(path = "outbox.html")]
struct OutboxPage {
    frame: Frame,
    mails: Vec<Mail>,
}

#[derive(Template)]
#[template(path = "outbox_mail.html")]
struct MailPage {
    frame: Frame,
    mail: Mail,
}

impl MailPage {
    /// The text by lines; a line that is a link of ours can be clicked.
    fn lines(&self) -> impl Iterator<Item = (bool, &str)> {
        self.mail.text.lines().map(|line| (line.starts_with("http://") || line.starts_with("https://"), line))
    }
}

fn directory(app: &App, address: ClientAddress) -> Result<&std::path::Path, Problem> {
    app.mailer.outbox().filter(|_| address.0.is_loopback()).ok_or(Problem::Missing("page"))
}

/// `GET /outbox`.
pub async fn list(
    State(app): State<App>,
    address: ClientAddress,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let mails = outbox::list(directory(&app, address)?).await.map_err(|error| Problem::internal(&error))?;
    super::page(&OutboxPage { frame: visitor.frame(&app), mails })
}

/// `GET /outbox/{id}`.
pub async fn read(
    State(app): State<App>,
    address: ClientAddress,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let mail = outbox::read(directory(&app, address)?, &id)
        .await
        .map_err(|error| Problem::internal(&error))?
        .ok_or(Problem::Missing("mail"))?;
    super::page(&MailPage { frame: visitor.frame(&app), mail })
}
