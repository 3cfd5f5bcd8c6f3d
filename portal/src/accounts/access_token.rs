//! The API's access token: a JWT of fifteen minutes that names a sign-in. It proves who asks; whether the sign-in
//! still lives is asked of the database with each request, so an ended one is over at once.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Seconds that an access token lives.
pub const LIFETIME_SECONDS: u64 = 15 * 60;
/// Whom it is for.
const AUDIENCE: &str = "fluvio-cloud-api";
/// The kind of JWT (RFC 9068): no other kind is taken for one.
const TYPE: &str = "at+jwt";

/// Signs and checks access tokens.
pub struct Signer {
    signing: EncodingKey,
    checking: DecodingKey,
    issuer: String,
    validation: Validation,
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: Uuid,
    sid: Uuid,
    iat: u64,
    exp: u64,
}

/// The token is not ours, not for us, or over.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a valid access token")]
pub struct TokenError;

impl Signer {
    /// `key` is a P-256 key, PEM: PKCS#8, or SEC 1 as `openssl ecparam -genkey` and Helm write it.
    pub fn new(key: &str, issuer: &str) -> anyhow::Result<Self> {
        let der = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
        let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_der())?;
        // An uncompressed point: 4, then both coordinates.
        let point = pair.public_key().as_ref();
        anyhow::ensure!(point.len() == 65, "the public key is no uncompressed point");
        let coordinate = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
        let mut validation = Validation::new(Algorithm::ES256);
        validation.leeway = 0;
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[issuer]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        Ok(Signer {
            signing: EncodingKey::from_ec_der(pair.to_pkcs8v1()?.as_ref()),
            checking: DecodingKey::from_ec_components(&coordinate(1..33), &coordinate(33..65))?,
            issuer: issuer.to_owned(),
            validation,
        })
    }

    /// A token for a sign-in.
    pub fn sign(&self, user_id: Uuid, session_id: Uuid) -> Result<String, jsonwebtoken::errors::Error> {
        self.sign_at(user_id, session_id, jsonwebtoken::get_current_timestamp())
    }

    fn sign_at(&self, sub: Uuid, sid: Uuid, iat: u64) -> Result<String, jsonwebtoken::errors::Error> {
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: AUDIENCE.into(),
            sub,
            sid,
            iat,
            exp: iat + LIFETIME_SECONDS,
        };
        let header = Header { typ: Some(TYPE.into()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, &claims, &self.signing)
    }

    /// The sign-in that a token names.
    pub fn check(&self, token: &str) -> Result<Uuid, TokenError> {
        let token: jsonwebtoken::TokenData<Claims> =
            jsonwebtoken::decode(token, &self.checking, &self.validation).map_err(|_| TokenError)?;
        if token.header.typ.as_deref() != Some(TYPE) {
            return Err(TokenError);
        }
        Ok(token.claims.sid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> String {
        rcgen::KeyPair::generate().unwrap().serialize_pem()
    }

    fn claims(change: impl FnOnce(&mut Claims)) -> Claims {
        let iat = jsonwebtoken::get_current_timestamp();
        let mut claims = Claims {
            iss: "http://here".into(),
            aud: AUDIENCE.into(),
            sub: Uuid::new_v4(),
            sid: Uuid::new_v4(),
            iat,
            exp: iat + 60,
        };
        change(&mut claims);
        claims
    }

    #[test]
    fn a_key_in_either_form_signs_tokens_that_the_other_checks() {
        use aws_lc_rs::encoding::{AsDer as _, EcPrivateKeyRfc5915Der};
        use base64::engine::general_purpose::STANDARD;

        let pkcs8 = key();
        let der = PrivateKeyDer::from_pem_slice(pkcs8.as_bytes()).unwrap();
        let pair =
            EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_der()).unwrap();
        let private = pair.private_key();
        let sec1: EcPrivateKeyRfc5915Der<'_> = private.as_der().unwrap();
        let name = "EC PRIVATE KEY";
        let sec1 =
            format!("-----BEGIN {name}-----\n{}\n-----END {name}-----\n", STANDARD.encode(sec1.as_ref()));

        let (one, other) =
            (Signer::new(&pkcs8, "http://here").unwrap(), Signer::new(&sec1, "http://here").unwrap());
        let session = Uuid::new_v4();
        assert_eq!(one.check(&other.sign(Uuid::new_v4(), session).unwrap()), Ok(session));
        assert_eq!(other.check(&one.sign(Uuid::new_v4(), session).unwrap()), Ok(session));
    }

    #[test]
    fn a_token_names_its_sign_in() {
        let signer = Signer::new(&key(), "http://here").unwrap();
        let session = Uuid::new_v4();
        assert_eq!(signer.check(&signer.sign(Uuid::new_v4(), session).unwrap()), Ok(session));
    }

    #[test]
    fn a_token_of_another_key_issuer_audience_type_or_time_is_refused() {
        let key = key();
        let signer = Signer::new(&key, "http://here").unwrap();
        let encoding = EncodingKey::from_ec_pem(key.as_bytes()).unwrap();
        let header = |typ: &str| Header { typ: Some(typ.into()), ..Header::new(Algorithm::ES256) };
        let encode =
            |header: &Header, claims: &Claims| jsonwebtoken::encode(header, claims, &encoding).unwrap();
        assert!(signer.check(&encode(&header(TYPE), &claims(|_| ()))).is_ok());
        for (what, token) in [
            ("issuer", encode(&header(TYPE), &claims(|c| c.iss = "http://there".into()))),
            ("audience", encode(&header(TYPE), &claims(|c| c.aud = "other".into()))),
            ("type", encode(&header("JWT"), &claims(|_| ()))),
            ("time", encode(&header(TYPE), &claims(|c| c.exp = c.iat - 1))),
            (
                "key",
                Signer::new(&super::tests::key(), "http://here")
                    .unwrap()
                    .sign(Uuid::new_v4(), Uuid::new_v4())
                    .unwrap(),
            ),
            ("nothing", String::new()),
        ] {
            assert_eq!(signer.check(&token), Err(TokenError), "{what}");
        }
    }

    #[test]
    fn a_token_without_a_signature_or_signed_with_the_public_key_as_a_password_is_refused() {
        let key = key();
        let signer = Signer::new(&key, "http://here").unwrap();
        let good = signer.sign(Uuid::new_v4(), Uuid::new_v4()).unwrap();
        let body = good.split('.').nth(1).unwrap();
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt"}"#);
        assert!(signer.check(&format!("{none}.{body}.")).is_err());
        let symmetric = Header { typ: Some(TYPE.into()), ..Header::new(Algorithm::HS256) };
        let forged =
            jsonwebtoken::encode(&symmetric, &claims(|_| ()), &EncodingKey::from_secret(key.as_bytes()))
                .unwrap();
        assert!(signer.check(&forged).is_err());
    }
}
