//! Proof of the address: the mailed link is used once, and with it come the organisation, its first cluster and
//! a sign-in, all or nothing.

use serde_json::json;
use uuid::Uuid;

use crate::app::App;
use crate::clusters::{create, plans, regions};
use crate::db::audit::{self, Actor, Outcome};
use crate::db::sessions::{self, Kind};
use crate::db::{links, organisations, users};
use crate::edge::address::ClientAddress;
use crate::edge::secret;
use crate::problem::Problem;

/// The name of the cluster that comes with an account.
const FIRST_CLUSTER: &str = "main";

/// What a proven address brings.
pub struct Verified {
    /// The cookie of the new sign-in.
    pub cookie: String,
    /// The first cluster; there is none while no region takes new ones.
    pub cluster_id: Option<Uuid>,
}

/// The link does not work (any more).
pub fn dead_link() -> Problem {
    Problem::conflict(
        "This link was used before, or it is older than a day.",
        "If the address is verified, log in. If not, sign up again for a new link.",
    )
}

/// Uses the link.
pub async fn verify(app: &App, address: ClientAddress, agent: &str, link: &str) -> Result<Verified, Problem> {
    let mut tx = app.pool.begin().await?;
    let used = links::use_once(&mut *tx, &secret::hash(link)).await?.ok_or_else(dead_link)?;
    let email = users::verify(&mut *tx, used.user_id, &used.password_hash).await?.ok_or_else(dead_link)?;
    links::end_all(&mut *tx, used.user_id).await?;
    let organisation_id = organisations::insert(&mut tx, &organisation_name(&email), used.user_id).await?;
    let cookie = secret::make();
    let hash = secret::hash(&cookie);
    let session_id =
        sessions::insert(&mut *tx, used.user_id, Kind::Browser, Some(&hash), &address.to_string(), agent)
            .await?;
    let actor = Actor {
        organisation_id: Some(organisation_id),
        user_id: Some(used.user_id),
        credential: "link".into(),
        address: address.to_string(),
    };
    let object = used.user_id.to_string();
    let detail = json!({ "session": session_id });
    audit::record(&mut *tx, &actor, "account.verify", &object, Outcome::Done, detail).await?;
    let known = regions::known(&mut tx, &app.config).await?;
    let cluster_id = if regions::open(&known, &app.config.region).is_empty() {
        None
    } else {
        let wanted = create::Wanted { name: FIRST_CLUSTER, plan: plans::SMALLEST, spus: 1, region: None };
        Some(create::within(&mut tx, &app.config, organisation_id, used.user_id, &actor, wanted).await?)
    };
    tx.commit().await?;
    Ok(Verified { cookie, cluster_id })
}

/// The organisation is first called after its founder's address.
fn organisation_name(email: &str) -> String {
    let local = email.split('@').next().unwrap_or(email);
    let name: String = local.split('+').next().unwrap_or(local).chars().take(80).collect();
    if name.is_empty() { "organisation".into() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_organisation_is_named_after_its_founder() {
        for (email, name) in
            [("ada@example.com", "ada"), ("ada+test@example.com", "ada"), ("+x@e.com", "organisation")]
        {
            assert_eq!(organisation_name(email), name);
        }
    }
}
