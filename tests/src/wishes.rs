//! Somebody who keeps asking the JSON API for things, each with an `Idempotency-Key` of its own, and tries again
//! with the same key until the answer says that it is done; and what must be there of it afterwards.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hyper::Method;
use rand::RngExt;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::http::{Answer, Ask};
use crate::visitor::Visitor;
use crate::wait::until;

/// Longer than the database may be away.
const DONE_WITHIN: Duration = Duration::from_secs(90);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// What is asked for.
#[derive(Debug, Clone)]
pub enum Kind {
    Cluster,
    Token,
    /// For this cluster.
    Certificate(String),
}

/// A wish that came true.
#[derive(Debug)]
pub struct Done {
    pub name: String,
    /// Nothing when the answer with a secret was lost: it is not given twice.
    pub id: Option<String>,
    ask: Ask,
}

/// See the module.
#[derive(Debug)]
pub struct Wishes {
    kind: Kind,
    count: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<anyhow::Result<Vec<Done>>>,
}

impl Kind {
    /// Where it is asked for, and where it is ended.
    fn path(&self) -> String {
        match self {
            Kind::Cluster => "/api/v1/clusters".into(),
            Kind::Token => "/api/v1/tokens".into(),
            Kind::Certificate(cluster) => format!("/api/v1/clusters/{cluster}/certificates"),
        }
    }

    fn body(&self, name: &str) -> anyhow::Result<Value> {
        Ok(match self {
            Kind::Cluster | Kind::Token => json!({ "name": name }),
            Kind::Certificate(_) => json!({ "label": name, "csr": csr()? }),
        })
    }

    /// How many live at a time; the oldest goes for the newest.
    fn most(&self) -> usize {
        if matches!(self, Kind::Cluster) { 3 } else { 20 }
    }

    /// The statement that tells how often a thing of each name was made, whatever became of it.
    pub fn census(&self) -> &'static str {
        match self {
            Kind::Cluster => "SELECT name, count(*) FROM clusters WHERE name LIKE 'wish-%' GROUP BY name",
            Kind::Token => "SELECT name, count(*) FROM api_tokens WHERE name LIKE 'wish-%' GROUP BY name",
            Kind::Certificate(_) => {
                "SELECT r.label, count(*) FROM certificate_requests r LEFT JOIN certificates c ON c.request_id = r.id
                 WHERE r.label LIKE 'wish-%' GROUP BY r.label"
            }
        }
    }

    /// The statement that tells which of them live.
    pub fn living(&self) -> &'static str {
        match self {
            Kind::Cluster => "SELECT name FROM clusters WHERE name LIKE 'wish-%' AND deleted_at IS NULL",
            Kind::Token => "SELECT name FROM api_tokens WHERE name LIKE 'wish-%' AND revoked_at IS NULL",
            Kind::Certificate(_) => {
                "SELECT label FROM certificates WHERE label LIKE 'wish-%' AND revoked_at IS NULL"
            }
        }
    }
}

