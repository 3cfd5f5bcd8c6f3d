//! `/outbox`: the mails of a cloud without a mail server. Only for browsers of the declared networks, which is the
//! cloud's own machine when nothing is said.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use time::OffsetDateTime;

use crate::app::App;
use crate::db::outbox::{self, MailRow};
use crate::edge::address::ClientAddress;
use crate::pages::frame::{Frame, Visitor};
use crate::problem::Problem;
use crate::show::When;

/// Mails shown at once.
const MOST_SHOWN: i64 = 100;

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

struct Mail {
    row: MailRow,
    sent: When,
}

impl Mail {
    fn new(row: MailRow, now: OffsetDateTime) -> Self {
        Mail { sent: When::new(row.created_at, now), row }
    }
}

impl MailPage {
    /// The text by lines; a line that is a link of ours can be clicked.
    fn lines(&self) -> impl Iterator<Item = (bool, &str)> {
        let is_link = |line: &str| line.starts_with("http://") || line.starts_with("https://");
        self.mail.row.body.lines().map(move |line| (is_link(line), line))
    }
}

fn check_reader(app: &App, address: ClientAddress) -> Result<(), Problem> {
    let outbox = app.mailer.outbox().ok_or(Problem::Missing("page"))?;
    let may_read = outbox.readers.iter().any(|network| network.contains(&address.0));
    if may_read { Ok(()) } else { Err(Problem::Missing("page")) }
}

/// `GET /outbox`.
pub async fn list(
    State(app): State<App>,
    address: ClientAddress,
    visitor: Visitor,
) -> Result<Response, Problem> {
    check_reader(&app, address)?;
    let now = OffsetDateTime::now_utc();
    let mails = outbox::list(&app.pool, MOST_SHOWN).await?;
    let mails = mails.into_iter().map(|row| Mail::new(row, now)).collect();
    super::page(&OutboxPage { frame: visitor.frame(&app), mails })
}

/// `GET /outbox/{id}`.
pub async fn read(
    State(app): State<App>,
    address: ClientAddress,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    check_reader(&app, address)?;
    let id = id.parse().map_err(|_| Problem::Missing("mail"))?;
    let row = outbox::find(&app.pool, id).await?.ok_or(Problem::Missing("mail"))?;
    let mail = Mail::new(row, OffsetDateTime::now_utc());
    super::page(&MailPage { frame: visitor.frame(&app), mail })
}
