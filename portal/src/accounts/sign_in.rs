//! Sign-in with email and password: one path for the browser, the command line and older clients.

use serde_json::json;
use uuid::Uuid;

use crate::accounts::email;
use crate::app::App;
use crate::db::audit::{self, Actor, Outcome};
use crate::db::sessions::{self, Kind};
use crate::db::users::{self, Credentials};
use crate::edge::address::ClientAddress;
use crate::edge::secret;
use crate::problem::Problem;

/// Somebody whose password was right.
pub struct Proven {
    /// The person.
    pub user_id: Uuid,
    /// The sign-in's id.
    pub session_id: Uuid,
    /// The cookie or opaque token; a sign-in from the command line has none.
    pub secret: Option<String>,
}

/// Checks the password and starts a sign-in.
pub async fn sign_in(
    app: &App,
    kind: Kind,
    address: ClientAddress,
    agent: &str,
    typed_email: &str,
    password: &str,
) -> Result<Proven, Problem> {
    let account = email::key(typed_email);
    let credentials = users::by_email(&app.pool, &account).await?;
    take_rates(app, &account, address, credentials.as_ref()).await?;
    let hash = credentials.as_ref().map(|found| found.password_hash.as_str());
    let right = password.len() <= 8_192 && app.passwords.verify(password, hash).await?;
    let actor = |user: Option<&Credentials>| Actor {
        organisation_id: None,
        user_id: user.map(|user| user.id),
        credential: "password".into(),
        address: address.to_string(),
    };
    let Some(user) = credentials.as_ref().filter(|user| right && !user.disabled) else {
        let actor = actor(credentials.as_ref());
        audit::record(&app.pool, &actor, "account.sign_in", "", Outcome::Refused, json!({})).await?;
        return Err(Problem::SignIn("Email and password do not match an account."));
    };
    give_rates_back(app, &account, address).await;
    if !user.verified {
        return Err(unverified());
    }
    start(app, kind, user.id, actor(Some(user)), agent).await
}

/// The address is not proven yet; said only to who knows the password.
fn unverified() -> Problem {
    Problem::refused(
        "The email address is not verified yet.",
        "Open the link in the mail that was sent to it, or sign up again for a new link.",
    )
}

async fn start(app: &App, kind: Kind, user_id: Uuid, actor: Actor, agent: &str) -> Result<Proven, Problem> {
    let secret = (kind != Kind::Cli).then(secret::make);
    let hash = secret.as_deref().map(secret::hash);
    let hash = hash.as_ref().map(<[u8; 32]>::as_slice);
    let mut tx = app.pool.begin().await?;
    let session_id = sessions::insert(&mut *tx, user_id, kind, hash, &actor.address, agent).await?;
    let object = session_id.to_string();
    audit::record(&mut *tx, &actor, "account.sign_in", &object, Outcome::Done, json!({})).await?;
    tx.commit().await?;
    Ok(Proven { user_id, session_id, secret })
}

/// Failures are counted, successes are free. When the whole account is under attack, its owner still comes in
/// from where he or she came in before.
async fn take_rates(
    app: &App,
    account: &str,
    address: ClientAddress,
    user: Option<&Credentials>,
) -> Result<(), Problem> {
    app.rates.sign_ins.take(address.rate_key()).await?;
    app.rates.guesses.take((account, address.rate_key())).await?;
    if let Err(too_fast) = app.rates.accounts.take(account).await {
        let known = match user {
            Some(user) => sessions::knows_address(&app.pool, user.id, &address.to_string()).await?,
            None => false,
        };
        if !known {
            return Err(too_fast.into());
        }
    }
    Ok(())
}

async fn give_rates_back(app: &App, account: &str, address: ClientAddress) {
    app.rates.sign_ins.give_back(address.rate_key()).await;
    app.rates.guesses.give_back((account, address.rate_key())).await;
    app.rates.accounts.give_back(account).await;
}

/// Ends a sign-in.
pub async fn sign_out(app: &App, actor: &Actor, user_id: Uuid, session_id: Uuid) -> Result<bool, Problem> {
    let mut tx = app.pool.begin().await?;
    let ended = sessions::end(&mut *tx, user_id, session_id).await?;
    if ended {
        let object = session_id.to_string();
        audit::record(&mut *tx, actor, "session.end", &object, Outcome::Done, json!({})).await?;
    }
    tx.commit().await?;
    Ok(ended)
}

/// Sets a new password: the current one is asked for, and every other sign-in ends.
pub async fn change_password(
    app: &App,
    person: &crate::accounts::person::Person,
    session_id: Uuid,
    current: &str,
    new: &str,
) -> Result<(), Problem> {
    let account = email::key(&person.email);
    let address = person.actor.address.parse().map_err(|_| Problem::internal(&"the address is not one"))?;
    let key = (account.as_str(), ClientAddress(address).rate_key());
    app.rates.guesses.take(key).await?;
    let hash = users::password_hash(&app.pool, person.user_id).await?;
    if current.len() > 8_192 || !app.passwords.verify(current, Some(&hash)).await? {
        let fix = "Type the password that you signed in with.";
        return Err(Problem::invalid("current", "The current password is not right.", fix));
    }
    app.rates.guesses.give_back(key).await;
    crate::accounts::strength::check(new, &person.email)?;
    let hash = app.passwords.hash(new).await?;
    let mut tx = app.pool.begin().await?;
    users::set_password(&mut *tx, person.user_id, &hash).await?;
    let ended = sessions::end_others(&mut *tx, person.user_id, Some(session_id)).await?;
    let object = person.user_id.to_string();
    let detail = json!({ "sessions_ended": ended });
    audit::record(&mut *tx, &person.actor, "account.password", &object, Outcome::Done, detail).await?;
    Ok(tx.commit().await?)
}
