//! `fluvio profile …`.

use clap::{Args, Subcommand};
use fluvio::config::ConfigFile;
use serde::Serialize;

use crate::failure::{Failure, OrFail, Outcome};
use crate::output::{self, Form, Table, progress};
use crate::places::Places;
use crate::profile::{self, ProfileError, Summary};

/// Choose and look after the clusters you talk to
#[derive(Debug, Subcommand)]
pub enum ProfileCommand {
    /// List the profiles
    List(List),
    /// Print the current profile's name
    Current,
    /// Make another profile the current one
    Switch(Named),
    /// Add a profile for a cluster without TLS
    Add(Add),
    /// Give a profile another name
    Rename(Rename),
    /// Forget a profile
    Delete(Named),
    /// Print a profile with its keys, for another machine or another client
    Export(Export),
}

/// Options of `profile list`.
#[derive(Debug, Args)]
pub struct List {
    /// The form of the answer
    #[arg(long, short = 'O', value_enum, default_value_t = Form::Table)]
    output: Form,
}

/// A profile's name.
#[derive(Debug, Args)]
pub struct Named {
    /// The profile
    name: String,
}

/// Options of `profile add`.
#[derive(Debug, Args)]
pub struct Add {
    /// The profile's name
    name: String,
    /// The cluster's host:port
    address: String,
}

/// Options of `profile rename`.
#[derive(Debug, Args)]
pub struct Rename {
    /// Its name now
    from: String,
    /// Its name from now on
    to: String,
}

/// Options of `profile export`.
#[derive(Debug, Args)]
pub struct Export {
    /// The profile [default: the current one]
    name: Option<String>,
    /// The form of the answer
    #[arg(long, short = 'O', value_enum, default_value_t = ExportForm::Toml)]
    output: ExportForm,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ExportForm {
    Toml,
    Json,
    Yaml,
}

impl ProfileCommand {
    /// Runs the command.
    pub fn run(&self, places: &Places) -> Outcome {
        match self {
            Self::List(options) => list(places, options.output)?,
            Self::Current => output::line(&current(places)?)?,
            Self::Switch(named) => change(places, |all| all.switch(&named.name))?,
            Self::Add(add) => change(places, |all| {
                if all.exists(&add.name) {
                    return Err(ProfileError::Taken(add.name.clone()));
                }
                all.set_plain_cluster(&add.name, &add.address);
                Ok(())
            })?,
            Self::Rename(names) => change(places, |all| all.rename(&names.from, &names.to))?,
            Self::Delete(named) => {
                change(places, |all| all.delete(&named.name))?;
                if profile::read(&places.profiles)?.current().is_none() {
                    progress::note("no profile is current now\nnext: fluvio profile switch NAME");
                }
            }
            Self::Export(options) => export(places, options)?,
        }
        Ok(0)
    }
}

fn list(places: &Places, form: Form) -> Result<(), Failure> {
    let rows = profile::read(&places.profiles)?.list();
    output::show(form, rows.as_slice(), |rows: &[Summary]| {
        let mut table = Table::new(&["CURRENT", "PROFILE", "CLUSTER", "ENDPOINT", "TLS"]);
        for row in rows {
            let mark = if row.current { "*" } else { "" };
            table.row([
                mark.to_owned(),
                row.profile.clone(),
                row.cluster.clone(),
                row.endpoint.clone(),
                row.tls.clone(),
            ]);
        }
        table
    })?;
    if rows.is_empty() && form == Form::Table {
        progress::note("there is no profile yet\nnext: fluvio cloud login, or fluvio cluster start");
    }
    Ok(())
}

fn current(places: &Places) -> Result<String, Failure> {
    profile::read(&places.profiles)?.current().ok_or_else(|| {
        Failure::failed("no profile is current").with_fix("fluvio profile switch NAME, or fluvio cloud login")
    })
}

fn change(
    places: &Places,
    change: impl FnOnce(&mut profile::Profiles) -> Result<(), ProfileError>,
) -> Result<(), Failure> {
    profile::update(&places.profiles, |all| {
        change(all).map_err(|error| Failure::failed(error.to_string()).with_fix("fluvio profile list"))
    })
}

/// The document upstream's client reads with `downloadProfile` and its own export.
fn export(places: &Places, options: &Export) -> Result<(), Failure> {
    #[derive(Serialize)]
    #[serde(transparent)]
    struct Exported<'a>(&'a fluvio::FluvioClusterConfig);

    let name = match &options.name {
        Some(name) => name.clone(),
        None => current(places)?,
    };
    let file = ConfigFile::load(Some(places.profiles.to_string_lossy().into_owned()))
        .or_fail("the profiles cannot be read")?;
    let cluster = file.config().cluster_with_profile(&name).ok_or_else(|| {
        Failure::failed(format!("there is no profile named `{name}` with a cluster"))
            .with_fix("fluvio profile list")
    })?;
    let exported = Exported(cluster);
    match options.output {
        ExportForm::Toml => {
            output::print(&toml::to_string_pretty(&exported).or_fail("the profile has no TOML form")?)
        }
        ExportForm::Json => output::show(Form::Json, &exported, |_| Table::new(&[])),
        ExportForm::Yaml => output::show(Form::Yaml, &exported, |_| Table::new(&[])),
    }
}
