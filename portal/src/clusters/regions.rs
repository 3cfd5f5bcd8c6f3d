//! Regions: which of them a new cluster gets, and the operator's commands that register and close them.

use serde_json::json;
use sqlx::{Connection as _, PgConnection, PgExecutor};

use crate::config::{self, OperatorConfig, ServeConfig};
use crate::db;
use crate::db::audit::{self, Actor, Outcome};
use crate::db::regions::{self, RegionRow};
use crate::problem::Problem;

/// Makes the region of the configuration known.
pub async fn make_default_known(executor: impl PgExecutor<'_>, config: &ServeConfig) -> sqlx::Result<()> {
    regions::upsert_default(executor, &config.region, &config.runtime, &config.gateway_endpoint).await
}

/// Every region. One portal may ask before another, or it itself, could make the default known.
pub async fn known(connection: &mut PgConnection, config: &ServeConfig) -> sqlx::Result<Vec<RegionRow>> {
    let known = regions::list(&mut *connection).await?;
    if known.iter().any(|region| region.name == config.region) {
        return Ok(known);
    }
    make_default_known(&mut *connection, config).await?;
    regions::list(connection).await
}

/// Those that take new clusters, the default first.
pub fn open<'a>(all: &'a [RegionRow], default: &str) -> Vec<&'a RegionRow> {
    let mut open: Vec<_> = all.iter().filter(|region| region.closed_at.is_none()).collect();
    open.sort_by_key(|region| region.name != default);
    open
}

/// The region of a new cluster: the one that is asked for, else the default, else any that is open.
pub fn choose<'a>(
    all: &'a [RegionRow],
    default: &str,
    wanted: Option<&str>,
) -> Result<&'a RegionRow, Problem> {
    let open = open(all, default);
    let names = || open.iter().map(|region| region.name.as_str()).collect::<Vec<_>>().join(", ");
    let Some(wanted) = wanted else {
        return open.first().copied().ok_or_else(|| {
            Problem::conflict("No region takes new clusters now.", "Try again later, or ask the operator.")
        });
    };
    match all.iter().find(|region| region.name == wanted) {
        Some(region) if region.closed_at.is_none() => Ok(region),
        Some(_) => Err(Problem::conflict(
            format!("The region {wanted} takes no new clusters."),
            format!("Choose one that does: {}.", names()),
        )),
        None => Err(Problem::invalid(
            "region",
            "There is no such region.",
            format!("Choose one of: {}.", names()),
        )),
    }
}

/// A region as the operator describes it.
#[derive(Debug, Clone, Copy)]
pub struct Described<'a> {
    /// Its name.
    pub name: &'a str,
    /// As tenants read it.
    pub title: &'a str,
    /// process or kubernetes.
    pub runtime: &'a str,
    /// host:port of its gateways.
    pub endpoint: &'a str,
}

fn check(region: Described<'_>) -> anyhow::Result<()> {
    anyhow::ensure!(
        crate::clusters::names::check(region.name).is_ok(),
        "\"{}\" is no name for a region: lower-case letters, digits and hyphens, at most 32",
        region.name
    );
    anyhow::ensure!((1..=80).contains(&region.title.chars().count()), "a title has 1 to 80 characters");
    let port = region.endpoint.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
    anyhow::ensure!(
        port.and_then(|port| port.parse::<u16>().ok()).is_some_and(|port| port > 0),
        "\"{}\" is no endpoint such as gateway.eu.example.com:9443",
        region.endpoint
    );
    Ok(())
}

fn operator() -> Actor {
    Actor {
        organisation_id: None,
        user_id: None,
        credential: "program:portal region".into(),
        address: String::new(),
    }
}

