//! Memory for bytes on their way. A connection has none while nothing moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// The size at which copying is fastest.
pub const LARGE: usize = 64 * 1024;
/// The size that everyone gets beyond the pool: slower, never waiting.
pub const SMALL: usize = 8 * 1024;
/// Large buffers kept for the next user; others go back to the system.
const KEPT: usize = 32;

/// A bounded number of large buffers. Who finds none gets a small one, so that readers who stop, and hold
/// their buffers, slow nobody to a halt.
#[derive(Debug)]
pub struct BufferPool {
    bound: usize,
    lent: AtomicUsize,
    kept: Mutex<Vec<Box<[u8]>>>,
}

/// A buffer on loan.
#[derive(Debug)]
pub struct Buffer {
    pool: Arc<BufferPool>,
    bytes: Box<[u8]>,
}

impl BufferPool {
    /// At most `bound` large buffers at once.
    pub fn new(bound: usize) -> Self {
        Self { bound, lent: AtomicUsize::new(0), kept: Mutex::default() }
    }

    /// A buffer, large if there is one.
    pub fn take(self: &Arc<Self>) -> Buffer {
        let more = |lent| (lent < self.bound).then_some(lent + 1);
        let bytes = match self.lent.fetch_update(Ordering::AcqRel, Ordering::Acquire, more) {
            Ok(_) => {
                let kept = self.kept.lock().pop();
                kept.unwrap_or_else(|| vec![0; LARGE].into_boxed_slice())
            }
            Err(_) => vec![0; SMALL].into_boxed_slice(),
        };
        Buffer { pool: self.clone(), bytes }
    }

    /// Large buffers on loan.
    pub fn lent(&self) -> usize {
        self.lent.load(Ordering::Acquire)
    }
}

impl Buffer {
    /// The whole of it; what an earlier user left is in there, so only what was just read may be written.
    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes.len() != LARGE {
            return;
        }
        self.pool.lent.fetch_sub(1, Ordering::AcqRel);
        let mut kept = self.pool.kept.lock();
        if kept.len() < KEPT {
            kept.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_bound_buffers_are_small_and_nobody_waits() {
        let pool = Arc::new(BufferPool::new(2));
        let mut held: Vec<_> = (0..4).map(|_| pool.take()).collect();
        let sizes: Vec<_> = held.iter_mut().map(|b| b.bytes().len()).collect();
        assert_eq!(sizes, [LARGE, LARGE, SMALL, SMALL]);
        held.clear();
        assert_eq!(pool.lent(), 0);
        assert_eq!(pool.take().bytes().len(), LARGE);
    }
}
