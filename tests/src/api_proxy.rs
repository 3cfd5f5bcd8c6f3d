//! Between the provisioner and the API server: counts its calls, kills it at any of them, and tells it of changes
//! late, twice, in another order or never.
//!
//! It speaks plain HTTP to the provisioner (a kubeconfig may name an `http://` server) and mutual TLS to the
//! API server, with the operator's certificate.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::api_server::ApiServer;

type Answer = Response<BoxBody<Bytes, hyper::Error>>;

/// What happens at a changing call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The call never reaches the API server.
    Before,
    /// The API server does it, and nobody hears the answer.
    After,
}

/// How watches are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hearing {
    /// As they are.
    #[default]
    Good,
    /// Every third event never comes.
    Drops,
    /// Every event comes twice.
    Doubles,
    /// Two neighbours change places.
    Swaps,
}

/// Kills whom it stands in front of.
pub type Kill = Box<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct Plan {
    changes: u64,
    reads: u64,
    calls: Vec<String>,
    hearing: Hearing,
    crash: Option<(u64, Moment, Kill)>,
    cut: bool,
}

/// A running proxy.
pub struct ApiProxy {
    address: SocketAddr,
    plan: Arc<Mutex<Plan>>,
    task: JoinHandle<()>,
}

impl std::fmt::Debug for ApiProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiProxy").field("address", &self.address).finish_non_exhaustive()
    }
}

impl ApiProxy {
    /// A proxy in front of the API server of this kubeconfig, at an address that its user reaches.
    pub async fn start(kubeconfig: &Path, at: Ipv4Addr) -> anyhow::Result<ApiProxy> {
        let upstream = ApiServer::of(kubeconfig)?;
        let listener = TcpListener::bind((at, 0)).await?;
        let address = listener.local_addr()?;
        let plan = Arc::new(Mutex::new(Plan::default()));
        let task = tokio::spawn(accept(listener, upstream, plan.clone()));
        Ok(ApiProxy { address, plan, task })
    }

    /// Writes the kubeconfig that leads through the proxy.
    pub fn write_kubeconfig(&self, path: &Path) -> anyhow::Result<()> {
        let text = format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: it\n  cluster: {{server: \"http://{}\"}}\n\
             users:\n- name: it\n  user: {{}}\ncontexts:\n- name: it\n  context: {{cluster: it, user: it}}\n\
             current-context: it\n",
            self.address
        );
        Ok(std::fs::write(path, text)?)
    }

    /// Kills at the n-th changing call from now on, counted from 0.
    pub fn crash_at(&self, call: u64, moment: Moment, kill: Kill) {
        let mut plan = lock(&self.plan);
        let at = plan.changes + call;
        plan.crash = Some((at, moment, kill));
    }

    /// Whether the crash that was asked for has happened.
    pub fn crashed(&self) -> bool {
        lock(&self.plan).crash.is_none()
    }

    /// Watches that begin or go on from now are told so.
    pub fn hear(&self, hearing: Hearing) {
        lock(&self.plan).hearing = hearing;
    }

    /// Nothing passes any more, or again.
    pub fn cut(&self, cut: bool) {
        lock(&self.plan).cut = cut;
    }

    /// How many changing calls came so far.
    pub fn changes(&self) -> u64 {
        lock(&self.plan).changes
    }

    /// How many other calls came so far.
    pub fn reads(&self) -> u64 {
        lock(&self.plan).reads
    }

    /// The changing calls so far: method and path.
    pub fn calls(&self) -> Vec<String> {
        lock(&self.plan).calls.clone()
    }
}

impl Drop for ApiProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, upstream: ApiServer, plan: Arc<Mutex<Plan>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (upstream, plan) = (upstream.clone(), plan.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| pass(request, upstream.clone(), plan.clone()));
            // An error ends the connection, as the crash or the cut that it stands for would.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn pass(
    request: Request<Incoming>,
    upstream: ApiServer,
    plan: Arc<Mutex<Plan>>,
) -> anyhow::Result<Answer> {
    let crash = note(&request, &plan)?;
    if let Some((Moment::Before, kill)) = crash {
        kill();
        anyhow::bail!("killed before the call");
    }
    let watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let mut forward =
        Request::builder().method(parts.method).uri(parts.uri.path_and_query().context("a path")?.as_str());
    for (name, value) in &parts.headers {
        if name != "host" && name != "connection" && name != "content-length" {
            forward = forward.header(name, value);
        }
    }
    let forward = forward.header("host", upstream.address.to_string()).body(Full::new(body))?;
    let answer = upstream.line().await?.send(forward).await?;
    if let Some((Moment::After, kill)) = crash {
        kill();
        anyhow::bail!("killed after the call");
    }
    Ok(answer.map(|body| {
        if watch {
            Told { body, plan, held: Vec::new(), partial: Vec::new(), count: 0 }.boxed()
        } else {
            body.boxed()
        }
    }))
}

/// Counts a call; returns how to kill when its turn has come.
fn note(request: &Request<Incoming>, plan: &Mutex<Plan>) -> anyhow::Result<Option<(Moment, Kill)>> {
    let mut plan = lock(plan);
    anyhow::ensure!(!plan.cut, "the way is cut");
    if request.method() == Method::GET {
        plan.reads += 1;
        return Ok(None);
    }
    let call = plan.changes;
    plan.changes += 1;
    plan.calls.push(format!("{} {}", request.method(), request.uri().path()));
    if plan.crash.as_ref().is_some_and(|(at, ..)| *at == call) {
        return Ok(plan.crash.take().map(|(_, moment, kill)| (moment, kill)));
    }
    Ok(None)
}

/// A watch's lines, told as the plan says.
struct Told {
    body: Incoming,
    plan: Arc<Mutex<Plan>>,
    /// An event that waits for its neighbour.
    held: Vec<u8>,
    /// The beginning of a line.
    partial: Vec<u8>,
    count: u64,
}

impl Told {
    fn retell(&mut self, bytes: &[u8]) -> Vec<u8> {
        let hearing = lock(&self.plan).hearing;
        self.partial.extend_from_slice(bytes);
        let mut told = Vec::new();
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            self.count += 1;
            match hearing {
                Hearing::Good => told.extend(std::mem::take(&mut self.held).into_iter().chain(line)),
                Hearing::Drops if self.count.is_multiple_of(3) => {}
                Hearing::Drops => told.extend(line),
                Hearing::Doubles => told.extend(line.iter().chain(&line)),
                Hearing::Swaps if self.held.is_empty() => self.held = line,
                Hearing::Swaps => told.extend(line.into_iter().chain(std::mem::take(&mut self.held))),
            }
        }
        told
    }
}

impl Body for Told {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        loop {
            let frame = match std::task::ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                other => return Poll::Ready(other),
            };
            let Ok(data) = frame.into_data() else { continue };
            let told = self.retell(&data);
            if !told.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from(told)))));
            }
        }
    }
}

fn lock(plan: &Mutex<Plan>) -> std::sync::MutexGuard<'_, Plan> {
    plan.lock().unwrap_or_else(PoisonError::into_inner)
}