/// `portal region add`.
pub async fn add(config: &OperatorConfig, region: Described<'_>) -> anyhow::Result<()> {
    check(region)?;
    let mut connection = db::connect_patiently(&config::database_options(&config.database_url_file)?).await?;
    let mut tx = connection.begin().await?;
    let Described { name, title, runtime, endpoint } = region;
    let added = regions::add(&mut *tx, name, title, runtime, endpoint).await?;
    anyhow::ensure!(added, "the region {name} has clusters of another runtime; choose another name");
    let detail = json!({ "title": title, "runtime": runtime, "endpoint": endpoint });
    audit::record(&mut *tx, &operator(), "region.add", name, Outcome::Done, detail).await?;
    tx.commit().await?;
    Ok(connection.close().await?)
}

/// `portal region close`.
pub async fn close(config: &OperatorConfig, name: &str) -> anyhow::Result<()> {
    let mut connection = db::connect_patiently(&config::database_options(&config.database_url_file)?).await?;
    let mut tx = connection.begin().await?;
    anyhow::ensure!(regions::close(&mut *tx, name).await?, "there is no region {name}");
    audit::record(&mut *tx, &operator(), "region.close", name, Outcome::Done, json!({})).await?;
    tx.commit().await?;
    Ok(connection.close().await?)
}

/// `portal region list`: one line a region.
pub async fn list(config: &OperatorConfig) -> anyhow::Result<String> {
    let mut connection = db::connect_patiently(&config::database_options(&config.database_url_file)?).await?;
    let all = regions::list(&mut connection).await?;
    connection.close().await?;
    Ok(table(&all))
}

fn table(all: &[RegionRow]) -> String {
    let mut rows = vec![["NAME", "STATE", "RUNTIME", "ENDPOINT", "TITLE"].map(str::to_owned)];
    rows.extend(all.iter().map(|region| {
        let state = if region.closed_at.is_some() { "closed" } else { "open" };
        [region.name.as_str(), state, &region.runtime, &region.endpoint, &region.title].map(str::to_owned)
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(width);
    let line = |row: &[String; 5]| {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::OffsetDateTime;

    fn region(name: &str, closed: bool) -> RegionRow {
        RegionRow {
            name: name.into(),
            title: name.to_uppercase(),
            runtime: "kubernetes".into(),
            endpoint: format!("{name}.example.com:9443"),
            closed_at: closed.then_some(OffsetDateTime::UNIX_EPOCH),
        }
    }

    #[test]
    fn a_new_cluster_goes_where_it_is_wanted_or_to_the_default_or_to_any_that_is_open() {
        let all = [region("asia", false), region("eu", false), region("us", true)];
        for (default, wanted, chosen) in [
            ("eu", None, Some("eu")),
            ("eu", Some("asia"), Some("asia")),
            ("eu", Some("us"), None),
            ("eu", Some("mars"), None),
            ("us", None, Some("asia")),
            ("nowhere", None, Some("asia")),
        ] {
            let found = choose(&all, default, wanted).map(|region| region.name.as_str()).ok();
            assert_eq!(found, chosen, "{default} {wanted:?}");
        }
        assert!(choose(&[region("us", true)], "us", None).is_err());
        let refusal = choose(&all, "eu", Some("mars")).unwrap_err().shown();
        assert_eq!(refusal.fix, "Choose one of: eu, asia.");
    }

    #[test]
    fn what_is_no_region_is_refused_before_the_database_sees_it() {
        let good = Described { name: "eu-1", title: "Europe", runtime: "kubernetes", endpoint: "gw.eu:9443" };
        assert!(check(good).is_ok());
        for bad in [
            Described { name: "EU", ..good },
            Described { name: "", ..good },
            Described { title: "", ..good },
            Described { endpoint: "gw.eu", ..good },
            Described { endpoint: ":9443", ..good },
            Described { endpoint: "gw.eu:0", ..good },
            Described { endpoint: "gw.eu:70000", ..good },
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_list_is_an_aligned_table() {
        assert_eq!(
            table(&[region("eu", false), region("us-west", true)]),
            "NAME     STATE   RUNTIME     ENDPOINT                  TITLE\n\
             eu       open    kubernetes  eu.example.com:9443       EU\n\
             us-west  closed  kubernetes  us-west.example.com:9443  US-WEST\n"
        );
    }
}
