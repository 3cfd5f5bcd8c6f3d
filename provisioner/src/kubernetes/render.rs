//! Prints all objects of an imaginary tenant but its Secrets, which are made with their keys: for schema checks and
//! for people who want to see them.

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde_json::Value;
use uuid::Uuid;

use super::objects::secrets::{Use, content_name};
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
    /// The cluster's id; an imaginary one without it.
    #[arg(long)]
    pub cluster: Option<Uuid>,
    /// The form.
    #[arg(long, value_enum, default_value_t = Form::Yaml)]
    pub output: Form,
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
    let shape = Shape {
        cluster: arguments.cluster.unwrap_or(Uuid::from_u128(1)),
        tenant: Uuid::from_u128(2),
        domain: "imaginary.fluvio.example".into(),
        plan,
        spus: arguments.spus,
        runs: !arguments.paused,
        internal: Some(content_name(Use::Internal.as_str(), [])),
    };
    let documents = documents(&site, &shape)?;
    match arguments.output {
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

fn documents(site: &Site, shape: &Shape) -> anyhow::Result<Vec<Value>> {
    let build = |object: &objects::Ref| {
        objects::build(site, shape, object).with_context(|| format!("{object:?} cannot be built"))
    };
    objects::all(site, shape).iter().map(build).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::objects::tests::{shape, site};

    #[test]
    fn every_object_is_printed_in_the_order_of_writing() {
        let shape = Shape { spus: 3, plan: Plan::Large, ..shape() };
        let documents = documents(&site(&["a", "b"]), &shape).unwrap();
        let kinds: Vec<&str> = documents.iter().filter_map(|document| document["kind"].as_str()).collect();
        assert_eq!(kinds[..2], ["Namespace", "RoleBinding"]);
        let count = |kind: &str| kinds.iter().filter(|known| **known == kind).count();
        assert_eq!(
            (count("StatefulSet"), count("Service"), count("NetworkPolicy"), count("Secret")),
            (3, 5, 3, 0)
        );
    }
}
