//! People.

use sqlx::PgExecutor;
use uuid::Uuid;

/// What a sign-in is checked against.
pub struct Credentials {
    /// The person.
    pub id: Uuid,
    /// argon2id, PHC string.
    pub password_hash: String,
    /// The address is proven.
    pub verified: bool,
    /// The account is shut.
    pub disabled: bool,
}

/// What a sign-up found.
pub struct SignedUp {
    /// The person, new or known.
    pub id: Uuid,
    /// The address belongs to an account already.
    pub taken: bool,
}

/// Makes the person, or finds the one who has the address. A known and a new address cost the same one
/// statement, and a verified account keeps its password.
pub async fn sign_up(
    executor: impl PgExecutor<'_>,
    email: &str,
    password_hash: &str,
) -> sqlx::Result<SignedUp> {
    sqlx::query_as!(
        SignedUp,
        r#"INSERT INTO users AS u (email, password_hash) VALUES ($1, $2)
           ON CONFLICT (lower(email)) DO UPDATE
             SET password_hash = CASE WHEN u.verified_at IS NULL THEN excluded.password_hash ELSE u.password_hash END
           RETURNING id, (verified_at IS NOT NULL) AS "taken!""#,
        email,
        password_hash
    )
    .fetch_one(executor)
    .await
}

/// The account of an address.
pub async fn by_email(executor: impl PgExecutor<'_>, email: &str) -> sqlx::Result<Option<Credentials>> {
    sqlx::query_as!(
        Credentials,
        r#"SELECT id, password_hash, (verified_at IS NOT NULL) AS "verified!",
                  (disabled_at IS NOT NULL) AS "disabled!"
           FROM users WHERE lower(email) = lower($1)"#,
        email
    )
    .fetch_optional(executor)
    .await
}

/// The password hash of a person.
pub async fn password_hash(executor: impl PgExecutor<'_>, user_id: Uuid) -> sqlx::Result<String> {
    sqlx::query_scalar!("SELECT password_hash FROM users WHERE id = $1", user_id).fetch_one(executor).await
}

/// Marks the address as proven and sets the password chosen at that sign-up. `None`: it was proven before.
pub async fn verify(
    executor: impl PgExecutor<'_>,
    user_id: Uuid,
    password_hash: &str,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "UPDATE users SET verified_at = now(), password_hash = $2
         WHERE id = $1 AND verified_at IS NULL AND disabled_at IS NULL RETURNING email",
        user_id,
        password_hash
    )
    .fetch_optional(executor)
    .await
}

/// Sets a new password.
pub async fn set_password(executor: impl PgExecutor<'_>, user_id: Uuid, hash: &str) -> sqlx::Result<()> {
    sqlx::query!("UPDATE users SET password_hash = $2 WHERE id = $1", user_id, hash)
        .execute(executor)
        .await?;
    Ok(())
}

/// Gives or takes the operator's role; `None`: no such verified account.
pub async fn set_operator(
    executor: impl PgExecutor<'_>,
    email: &str,
    operator: bool,
) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar!(
        "UPDATE users SET operator = $2 WHERE lower(email) = lower($1) AND verified_at IS NOT NULL RETURNING id",
        email,
        operator
    )
    .fetch_optional(executor)
    .await
}
