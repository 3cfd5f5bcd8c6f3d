//! `fluvio cloud certificate list|revoke`: who can connect to a cluster, and ending that.

use clap::{Args, Subcommand};

use super::account::{Account, segment};
use super::answers::Certificate;
use super::api::Call;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Form, Table};
use crate::places::Places;

/// See and revoke the certificates that open a cluster
#[derive(Debug, Subcommand)]
pub enum CertificateCommand {
    /// List a cluster's certificates
    List(List),
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
            Self::Revoke(options) => revoke(&account, options),
        }
    }
}

fn list(account: &Account, options: &List) -> Outcome {
    let certificates = fetch(account, &options.cluster)?;
    output::show(options.output, certificates.as_slice(), |certificates| {
        let mut table = Table::new(&["ID", "LABEL", "ROLE", "CREATED", "VALID UNTIL", "REVOKED"]);
        for certificate in certificates {
            let text = |field: &Option<String>| field.clone().unwrap_or_default();
            table.row([
                certificate.id.clone(),
                text(&certificate.label),
                text(&certificate.role),
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
    let certificates = fetch(account, &options.cluster)?;
    let wanted = &options.certificate;
    let found =
        certificates.iter().find(|known| known.id == *wanted || known.serial.eq_ignore_ascii_case(wanted));
    let found = found.ok_or_else(|| {
        Failure::failed(format!("cluster {} has no certificate {wanted}", options.cluster))
            .with_fix(format!("fluvio cloud certificate list {}", options.cluster))
    })?;
    let path = format!("/clusters/{}/certificates/{}", segment(&options.cluster), segment(&found.id));
    account.call_for_nothing(&Call::delete(&path)).map_err(Failure::from)?;
    output::line(&format!("revoked {}", found.id))?;
    Ok(0)
}

fn fetch(account: &Account, cluster: &str) -> Result<Vec<Certificate>, Failure> {
    Ok(account.all(&format!("/clusters/{}/certificates", segment(cluster)))?)
}
