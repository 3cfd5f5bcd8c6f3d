//! The names of objects, each kept once: every cluster has a `sc-0`.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Names beyond so many are not those that our builders give.
const MOST: usize = 512;

static NAMES: Mutex<Option<HashSet<Arc<str>>>> = Mutex::new(None);

/// The one copy of a name.
pub fn shared(name: &str) -> Arc<str> {
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let names = names.get_or_insert_default();
    if let Some(known) = names.get(name) {
        return Arc::clone(known);
    }
    let new: Arc<str> = name.into();
    if names.len() < MOST {
        names.insert(Arc::clone(&new));
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_once() {
        assert!(Arc::ptr_eq(&shared("sc-0"), &shared("sc-0")));
        assert_eq!(&*shared("main-0"), "main-0");
    }
}
