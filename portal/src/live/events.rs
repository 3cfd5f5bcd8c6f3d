//! Server-sent events: a stream of patches, each naming elements of the page and their new contents, which are
//! made by the same templates as the page. Only what changed is sent.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use tokio::sync::OwnedSemaphorePermit;

use crate::accounts::person::SignedIn;
use crate::app::{App, EVENT_STREAMS};
use crate::db::sessions::{self, Kind};
use crate::live::Changes;
use crate::problem::Problem;

/// Without a notification, look this often: traffic has none.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// After a look, at least this long before the next, however much changes.
const PAUSE: Duration = Duration::from_millis(80);
/// In a fleet something changes all the time, and every change wakes every page: all pages of a portal together look
/// no more often than once in this time.
const PAUSE_PER_PAGE: Duration = Duration::from_millis(4);

/// Contents by element id.
pub type Fragments = BTreeMap<String, String>;

/// A page that can be patched.
pub trait Patched: Send + 'static {
    /// The page's changing elements as they are now.
    fn fragments(&self, app: &App) -> impl Future<Output = Result<Fragments, Problem>> + Send;
}

struct Watching<P> {
    app: App,
    signed_in: SignedIn,
    page: P,
    changes: Changes,
    sent: Fragments,
    _room: OwnedSemaphorePermit,
}

/// Streams a page's changes until its reader leaves, its sign-in ends or the portal stops.
pub async fn stream<P: Patched>(app: App, signed_in: SignedIn, page: P) -> Result<Response, Problem> {
    let room = app.streams.clone().try_acquire_owned().map_err(|_| Problem::Unavailable {
        detail: "Too many pages are watching. The page still works; load it again to see changes.",
        retry_after: 30,
    })?;
    let changes = app.live.since(app.live.now());
    let watching = Watching { app, signed_in, page, changes, sent: Fragments::new(), _room: room };
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(15));
    Ok(Sse::new(patches(watching)).keep_alive(keep_alive).into_response())
}

fn patches<P: Patched>(watching: Watching<P>) -> impl Stream<Item = Result<Event, Infallible>> {
    futures_util::stream::unfold(watching, |mut watching| async move {
        let stopping = watching.app.stopping.clone();
        let event =
            tokio::select! { () = stopping.cancelled() => None, event = next(&mut watching) => event };
        event.map(|event| (Ok(event), watching))
    })
}

/// The next patch; `None` ends the stream. A database that is away is waited for.
async fn next<P: Patched>(watching: &mut Watching<P>) -> Option<Event> {
    loop {
        match look(watching).await {
            Ok(Some(event)) => return Some(event),
            Ok(None) | Err(Problem::Unavailable { .. }) => {}
            Err(_) => return None,
        }
        let pages = EVENT_STREAMS.saturating_sub(watching.app.streams.available_permits());
        tokio::time::sleep(pause(pages)).await;
        watching.changes.wait_at_most(LOOK_EVERY).await;
    }
}

async fn look<P: Patched>(watching: &mut Watching<P>) -> Result<Option<Event>, Problem> {
    let hash = &watching.signed_in.secret_hash;
    let alive = sessions::person_by_secret(&watching.app.pool, Kind::Browser, hash).await?;
    let person = alive.ok_or(Problem::SignIn("The sign-in has ended."))?;
    if person.operator != watching.signed_in.person.operator {
        return Err(Problem::SignIn("The role has changed."));
    }
    let now = watching.page.fragments(&watching.app).await?;
    let patch = difference(&watching.sent, &now);
    watching.sent = now;
    if patch.is_empty() {
        return Ok(None);
    }
    let event =
        Event::default().event("patch").json_data(patch).map_err(|error| Problem::internal(&error))?;
    Ok(Some(event))
}

/// How long a page rests after a look when so many are watched.
fn pause(pages: usize) -> Duration {
    PAUSE.max(PAUSE_PER_PAGE.saturating_mul(u32::try_from(pages).unwrap_or(u32::MAX)))
}

/// What is new or other than before.
fn difference(before: &Fragments, now: &Fragments) -> Fragments {
    let changed = now.iter().filter(|(id, html)| before.get(*id) != Some(html));
    changed.map(|(id, html)| (id.clone(), html.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_page_follows_at_once_and_many_share_the_database() {
        for (pages, milliseconds) in [(0, 80), (1, 80), (20, 80), (500, 2_000), (2_000, 8_000)] {
            assert_eq!(pause(pages), Duration::from_millis(milliseconds), "{pages}");
        }
    }

    #[test]
    fn only_what_changed_is_sent() {
        let fragments = |pairs: &[(&str, &str)]| -> Fragments {
            pairs.iter().map(|(id, html)| ((*id).to_owned(), (*html).to_owned())).collect()
        };
        let before = fragments(&[("a", "1"), ("b", "2")]);
        assert!(difference(&before, &before).is_empty());
        assert_eq!(difference(&before, &fragments(&[("a", "1"), ("b", "3")])), fragments(&[("b", "3")]));
        assert_eq!(difference(&Fragments::new(), &before), before);
    }
}
