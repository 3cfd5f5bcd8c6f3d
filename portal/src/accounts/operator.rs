//! `portal operator`: who runs the cloud.

use sqlx::Connection as _;

use crate::config::{self, OperatorConfig};
use crate::db;
use crate::db::audit::{self, Actor, Outcome};
use crate::db::users;

/// Gives or takes the operator's role.
pub async fn set(config: &OperatorConfig, email: &str, grant: bool) -> anyhow::Result<()> {
    let options = config::database_options(&config.database_url_file)?;
    let mut connection = db::connect_patiently(&options).await?;
    let mut tx = connection.begin().await?;
    let Some(user_id) = users::set_operator(&mut *tx, email, grant).await? else {
        anyhow::bail!("there is no verified account with the address {email}; sign up and verify it first");
    };
    let actor = Actor {
        organisation_id: None,
        user_id: Some(user_id),
        credential: "program:portal operator".into(),
        address: String::new(),
    };
    let action = if grant { "operator.grant" } else { "operator.revoke" };
    audit::record(&mut *tx, &actor, action, &user_id.to_string(), Outcome::Done, serde_json::json!({}))
        .await?;
    tx.commit().await?;
    Ok(connection.close().await?)
}
