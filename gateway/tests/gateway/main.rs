//! The gateway as its clients, its clusters and its operator meet it: over real sockets.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

mod balancers; // load balancers in front, and who only says to be one
mod flood; // ten thousand half-open connections against the built program
mod hellos; // what is read of a hello, however it comes
mod limits; // per address, per cluster, in all
mod operator; // metrics, health, stop
mod passing; // bytes both ways, ends and resets
mod postgres; // routes and usage with a real database
mod refusals; // every bad hello, all answered alike
mod routes; // table changes, the table file
