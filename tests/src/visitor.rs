//! Somebody without an account: a browser's cookies and nothing else.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, ensure};
use hyper::Method;
use rand::RngExt;
use serde_json::Value;

use crate::cloud::Cloud;
use crate::http::{self, Answer, Ask, Caller};

/// An HTTP client with a cookie jar, and a bearer token when it was given one.
#[derive(Debug)]
pub struct Visitor {
    pub base: String,
    /// The authority of a portal with a certificate that no public one signed.
    pub authority: Option<PathBuf>,
    address: Ipv4Addr,
    cookies: Mutex<BTreeMap<String, String>>,
    bearer: Option<String>,
}

/// A form of a page, as a browser would send it.
#[derive(Debug, Clone)]
pub struct Form {
    pub action: String,
    /// Hidden fields, the CSRF token among them.
    pub hidden: Vec<(String, String)>,
}

impl Form {
    pub fn csrf_token(&self) -> Option<&str> {
        self.hidden.iter().find(|(name, _)| name == "csrf_token").map(|(_, value)| value.as_str())
    }
}

impl Visitor {
    pub fn of(cloud: &Cloud) -> Visitor {
        Visitor::at(&cloud.portal())
    }

    pub fn at(portal: &str) -> Visitor {
        Visitor::trusting(portal, None)
    }

    pub fn trusting(portal: &str, authority: Option<&Path>) -> Visitor {
        let base = portal.trim_end_matches('/').to_string();
        let [b, c, d] = rand::rng().random::<[u8; 3]>();
        let address = Ipv4Addr::new(127, b.max(1), c, d.clamp(1, 254));
        let authority = authority.map(Path::to_path_buf);
        Visitor { base, authority, address, cookies: Mutex::default(), bearer: None }
    }

    /// The same portal, with a token and without cookies.
    pub fn with_token(&self, token: &str) -> Visitor {
        Visitor { bearer: Some(token.to_string()), ..self.anew() }
    }

    /// Somebody at the same place whom the portal does not know.
    pub fn anew(&self) -> Visitor {
        let (base, authority) = (self.base.clone(), self.authority.clone());
        Visitor { base, authority, address: self.address, cookies: Mutex::default(), bearer: None }
    }

    /// Somebody else with the same token.
    pub fn beside(&self) -> Visitor {
        Visitor { bearer: self.bearer.clone(), ..self.anew() }
    }

    pub fn cookies(&self) -> BTreeMap<String, String> {
        self.cookies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_cookies(&self, cookies: BTreeMap<String, String>) {
        *self.cookies.lock().unwrap_or_else(PoisonError::into_inner) = cookies;
    }

    pub fn caller(&self) -> Caller {
        Caller { address: self.address, cookies: self.cookies(), authority: self.authority.clone() }
    }

    /// Sends a request with this visitor's cookies and token, and keeps the cookies it is given.
    pub async fn ask(&self, mut ask: Ask) -> anyhow::Result<Answer> {
        if let Some(token) = &self.bearer {
            ask = ask.header("authorization", &format!("Bearer {token}"));
        }
        let answer = http::send(&self.base, ask, &self.caller()).await?;
        self.keep_cookies(&answer);
        Ok(answer)
    }

    fn keep_cookies(&self, answer: &Answer) {
        let mut jar = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
        for header in answer.headers.get_all("set-cookie") {
            let Ok(text) = header.to_str() else { continue };
            let mut parts = text.split(';');
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { continue };
            let gone = parts.any(|part| part.trim().eq_ignore_ascii_case("max-age=0"));
            if gone || value.is_empty() {
                jar.remove(name.trim());
            } else {
                jar.insert(name.trim().to_string(), value.trim().to_string());
            }
        }
    }

    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.ask(Ask::get(path)).await
    }

    pub async fn post_json(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        self.ask(Ask::new(Method::POST, path).json(body)).await
    }

    pub async fn delete(&self, path: &str) -> anyhow::Result<Answer> {
        self.ask(Ask::new(Method::DELETE, path)).await
    }

    /// The form on a page whose action contains `action`.
    pub async fn form(&self, page: &str, action: &str) -> anyhow::Result<Form> {
        let answer = self.get(page).await?.expect(200)?;
        form_of(&answer.text(), page, action).with_context(|| format!("{page} has no form for {action}"))
    }

