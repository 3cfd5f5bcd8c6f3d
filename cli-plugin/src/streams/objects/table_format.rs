//! `fluvio table-format …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use fluvio::FluvioAdmin;
use fluvio::metadata::objects::Metadata;
use fluvio::metadata::tableformat::{DataFormat, TableFormatColumnConfig, TableFormatSpec};
use serde::{Deserialize, Serialize};

use super::{Delete, List, read};
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::{self, Form, Table, progress};
use crate::places::Places;
use crate::streams::target::{Target, answer};

/// Keep, list and delete table formats
#[derive(Debug, Subcommand)]
pub enum TableFormatCommand {
    /// Keep a table format on the cluster
    Create(Create),
    /// List the table formats
    List(List),
    /// Delete table formats
    Delete(Delete),
}

/// Options of `table-format create`.
#[derive(Debug, Args)]
pub struct Create {
    /// What describes it, its name included, in YAML
    #[arg(long, short = 'c', value_name = "FILE")]
    config: PathBuf,
}

/// The file, as upstream's CLI has it.
#[derive(Debug, Deserialize)]
struct Config {
    name: String,
    input_format: Option<DataFormat>,
    columns: Option<Vec<TableFormatColumnConfig>>,
    smartmodule: Option<String>,
}

/// One table format in the list.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    columns: Vec<String>,
    smartmodule: Option<String>,
}

impl From<&Metadata<TableFormatSpec>> for Row {
    fn from(format: &Metadata<TableFormatSpec>) -> Self {
        let columns = format.spec.columns.iter().flatten();
        Self {
            name: format.name.clone(),
            columns: columns.map(|column| column.key_path.clone()).collect(),
            smartmodule: format.spec.smartmodule.clone(),
        }
    }
}

impl TableFormatCommand {
    /// Runs the command.
    pub async fn run(&self, target: &Target, places: &Places) -> Outcome {
        match self {
            Self::Create(command) => {
                // Before the cluster is asked for anything.
                let spec = spec(&read(&command.config)?)?;
                create(&target.admin(places).await?, spec).await
            }
            Self::List(command) => list(&target.admin(places).await?, command.output).await,
            Self::Delete(command) => {
                let admin = target.admin(places).await?;
                let delete = async |name: String| admin.delete::<TableFormatSpec>(name).await;
                command.run("table format", "fluvio table-format list", delete).await
            }
        }
    }
}

fn spec(config: &[u8]) -> Result<TableFormatSpec, Failure> {
    let config: Config =
        serde_yaml_ng::from_slice(config).or_fail("the file does not describe a table format")?;
    let Config { name, input_format, columns, smartmodule } = config;
    Ok(TableFormatSpec { name, input_format, columns, smartmodule })
}

async fn create(admin: &FluvioAdmin, spec: TableFormatSpec) -> Outcome {
    let name = spec.name.clone();
    let doing = format!("table format {name} was not created");
    answer(&doing, admin.create(name.clone(), false, spec)).await?;
    output::line(&format!("table format \"{name}\" created"))?;
    Ok(0)
}

async fn list(admin: &FluvioAdmin, form: Form) -> Outcome {
    let formats = answer("the table formats cannot be listed", admin.all::<TableFormatSpec>()).await?;
    let rows: Vec<Row> = formats.iter().map(Row::from).collect();
    output::show(form, rows.as_slice(), table)?;
    if rows.is_empty() && form == Form::Table {
        progress::note("there is no table format yet\nnext: fluvio table-format create --config FILE");
    }
    Ok(0)
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["NAME", "COLUMNS", "SMARTMODULE"]);
    for row in rows {
        let smartmodule = row.smartmodule.clone().unwrap_or_default();
        table.row([row.name.clone(), row.columns.join(" "), smartmodule]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_becomes_the_table_format_that_was_meant() {
        let text = "name: orders\ninput_format: JSON\ncolumns:\n  - keyPath: id\n    primaryKey: true\n    alignment: RIGHT\n";
        let spec = spec(text.as_bytes()).unwrap();
        assert_eq!(
            (spec.name.as_str(), &spec.input_format, &spec.smartmodule),
            ("orders", &Some(DataFormat::JSON), &None)
        );
        assert_eq!(spec.get_primary_keys(), ["id"]);
    }

    #[test]
    fn what_is_no_table_format_is_not_sent() {
        for text in ["", "columns: []", "name: a\ncolumns: [{}]", "name: a\ninput_format: XML", "\u{0}"] {
            assert!(spec(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
