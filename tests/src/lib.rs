//! The harness of the black-box tests, the demo and the benchmarks: it starts the built programs as a person
//! would, and meets them only where the world meets them, on their ports, pages and commands.
//!
//! - [`cloud`]: an embedded cloud in a folder of its own, which never outlives its test process;
//! - [`fleet`]: a cloud on a Kubernetes that ends with it;
//! - [`region`], [`border`], [`api_proxy`], [`api_server`]: a provisioner by itself, a gateway for its clusters, and
//!   somebody between it and the API server;
//! - [`visitor`], [`person`], [`tenant`]: the actors, each with what it may do and no more;
//! - [`raw`], [`wire`], [`hello`]: bytes no honest client would send;
//! - [`replica`]: one more portal on the same database;
//! - [`standby`]: a database with a standby that takes over;
//! - [`wishes`]: somebody who keeps asking for things, and tries again until each is there;
//! - [`apart`]: SC and SPUs as processes that meet over TCP, as pods do; [`nets`]: each in a network of its own;
//! - [`node`]: one cluster process by itself, on a disk that the test holds;
//! - [`laptop`]: somebody who runs a cluster on a machine of their own, without any cloud;
//! - [`disk`]: a file system whose power can be cut, and that can be full;
//! - [`hammer`]: a writer that keeps many batches under way;
//! - [`generator`]: load that costs little, for measuring;
//! - [`chart`], [`schemas`]: the Kubernetes chart as Helm renders it, and what Kubernetes knows of its objects;
//! - [`nodeless`]: a Kubernetes without a node, with the chart installed;
//! - [`oracle`]: what was acknowledged, and whether all of it is still there; [`history`]: and whether one log explains
//!   what all clients saw;
//! - [`chromium`], [`python`]: clients that nobody here wrote.

#![allow(missing_docs, reason = "a harness, not a library: names say what things are")]

pub mod apart;
pub mod api_proxy;
pub mod api_server;
pub mod border;
pub mod chart;
pub mod chromium;
pub mod cloud;
pub mod dataset;
pub mod disk;
pub mod fleet;
pub mod floor;
pub mod generator;
pub mod guard;
pub mod hammer;
pub mod hello;
pub mod history;
pub mod http;
pub mod laptop;
pub mod nets;
pub mod node;
pub mod nodeless;
pub mod older;
pub mod oracle;
pub mod paced;
pub mod person;
pub mod processes;
pub mod programs;
pub mod python;
pub mod raw;
pub mod region;
pub mod replica;
pub mod scale;
pub mod schemas;
pub mod standby;
pub mod stream;
pub mod tenant;
pub mod visitor;
pub mod wait;
pub mod wire;
pub mod wishes;
