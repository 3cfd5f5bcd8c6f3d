//! The passwords of the programs' database roles, where programs come to Postgres over a network.
//!
//! The server is given a SCRAM verifier, worked out here, never the password: a statement is something that a
//! server may log, and that anybody who reads its activity sees.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use zeroize::Zeroizing;

use crate::config;

/// What PostgreSQL itself takes by default.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).unwrap();
const SALT_LENGTH: usize = 16;
/// Two that change the same role at once would make the server refuse one of them. Any number does, as long as
/// every `portal migrate` takes the same one.
const LOCK: i64 = 0x666c_7576_726f_6c65;

/// The roles that the schema makes, as they are named in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Role {
    /// `portal serve`
    #[serde(rename = "cloud_portal")]
    Portal,
    /// `signer serve`
    #[serde(rename = "cloud_signer")]
    Signer,
    /// `provisioner serve`
    #[serde(rename = "cloud_provisioner")]
    Provisioner,
    /// `gateway serve`
    #[serde(rename = "cloud_gateway")]
    Gateway,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::Portal => "cloud_portal",
            Role::Signer => "cloud_signer",
            Role::Provisioner => "cloud_provisioner",
            Role::Gateway => "cloud_gateway",
        }
    }
}

/// Gives each role the password in its file. Doing it again changes nothing that a program notices.
pub async fn admit(
    connection: &mut PgConnection,
    password_files: &BTreeMap<Role, PathBuf>,
) -> anyhow::Result<()> {
    let mut statements = Vec::with_capacity(password_files.len());
    for (role, file) in password_files {
        let password = Zeroizing::new(config::read_secret(file)?);
        let verifier = verifier(&password, &rand::random::<[u8; SALT_LENGTH]>())
            .with_context(|| format!("the password in {} cannot be used", file.display()))?;
        statements.push(format!("ALTER ROLE {} PASSWORD '{verifier}'", role.name()));
    }
    if statements.is_empty() {
        return Ok(());
    }
    let mut transaction = connection.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *transaction).await?;
    for statement in statements {
        // A name of ours and base64: nothing to quote.
        sqlx::query(AssertSqlSafe(statement))
            .execute(&mut *transaction)
            .await
            .context("give a database role its password")?;
    }
    transaction.commit().await?;
    Ok(())
}

/// What PostgreSQL keeps of a password (RFC 5803): enough to check it, not enough to log in with.
fn verifier(password: &str, salt: &[u8]) -> anyhow::Result<String> {
    // SASLprep leaves these as they are, so that server and client need not agree on more.
    ensure!(
        (1..=128).contains(&password.len()) && password.bytes().all(|byte| byte.is_ascii_graphic()),
        "it must be 1 to 128 printable ASCII characters without spaces"
    );
    let mut salted = Zeroizing::new([0_u8; digest::SHA256_OUTPUT_LEN]);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, salt, password.as_bytes(), &mut *salted);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &*salted);
    let stored = digest::digest(&digest::SHA256, hmac::sign(&key, b"Client Key").as_ref());
    let server = hmac::sign(&key, b"Server Key");
    let mut text = String::new();
    write!(
        text,
        "SCRAM-SHA-256${ITERATIONS}:{}${}:{}",
        STANDARD.encode(salt),
        STANDARD.encode(stored),
        STANDARD.encode(server)
    )?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange printed in RFC 7677, which a server with our verifier must be able to check and answer.
    #[test]
    fn the_verifier_checks_and_answers_the_exchange_of_the_standard() {
        let decode = |text: &str| STANDARD.decode(text).unwrap();
        let salt = decode("W22ZaJ0SNY7soEsUEjb6gQ==");
        let said = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,\
                    r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let proof = decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let answer = decode("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");

        let text = verifier("pencil", &salt).unwrap();
        let keys = text.strip_prefix("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$").unwrap();
        let (stored, server) = keys.split_once(':').unwrap();
        let (stored, server) = (decode(stored), decode(server));

        let sign = |key: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), said.as_bytes());
        let client_key: Vec<u8> = proof.iter().zip(sign(&stored).as_ref()).map(|(a, b)| a ^ b).collect();
        assert_eq!(digest::digest(&digest::SHA256, &client_key).as_ref(), stored);
        assert_eq!(sign(&server).as_ref(), answer);
    }

    #[test]
    fn a_password_that_two_sides_might_read_differently_is_refused() {
        for bad in ["", "two words", "tab\there", "käse", &"x".repeat(129)] {
            assert!(verifier(bad, &[0; SALT_LENGTH]).is_err(), "{bad:?}");
        }
        assert!(verifier(&"x".repeat(128), &[0; SALT_LENGTH]).is_ok());
    }
}
