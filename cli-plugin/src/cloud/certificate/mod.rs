//! `fluvio cloud certificate …`: who can connect to a cluster, what they may do there, and ending that.

mod create;
mod rights;
mod update;

use clap::{Args, Subcommand};

use rights::shown;

use super::account::{Account, segment};
use super::answers::Certificate;
use super::api::Call;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Form, Table};
use crate::places::Places;

/// See, make, change and revoke the certificates that open a cluster
#[derive(Debug, Subcommand)]
pub enum CertificateCommand {
    /// List a cluster's certificates
    List(List),
    /// Make a certificate with rights of its own, in a profile file for another program or machine
    Create(create::Create),
    /// Change what a certificate may do: it acts within a second, on open connections too
    Update(update::Update),
    /// Revoke a certificate: connections that use it are cut within a second
    Revoke(Revoke),
}

/// Options of `certificate list`.
#[derive(Debug, Args)]
pub struct List {
    /// The cluster
    cluster: String,
    /// The form of the answer
    #[arg(long, short = 'O', value_enum, default_value_t = Form::Table)]
    output: Form,
}

/// Options of `certificate revoke`.
#[derive(Debug, Args)]
pub struct Revoke {
    /// The cluster
    cluster: String,
    /// The certificate's id or serial number
    certificate: String,
}

impl CertificateCommand {
    /// Runs the command.
    pub fn run(&self, places: &Places) -> Outcome {
        let account = Account::open(places)?;
        match self {
            Self::List(options) => list(&account, options),
            Self::Create(command) => command.run(&account),
            Self::Update(command) => command.run(&account),
            Self::Revoke(options) => revoke(&account, options),
        }
    }
}

fn list(account: &Account, options: &List) -> Outcome {
    let certificates = fetch(account, &options.cluster)?;
    output::show(options.output, certificates.as_slice(), |certificates| {
        let mut table = Table::new(&["ID", "LABEL", "RIGHTS", "CREATED", "VALID UNTIL", "REVOKED"]);
        for certificate in certificates {
            let text = |field: &Option<String>| field.clone().unwrap_or_default();
            table.row([
                certificate.id.clone(),
                text(&certificate.label),
                shown(certificate.role.as_deref(), certificate.rules.as_deref()),
                text(&certificate.created_at),
                text(&certificate.not_after),
                text(&certificate.revoked_at),
            ]);
        }
        table
    })?;
    Ok(0)
}

fn revoke(account: &Account, options: &Revoke) -> Outcome {
    let found = find(account, &options.cluster, &options.certificate)?;
    let path = path_of(&options.cluster, &found);
    account.call_for_nothing(&Call::delete(&path)).map_err(Failure::from)?;
    output::line(&format!("revoked {}", found.id))?;
    Ok(0)
}

/// The certificate with this id or serial number.
fn find(account: &Account, cluster: &str, wanted: &str) -> Result<Certificate, Failure> {
    let is_it = |known: &Certificate| known.id == wanted || known.serial.eq_ignore_ascii_case(wanted);
    fetch(account, cluster)?.into_iter().find(is_it).ok_or_else(|| {
        Failure::failed(format!("cluster {cluster} has no certificate {wanted}"))
            .with_fix(format!("fluvio cloud certificate list {cluster}"))
    })
}

fn path_of(cluster: &str, certificate: &Certificate) -> String {
    format!("/clusters/{}/certificates/{}", segment(cluster), segment(&certificate.id))
}

fn fetch(account: &Account, cluster: &str) -> Result<Vec<Certificate>, Failure> {
    Ok(account.all(&format!("/clusters/{}/certificates", segment(cluster)))?)
}
