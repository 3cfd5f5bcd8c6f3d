//! Rotating refresh tokens: each is used once; a used one that comes again ends the sign-in, since then two hold
//! copies and one of them is a thief.

use serde_json::json;
use uuid::Uuid;

use crate::app::App;
use crate::db::audit::{self, Actor, Outcome};
use crate::db::refresh;
use crate::db::sessions::{self, PersonRow};
use crate::edge::address::ClientAddress;
use crate::edge::secret;
use crate::problem::Problem;

/// What a sign-in from the command line gets.
pub struct Pair {
    /// The access token.
    pub access: String,
    /// The next refresh token.
    pub refresh: String,
    /// Whose they are.
    pub person: PersonRow,
}

/// The first pair of a sign-in.
pub async fn first(app: &App, session_id: Uuid) -> Result<Pair, Problem> {
    let next = secret::make();
    refresh::insert(&app.pool, session_id, &secret::hash(&next)).await?;
    pair(app, session_id, next).await
}

/// Takes a refresh token and gives the next pair.
pub async fn rotate(app: &App, address: ClientAddress, token: &str) -> Result<Pair, Problem> {
    let hash = secret::hash(token);
    let next = secret::make();
    let mut tx = app.pool.begin().await?;
    let Some(session_id) = refresh::use_once(&mut *tx, &hash).await? else {
        if let Some(ended) = refresh::end_family(&mut *tx, &hash).await? {
            let actor = Actor {
                organisation_id: None,
                user_id: Some(ended.user_id),
                credential: format!("session:{}", ended.session_id),
                address: address.to_string(),
            };
            let object = ended.session_id.to_string();
            let detail = json!({ "why": "a used refresh token came again" });
            audit::record(&mut *tx, &actor, "session.end", &object, Outcome::Done, detail).await?;
        }
        tx.commit().await?;
        return Err(Problem::SignIn("The refresh token is unknown or was used before."));
    };
    refresh::insert(&mut *tx, session_id, &secret::hash(&next)).await?;
    sessions::touch(&mut *tx, session_id).await?;
    tx.commit().await?;
    pair(app, session_id, next).await
}

async fn pair(app: &App, session_id: Uuid, next: String) -> Result<Pair, Problem> {
    let person = sessions::person_by_id(&app.pool, session_id)
        .await?
        .ok_or(Problem::SignIn("The sign-in has ended."))?;
    let access = app.signer.sign(person.user_id, session_id).map_err(|error| Problem::internal(&error))?;
    Ok(Pair { access, refresh: next, person })
}

/// Ends the sign-in of a person when the refresh token handed in belongs to it.
pub async fn end(app: &App, actor: &Actor, user_id: Uuid, caller: Uuid, token: &str) -> Result<(), Problem> {
    let session = refresh::session_of(&app.pool, &secret::hash(token)).await?;
    if session != Some(caller) {
        return Err(Problem::invalid(
            "refresh_token",
            "The refresh token is not one of this sign-in.",
            "Send the newest refresh token, or end the session on the account page.",
        ));
    }
    crate::accounts::sign_in::sign_out(app, actor, user_id, caller).await?;
    Ok(())
}
