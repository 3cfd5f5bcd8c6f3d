//! Objects that are not topics.

use std::collections::BTreeSet;
use std::sync::Arc;

use uuid::Uuid;

use super::Engine;
use crate::sc::Refusal;
use crate::sc::metadata::Metadata;
use crate::sc::objects::{self, Asked};

impl Engine {
    /// The code of a SmartModule that is asked for is on disk already; what nobody names afterwards is removed.
    pub(super) async fn change_object(&mut self, asked: Asked, dry_run: bool) -> Result<u64, Refusal> {
        self.is_open()?;
        let settings = self.state.settings.as_deref();
        let own: Vec<_> = settings
            .into_iter()
            .flat_map(|settings| &settings.spus)
            .map(|spu| (spu.id, spu.name.as_str()))
            .collect();
        let before = Arc::clone(&self.state.metadata);
        let next = objects::decide(&before, &own, asked);
        if dry_run {
            return next.map(|_| before.revision);
        }
        let revision = self.commit_asked(next).await?;
        let now = code_files(&self.state.metadata);
        let gone: Vec<_> = code_files(&before).difference(&now).copied().collect();
        if !gone.is_empty() {
            let files = self.store.code_files();
            tokio::task::spawn_blocking(move || gone.into_iter().for_each(|file| files.remove(file)));
        }
        Ok(revision)
    }
}

fn code_files(metadata: &Metadata) -> BTreeSet<Uuid> {
    metadata.objects.smart_modules.values().map(|module| module.code.file).collect()
}