    /// Sends a form with these fields beside its hidden ones, as a browser on this site does.
    pub async fn submit(&self, form: &Form, fields: &[(&str, &str)]) -> anyhow::Result<Answer> {
        let mut all: Vec<(&str, &str)> =
            form.hidden.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        all.retain(|(name, _)| fields.iter().all(|(given, _)| given != name));
        all.extend(fields);
        self.ask(Ask::new(Method::POST, &form.action).header("origin", &self.base).form(&all)).await
    }

    /// Fills in the sign-up page. The answer is the same whether or not the address is known.
    pub async fn sign_up(&self, email: &str, password: &str) -> anyhow::Result<Answer> {
        let form = self.form("/signup", "/signup").await?;
        self.submit(&form, &[("email", email), ("password", password)]).await
    }

    /// The mails in the outbox to an address, newest last, as text.
    pub async fn mails_to(&self, email: &str) -> anyhow::Result<Vec<String>> {
        let page = self.get("/outbox").await?.expect(200)?.text();
        let mut mails = Vec::new();
        for link in attribute_values(&page, "href") {
            if !link.starts_with("/outbox/") {
                continue;
            }
            let text = unescape(&self.get(&link).await?.expect(200)?.text());
            if text.contains(email) {
                mails.push(text);
            }
        }
        Ok(mails)
    }

    /// The newest verification link sent to an address, as path and query.
    pub async fn verification_link(&self, email: &str) -> anyhow::Result<String> {
        let mails = self.mails_to(email).await?;
        mails
            .iter()
            .rev()
            .find_map(|mail| link_in(mail))
            .with_context(|| format!("no verification mail to {email}"))
    }

    /// Opens the link and presses its button.
    pub async fn verify(&self, link: &str) -> anyhow::Result<Answer> {
        let form = self.form(link, "/verify").await?;
        self.submit(&form, &[]).await
    }

    /// Signs in with the login page, as in a browser that was just installed.
    pub async fn sign_in(&self, email: &str, password: &str) -> anyhow::Result<Answer> {
        self.set_cookies(BTreeMap::new());
        let form = self.form("/login", "/login").await?;
        let answer = self.submit(&form, &[("email", email), ("password", password)]).await?;
        ensure!(answer.status.is_redirection(), "signing in was answered {}", answer.status);
        Ok(answer)
    }
}

fn link_in(mail: &str) -> Option<String> {
    let from = mail.find("/verify?token=")?;
    let link: String =
        mail[from..].chars().take_while(|c| !c.is_whitespace() && !"\"'<>".contains(*c)).collect();
    Some(link)
}

/// The first form of a page whose action contains `action`; a form without one sends to the page itself.
fn form_of(html: &str, page: &str, action: &str) -> Option<Form> {
    html.split("<form").skip(1).find_map(|rest| {
        let body = rest.split("</form").next()?;
        let (tag, inner) = body.split_once('>')?;
        let target = attribute(tag, "action").unwrap_or_else(|| page.to_string());
        if !target.contains(action) {
            return None;
        }
        let hidden = inner
            .split("<input")
            .skip(1)
            .filter_map(|input| {
                let tag = input.split('>').next()?;
                (attribute(tag, "type").as_deref() == Some("hidden")).then_some(())?;
                Some((attribute(tag, "name")?, attribute(tag, "value").unwrap_or_default()))
            })
            .collect();
        Some(Form { action: target, hidden })
    })
}

/// The value of an attribute in the text of one tag.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let from = tag.find(&format!(" {name}=\""))? + name.len() + 3;
    let value = tag[from..].split('"').next()?;
    Some(unescape(value))
}

/// Every value of an attribute in a page.
pub fn attribute_values(html: &str, name: &str) -> Vec<String> {
    html.split(&format!(" {name}=\""))
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .map(unescape)
        .collect()
}

/// The text behind the five entities that templates write.
pub fn unescape(text: &str) -> String {
    text.replace("&#x2F;", "/")
        .replace("&#38;", "&")
        .replace("&#34;", "\"")
        .replace("&#39;", "'")
        .replace("&#x27;", "'")
        .replace("&#60;", "<")
        .replace("&#62;", ">")
        .replace("&quot;", "\"")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}
