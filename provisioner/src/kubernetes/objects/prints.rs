//! The fingerprints of a cluster's wanted objects, kept for as long as what they are made from stays the same: a pass
//! compares all of them several times, and building them is most of what it would do.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Ref, Shape, Site, build};
use crate::kubernetes::covers::fingerprint;

/// See the module.
#[derive(Debug, Default)]
pub struct Prints {
    shape: Option<u64>,
    each: Box<[u64]>,
}

impl Prints {
    /// The fingerprints of `all`, which are the objects of `shape`; 0 for one that is not built.
    pub fn of(&mut self, site: &Site, shape: &Shape, all: &[Ref]) -> &[u64] {
        let mut hasher = DefaultHasher::new();
        shape.hash(&mut hasher);
        let now = Some(hasher.finish());
        if self.shape != now {
            let print = |object| build(site, shape, object).map_or(0, |wanted| fingerprint(&wanted));
            self.each = all.iter().map(print).collect();
            self.shape = now;
        }
        &self.each
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{shape, site};
    use super::*;
    use crate::kubernetes::objects;

    #[test]
    fn every_change_of_what_objects_are_made_from_is_noticed() {
        let (site, mut shape, mut prints) = (site(&[]), shape(), Prints::default());
        let mut seen = Vec::new();
        for change in [
            |_: &mut Shape| {},
            |shape: &mut Shape| shape.spus += 1,
            |shape: &mut Shape| shape.runs = !shape.runs,
            |shape: &mut Shape| shape.internal = Some("another".into()),
            |shape: &mut Shape| shape.domain = "another.example".into(),
        ] {
            change(&mut shape);
            let all = objects::all(&site, &shape);
            let built: Vec<u64> = all
                .iter()
                .map(|object| build(&site, &shape, object).map_or(0, |wanted| fingerprint(&wanted)))
                .collect();
            assert_eq!(prints.of(&site, &shape, &all), built);
            assert!(!seen.contains(&built));
            seen.push(built);
        }
    }
}
