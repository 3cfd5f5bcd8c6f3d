//! The SC over real sockets: clients speak TLS to it, and a hand-led SPU is on its link.

mod fixture;
mod objects;
mod rules;
mod spus;
mod topics;
mod watches;