impl Wishes {
    pub fn start(visitor: Visitor, kind: Kind) -> Wishes {
        let (count, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let asking = keep_asking(visitor, kind.clone(), count.clone(), stop.clone());
        Wishes { kind, count, stop, task: tokio::spawn(asking) }
    }

    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Waits until that many more came true.
    pub async fn wait_for_more(&self, more: usize) -> anyhow::Result<()> {
        let goal = self.count.load(Ordering::Relaxed) + more;
        until(&format!("{more} more of {:?}", self.kind), DONE_WITHIN, async || {
            ensure!(!self.task.is_finished() || self.stop.load(Ordering::Relaxed), "it ended");
            Ok((self.count.load(Ordering::Relaxed) >= goal).then_some(()))
        })
        .await
    }

    /// Stops once the last one came true. First those that were ended again, then those that shall live.
    pub async fn stop(self) -> anyhow::Result<(Vec<Done>, usize)> {
        self.stop.store(true, Ordering::Relaxed);
        let done = self.task.await??;
        let ended = done.len().saturating_sub(self.kind.most());
        Ok((done, ended))
    }
}

impl Done {
    /// The same request again makes nothing: the answer is the first one, or says that it was given.
    pub async fn is_done_once(&self, visitor: &Visitor) -> anyhow::Result<()> {
        let answer = visitor.ask(self.ask.clone()).await?;
        let id = granted(&answer)?.with_context(|| format!("{}: {}", answer.status, answer.text()))?;
        ensure!(
            id.is_none() || self.id.is_none() || id == self.id,
            "{}: {id:?}, not {:?}",
            self.name,
            self.id
        );
        Ok(())
    }
}

async fn keep_asking(
    visitor: Visitor,
    kind: Kind,
    count: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<Vec<Done>> {
    let mut done = Vec::new();
    let mut living = VecDeque::new();
    while !stop.load(Ordering::Relaxed) {
        let name = format!("wish-{}", done.len());
        let key = hex::encode(rand::rng().random::<[u8; 16]>());
        let body = kind.body(&name)?;
        let ask = Ask::new(Method::POST, &kind.path()).header("idempotency-key", &key).json(&body);
        let id = insist(&visitor, &ask).await.with_context(|| name.clone())?;
        living.push_back(match &id {
            Some(id) => id.clone(),
            None => token(&visitor, &name).await?,
        });
        done.push(Done { name, id, ask });
        if living.len() > kind.most() {
            end(&visitor, &kind, &living.pop_front().context("the oldest")?).await?;
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
    Ok(done)
}

/// Asks until it is done.
async fn insist(visitor: &Visitor, ask: &Ask) -> anyhow::Result<Option<String>> {
    let answer = persist(visitor, ask, |answer| !matches!(granted(answer), Ok(None))).await?;
    granted(&answer)?.context("a wish that was granted")
}

/// Asks until the answer will do. Not with `until`, whose closure no task can carry.
async fn persist(visitor: &Visitor, ask: &Ask, will_do: impl Fn(&Answer) -> bool) -> anyhow::Result<Answer> {
    let end = Instant::now() + DONE_WITHIN;
    loop {
        let asked = visitor.ask(ask.clone()).await;
        match asked {
            Ok(answer) if will_do(&answer) => return Ok(answer),
            Ok(answer) if Instant::now() > end => bail!("still {}: {}", answer.status, answer.text()),
            Err(error) if Instant::now() > end => return Err(error),
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// `None`: ask again. Else the id of what was made, unless it was told once before.
fn granted(answer: &Answer) -> anyhow::Result<Option<Option<String>>> {
    let text = answer.text();
    match answer.status.as_u16() {
        200..300 => Ok(Some(Some(answer.json()?["id"].as_str().context("an id")?.to_string()))),
        409 if text.contains("shown once") => Ok(Some(None)),
        409 if text.contains("still under way") => Ok(None),
        429 | 500.. => Ok(None),
        other => bail!("was answered {other}: {text}"),
    }
}

/// The id of a token by its name.
async fn token(visitor: &Visitor, name: &str) -> anyhow::Result<String> {
    let list = persist(visitor, &Ask::get("/api/v1/tokens"), |answer| answer.status == 200).await?.json()?;
    let all = list["items"].as_array().context("items")?;
    let found = all.iter().find(|each| each["name"] == name).context("a token that was made")?;
    Ok(found["id"].as_str().context("an id")?.to_string())
}

/// Ends a thing, and asks until it is ended. Nothing to end means that an answer was lost.
async fn end(visitor: &Visitor, kind: &Kind, id: &str) -> anyhow::Result<()> {
    let ask = Ask::new(Method::DELETE, &format!("{}/{id}", kind.path()));
    let ended = |answer: &Answer| answer.status.is_success() || matches!(answer.status.as_u16(), 404 | 409);
    persist(visitor, &ask, ended).await?;
    Ok(())
}

fn csr() -> anyhow::Result<String> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    Ok(CertificateParams::new(Vec::new())?.serialize_request(&key)?.pem()?)
}
