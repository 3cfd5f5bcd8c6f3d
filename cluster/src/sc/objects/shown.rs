//! SPUs as clients get to see them: the cluster's own as one group, and custom ones beside them.

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster_settings::{PublicEndpoint, SpuEntry};

use super::{CustomSpu, Table};
use crate::sc::state::SpuView;

/// Name of the group of the cluster's own SPUs, which are called `main-0`, `main-1` and so on.
pub const OWN_GROUP: &str = "main";

/// A group of SPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpuGroup {
    /// How many SPUs it has.
    pub n_spus: u16,
    /// The lowest of their ids.
    pub min_id: i32,
}

/// The groups that there are; `known` is kept where nothing changed.
pub fn groups(own: &[SpuEntry], known: &Table<SpuGroup>) -> Table<SpuGroup> {
    let min_id = own.iter().map(|spu| spu.id).min();
    let n_spus = u16::try_from(own.len()).unwrap_or(u16::MAX);
    let group = min_id.map(|min_id| (OWN_GROUP.to_owned(), Arc::new(SpuGroup { n_spus, min_id })));
    let groups: BTreeMap<_, _> = group.into_iter().collect();
    if **known == groups { Arc::clone(known) } else { Arc::new(groups) }
}

/// The cluster's own SPUs and the custom ones, but those whose name or id the settings have given away since. A custom
/// one is never there.
pub fn all_spus(own: &Table<SpuView>, custom: &Table<CustomSpu>, known: &Table<SpuView>) -> Table<SpuView> {
    if custom.is_empty() {
        return Arc::clone(own);
    }
    let is_free = |name: &str, id: i32| !own.iter().any(|(taken, spu)| taken == name || spu.id == id);
    let view = |(name, spu): (&String, &Arc<CustomSpu>)| {
        let view = SpuView {
            id: spu.id,
            endpoint: PublicEndpoint { host: String::new(), port: 0 },
            tls: false,
            rack: None,
            online: false,
            custom: Some(Arc::clone(spu)),
        };
        let known = known.get(name).filter(|known| ***known == view);
        (name.clone(), known.cloned().unwrap_or_else(|| Arc::new(view)))
    };
    let shown = custom.iter().filter(|(name, spu)| is_free(name, spu.id)).map(view);
    let all: BTreeMap<_, _> =
        own.iter().map(|(name, view)| (name.clone(), Arc::clone(view))).chain(shown).collect();
    let same = all.len() == known.len()
        && all.iter().zip(known.iter()).all(|(new, known)| new.0 == known.0 && Arc::ptr_eq(new.1, known.1));
    if same { Arc::clone(known) } else { Arc::new(all) }
}
