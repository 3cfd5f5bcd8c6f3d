//! Prints all objects of an imaginary tenant, for schema checks and for people who want to see them.

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use super::objects::secrets::{self, Identity, Use};
use super::objects::{self, Shape, Site};
use crate::config::{Config, Runtime};
use crate::store::Plan;

/// What to print.
#[derive(Debug, Args)]
pub struct RenderArguments {
    /// The TOML file.
    #[arg(long)]
    pub config: std::path::PathBuf,
    /// The size of the servers: small, medium or large.
    #[arg(long, default_value = "small")]
    pub plan: String,
    /// How many SPUs.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub spus: u8,
    /// Zones instead of those of the file, with commas between them; empty for none.
    #[arg(long, value_delimiter = ',')]
    pub zones: Option<Vec<String>>,
    /// With its servers at rest.
    #[arg(long)]
    pub paused: bool,
    /// The form.
    #[arg(long, value_enum, default_value_t = Form::Yaml)]
    pub form: Form,
}

/// A form to print in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// A stream of YAML documents.
    Yaml,
    /// One JSON list.
    Json,
}

/// The text.
pub fn render(arguments: &RenderArguments) -> anyhow::Result<String> {
    let config = Config::read(&arguments.config)?;
    let Runtime::Kubernetes(mut kubernetes) = config.runtime else {
        bail!("only a configuration for runtime \"kubernetes\" has objects");
    };
    if let Some(zones) = &arguments.zones {
        kubernetes.zones = zones.iter().filter(|zone| !zone.is_empty()).cloned().collect();
        kubernetes.check()?;
    }
    let plan = Plan::parse(&arguments.plan);
    let plan =
        plan.with_context(|| format!("there is no plan {:?}: small, medium, large", arguments.plan))?;
    let site = Site { region: config.region, config: *kubernetes };
    let documents = imaginary(&site, plan, arguments.spus, !arguments.paused)?;
    match arguments.form {
        Form::Json => {
            let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": documents });
            Ok(serde_json::to_string_pretty(&list)? + "\n")
        }
        Form::Yaml => {
            let texts = documents.iter().map(serde_yaml_ng::to_string).collect::<Result<Vec<_>, _>>()?;
            Ok(texts.iter().map(|text| format!("---\n{text}")).collect())
        }
    }
}

fn imaginary(site: &Site, plan: Plan, spus: u8, runs: bool) -> anyhow::Result<Vec<Value>> {
    let mut shape = Shape {
        cluster: Uuid::from_u128(0x1),
        tenant: Uuid::from_u128(0x2),
        domain: "imaginary.fluvio.example".into(),
        plan,
        spus,
        runs,
        internal: None,
    };
    let identity = Identity { certificate: "certificate\n", key: "key\n", ca: "CA\n" };
    let mut keys = Vec::new();
    for purpose in Use::IDENTITIES {
        let secret = secrets::identity(site, &shape, purpose, &identity, OffsetDateTime::UNIX_EPOCH);
        if purpose == Use::Internal {
            shape.internal.clone_from(&secret.metadata.name);
        }
        keys.push(serde_json::to_value(secret)?);
    }
    let refs = objects::all(site, &shape);
    // The Secrets in the place where they are made: before the pods that mount them.
    let (sets, others): (Vec<_>, Vec<_>) =
        refs.iter().partition(|object| object.kind == objects::Kind::StatefulSet);
    let build = |object: &&objects::Ref| {
        objects::build(site, &shape, object).with_context(|| format!("{object:?} cannot be built"))
    };
    let mut documents = others.iter().map(build).collect::<anyhow::Result<Vec<_>>>()?;
    documents.extend(keys);
    documents.extend(sets.iter().map(build).collect::<anyhow::Result<Vec<_>>>()?);
    Ok(documents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::objects::tests::site;

    #[test]
    fn the_identity_comes_before_the_pods_that_mount_it() {
        let documents = imaginary(&site(&["a", "b"]), Plan::Large, 3, true).unwrap();
        let at = |kind: &str| documents.iter().position(|document| document["kind"] == kind).unwrap();
        assert!(at("Namespace") < at("RoleBinding") && at("RoleBinding") < at("Secret"));
        assert!(at("Secret") < at("StatefulSet"));
        assert_eq!(documents.iter().filter(|document| document["kind"] == "StatefulSet").count(), 3);
        assert_eq!(documents.iter().filter(|document| document["kind"] == "Service").count(), 5);
    }
}
