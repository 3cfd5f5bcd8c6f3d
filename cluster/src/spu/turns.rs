//! The order in which requests do something, fixed when they arrive and not by who is polled first.

use tokio::sync::oneshot;

/// Gives out turns.
#[derive(Debug, Default)]
pub(super) struct Turns {
    last: Option<oneshot::Receiver<()>>,
}

/// One place in the order.
#[derive(Debug)]
pub(super) struct Turn {
    before: Option<oneshot::Receiver<()>>,
    next: Next,
}

/// Lets the next one come when it is dropped.
#[derive(Debug)]
pub(super) struct Next {
    _sender: oneshot::Sender<()>,
}

impl Turns {
    /// The place behind all others.
    pub(super) fn next(&mut self) -> Turn {
        let (sender, receiver) = oneshot::channel();
        Turn { before: self.last.replace(receiver), next: Next { _sender: sender } }
    }
}

impl Turn {
    /// Waits until those before are through, or were given up.
    pub(super) async fn come(self) -> Next {
        if let Some(before) = self.before {
            // Nothing is ever sent: the end of the channel is the sign.
            let _ = before.await;
        }
        self.next
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn turns_come_in_the_order_in_which_they_were_given() {
        let mut turns = Turns::default();
        let (first, mut second) = (turns.next(), Box::pin(turns.next().come()));
        let third = turns.next();
        assert!(second.as_mut().now_or_never().is_none());
        let now = first.come().now_or_never().unwrap();
        assert!(second.as_mut().now_or_never().is_none());
        drop(now);
        assert!(second.now_or_never().is_some());
        let fourth = turns.next();
        drop(third);
        assert!(fourth.come().now_or_never().is_some(), "one that was given up bars nobody");
    }
}
