//! `fluvio smartmodule …` and `fluvio table-format …`: what a cluster keeps beside topics. Names of commands and options
//! are upstream's.

mod smart_module;
mod table_format;

use std::path::Path;

use clap::Args;

pub use self::smart_module::SmartModuleCommand;
pub use self::table_format::TableFormatCommand;
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::{self, Form, progress};
use crate::streams::target::answer;

/// Options of `… list`.
#[derive(Debug, Args)]
pub struct List {
    /// The form of the answer
    #[arg(long, short = 'O', value_enum, default_value_t = Form::Table)]
    output: Form,
}

/// Options of `… delete`.
#[derive(Debug, Args)]
pub struct Delete {
    /// Their names
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Go on with the others when one cannot be deleted
    #[arg(long, short = 'c')]
    continue_on_error: bool,
}

impl Delete {
    /// Runs the command for this kind of object, of which `list` shows what there is.
    async fn run(
        &self,
        kind: &str,
        list: &str,
        delete: impl AsyncFn(String) -> anyhow::Result<()>,
    ) -> Outcome {
        let mut failed = 0_usize;
        for name in &self.names {
            let doing = format!("{kind} {name} was not deleted");
            match answer(&doing, delete(name.clone())).await {
                Ok(()) => output::line(&format!("{kind} \"{name}\" deleted"))?,
                Err(failure) if self.continue_on_error => {
                    failed += 1;
                    progress::warn(&failure.to_string());
                }
                Err(failure) => return Err(failure.with_fix(format!("{list} shows what is there"))),
            }
        }
        if failed == 0 {
            return Ok(0);
        }
        Err(Failure::failed(format!("{failed} of {} were not deleted", self.names.len()))
            .with_fix("the warnings above say why"))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).or_fail(&format!("{} cannot be read", path.display()))
}
