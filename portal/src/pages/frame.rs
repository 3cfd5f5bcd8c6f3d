//! What surrounds every page: who is signed in, where one is, the form token, the assets.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::Response;

use crate::accounts::person::SignedIn;
use crate::app::App;
use crate::edge::assets;
use crate::edge::cookies::Cookie;
use crate::edge::{form, secret};
use crate::problem::Problem;

/// Which entry of the navigation is lit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Here {
    /// Clusters.
    Clusters,
    /// Account.
    Account,
    /// Fleet.
    Fleet,
    /// None of them.
    Elsewhere,
}

/// What surrounds every page.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The address of who is signed in.
    pub email: Option<String>,
    /// The organisation of who is signed in.
    pub organisation: String,
    /// Runs the cloud.
    pub operator: bool,
    /// The token for this page's forms.
    pub csrf: String,
    /// Mails can be read on a page.
    pub outbox: bool,
    /// Which entry of the navigation is lit.
    pub here: Here,
}

impl Frame {
    /// Around a page of somebody who is signed in.
    pub fn signed_in(app: &App, signed_in: &SignedIn, here: Here) -> Self {
        Frame {
            email: Some(signed_in.person.email.clone()),
            organisation: signed_in.person.organisation_name.clone(),
            operator: signed_in.person.operator,
            csrf: signed_in.form_token.clone(),
            outbox: app.mailer.outbox().is_some(),
            here,
        }
    }

    /// Around an error's page, which knows nothing of who reads it.
    pub fn bare() -> Self {
        Frame {
            email: None,
            organisation: String::new(),
            operator: false,
            csrf: String::new(),
            outbox: false,
            here: Here::Elsewhere,
        }
    }

    /// The address of an asset.
    pub fn asset(&self, name: &str) -> &'static str {
        assets::address(name)
    }

    /// Whether an entry of the navigation is lit.
    pub fn at(&self, name: &str) -> bool {
        matches!(
            (self.here, name),
            (Here::Clusters, "clusters") | (Here::Account, "account") | (Here::Fleet, "fleet")
        )
    }
}

/// Somebody in a browser who may or may not be signed in. The browser of who is not gets a cookie that ties the
/// page's forms to it.
pub struct Visitor {
    /// Who, if signed in.
    pub signed_in: Option<SignedIn>,
    form_secret: String,
    fresh: bool,
}

impl Visitor {
    /// What surrounds this visitor's page.
    pub fn frame(&self, app: &App) -> Frame {
        match &self.signed_in {
            Some(signed_in) => Frame::signed_in(app, signed_in, Here::Elsewhere),
            None => Frame {
                csrf: form::token(&self.form_secret),
                outbox: app.mailer.outbox().is_some(),
                ..Frame::bare()
            },
        }
    }

    /// Hands a page to this visitor.
    pub fn receive(&self, app: &App, mut page: Response) -> Response {
        if self.fresh && self.signed_in.is_none() {
            let cookie = Cookie::Form.set(&self.form_secret, app.config.secure());
            page.headers_mut().append(header::SET_COOKIE, cookie);
        }
        page
    }
}

impl FromRequestParts<App> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let signed_in = <SignedIn as OptionalFromRequestParts<App>>::from_request_parts(parts, app).await?;
        let known = Cookie::Form.read(&parts.headers, app.config.secure());
        let fresh = known.is_none();
        Ok(Visitor { signed_in, form_secret: known.unwrap_or_else(secret::make), fresh })
    }
}

/// The header that hands a cookie to a browser.
pub fn set_cookie(mut response: Response, cookie: HeaderValue) -> Response {
    response.headers_mut().append(header::SET_COOKIE, cookie);
    response
}
