//! Somebody with an account: signed up, verified and logged in through the front doors.

use std::time::Duration;

use anyhow::{Context, bail};
use rand::RngExt;
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::http::{Answer, Ask};
use crate::visitor::Visitor;
use crate::wait::until;

/// From click to a usable cluster; far more than it may take, since time decides no test.
const RUNNING_WITHIN: Duration = Duration::from_secs(180);

/// An account, a signed-in browser and an API token of a login.
#[derive(Debug)]
pub struct Person {
    pub email: String,
    pub password: String,
    /// The browser with the session cookie.
    pub browser: Visitor,
    /// The same person with an access token.
    pub api: Visitor,
    pub refresh_token: String,
}

/// As the API shows a cluster; the fields that tests look at.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Cluster {
    pub id: String,
    pub name: String,
    pub domain: String,
    pub endpoint: String,
    pub state: String,
    pub spus: u32,
}

impl Person {
    /// An address nobody has used.
    pub fn fresh_email() -> String {
        format!("p{}@example.com", hex::encode(rand::rng().random::<[u8; 6]>()))
    }

    /// A password that nobody guesses.
    pub fn fresh_password() -> String {
        format!("kelp-{}-{}", hex::encode(rand::rng().random::<[u8; 6]>()), "gravel orbit")
    }

    /// Signs up, reads the mail, presses the button, logs in.
    pub async fn sign_up(cloud: &Cloud) -> anyhow::Result<Person> {
        Person::sign_up_in(Visitor::of(cloud)).await
    }

    /// The same in a browser that is open already.
    pub async fn sign_up_in(browser: Visitor) -> anyhow::Result<Person> {
        let (email, password) = (Person::fresh_email(), Person::fresh_password());
        let answer = browser.sign_up(&email, &password).await?;
        if answer.status.is_client_error() || answer.status.is_server_error() {
            bail!("signing up was answered {}: {}", answer.status, answer.text());
        }
        let link = until("the verification mail", Duration::from_secs(10), async || {
            browser.verification_link(&email).await.map(Some)
        })
        .await?;
        let answer = browser.verify(&link).await?;
        if answer.status.is_client_error() || answer.status.is_server_error() {
            bail!("verifying was answered {}: {}", answer.status, answer.text());
        }
        Person::log_in(browser, email, password).await
    }

    /// Logs in at the API.
    pub async fn log_in(browser: Visitor, email: String, password: String) -> anyhow::Result<Person> {
        let body = json!({"email": email, "password": password});
        let answer = browser.anew().post_json("/api/v1/login", &body).await?.expect(200)?.json()?;
        let text =
            |name: &str| answer[name].as_str().map(str::to_string).with_context(|| format!("no {name}"));
        let (token, refresh_token) = (text("access_token")?, text("refresh_token")?);
        let api = browser.with_token(&token);
        Ok(Person { email, password, browser, api, refresh_token })
    }

    /// The person's clusters.
    pub async fn clusters(&self) -> anyhow::Result<Vec<Cluster>> {
        let answer = self.api.get("/api/v1/clusters").await?.expect(200)?.json()?;
        Ok(serde_json::from_value(answer["items"].clone())?)
    }

    pub async fn cluster(&self, name: &str) -> anyhow::Result<Cluster> {
        let answer = self.api.get(&format!("/api/v1/clusters/{name}")).await?.expect(200)?;
        Ok(serde_json::from_value(answer.json()?)?)
    }

    /// The cluster that verification made, once a client could use it.
    pub async fn first_cluster(&self) -> anyhow::Result<Cluster> {
        until("the first cluster is running", RUNNING_WITHIN, async || {
            Ok(self.clusters().await?.into_iter().find(|cluster| cluster.state == "running"))
        })
        .await
    }

    /// Creates a cluster and waits until a client could use it.
    pub async fn create_cluster(&self, name: &str, spus: u32) -> anyhow::Result<Cluster> {
        self.api.post_json("/api/v1/clusters", &json!({"name": name, "spus": spus})).await?.expect(201)?;
        self.running(name).await
    }

    /// Waits until the cluster is running.
    pub async fn running(&self, name: &str) -> anyhow::Result<Cluster> {
        until("the cluster is running", RUNNING_WITHIN, async || {
            let cluster = self.cluster(name).await?;
            if cluster.state == "running" { Ok(Some(cluster)) } else { bail!("it is {}", cluster.state) }
        })
        .await
    }

    /// Asks for a certificate for this CSR.
    pub async fn request_certificate(&self, cluster: &str, body: &Value) -> anyhow::Result<Answer> {
        self.api.post_json(&format!("/api/v1/clusters/{cluster}/certificates"), body).await
    }

    /// The certificates of a cluster, as the API lists them.
    pub async fn certificates(&self, cluster: &str) -> anyhow::Result<Vec<Value>> {
        let path = format!("/api/v1/clusters/{cluster}/certificates");
        let answer = self.api.ask(Ask::get(&path)).await?.expect(200)?.json()?;
        Ok(answer["items"].as_array().cloned().unwrap_or_default())
    }

    /// Revokes one.
    pub async fn revoke(&self, cluster: &str, id: &str) -> anyhow::Result<()> {
        self.api.delete(&format!("/api/v1/clusters/{cluster}/certificates/{id}")).await?.expect(204)?;
        Ok(())
    }
}
