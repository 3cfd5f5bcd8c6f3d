//! `fluvio cluster spu list`.

use clap::{Args, Subcommand};
use fluvio::metadata::objects::Metadata;
use fluvio::metadata::spu::SpuSpec;
use serde::Serialize;

use super::target::{Target, answer};
use crate::failure::Outcome;
use crate::output::{self, Form, Table};
use crate::places::Places;

/// Look at SPUs
#[derive(Debug, Subcommand)]
pub enum SpuCommand {
    /// List the SPUs
    List(List),
}

/// Options of `cluster spu list`.
#[derive(Debug, Args)]
pub struct List {
    /// The form of the answer
    #[arg(long, short = 'O', value_enum, default_value_t = Form::Table)]
    output: Form,
}

#[derive(Serialize)]
struct Row {
    id: i32,
    name: String,
    status: String,
    kind: String,
    rack: Option<String>,
    public: String,
}

impl From<&Metadata<SpuSpec>> for Row {
    fn from(spu: &Metadata<SpuSpec>) -> Self {
        Self {
            id: spu.spec.id,
            name: spu.name.clone(),
            status: format!("{:?}", spu.status.resolution),
            kind: spu.spec.spu_type.to_string().trim_matches('"').to_owned(),
            rack: spu.spec.rack.clone(),
            public: spu.spec.public_endpoint.addr(),
        }
    }
}

impl SpuCommand {
    /// Runs the command.
    pub async fn run(&self, target: &Target, places: &Places) -> Outcome {
        let Self::List(options) = self;
        let admin = target.admin(places).await?;
        let spus = answer("the SPUs cannot be listed", admin.all::<SpuSpec>()).await?;
        let mut rows: Vec<Row> = spus.iter().map(Row::from).collect();
        rows.sort_by_key(|row| row.id);
        output::show(options.output, rows.as_slice(), table)?;
        Ok(0)
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["ID", "NAME", "STATUS", "TYPE", "RACK", "PUBLIC"]);
    for row in rows {
        table.row([
            row.id.to_string(),
            row.name.clone(),
            row.status.clone(),
            row.kind.clone(),
            row.rack.clone().unwrap_or_default(),
            row.public.clone(),
        ]);
    }
    table
}
