//! Sign-up. A stranger cannot tell whether an address has an account: page, status, statements and hashing are
//! the same; only the mail to the owner differs.

use serde_json::json;

use crate::accounts::{email, strength};
use crate::app::App;
use crate::db::audit::{self, Actor, Outcome};
use crate::db::{links, users};
use crate::edge::address::ClientAddress;
use crate::edge::secret;
use crate::mail::letters;
use crate::problem::Problem;

/// How long the mailed link works.
const LINK_SECONDS: i32 = 24 * 3600;

/// Takes a sign-up and sends the mail.
pub async fn sign_up(app: &App, address: ClientAddress, typed: &str, password: &str) -> Result<(), Problem> {
    let email = email::parse(typed)?;
    strength::check(password, &email)?;
    app.rates.sign_ups.take(address.rate_key()).await?;
    app.rates.mails.take(email::key(&email).as_str()).await?;
    let password_hash = app.passwords.hash(password).await?;
    let link = secret::make();

    let mut tx = app.pool.begin().await?;
    let user = users::sign_up(&mut *tx, &email, &password_hash).await?;
    links::insert(&mut *tx, &secret::hash(&link), user.id, &password_hash, LINK_SECONDS, user.taken).await?;
    let actor = Actor {
        organisation_id: None,
        user_id: Some(user.id),
        credential: "none".into(),
        address: address.to_string(),
    };
    let outcome = if user.taken { Outcome::Refused } else { Outcome::Done };
    audit::record(&mut *tx, &actor, "account.sign_up", &user.id.to_string(), outcome, json!({})).await?;
    tx.commit().await?;

    let public_url = &app.config.public_url;
    let letter = if user.taken {
        letters::address_in_use(public_url)
    } else {
        letters::verify(&format!("{public_url}/verify?token={link}"))
    };
    app.mailer.send(&email, letter).await
}
