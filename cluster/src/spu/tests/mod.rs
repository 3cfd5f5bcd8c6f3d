//! An SPU met over its socket.

mod assigned;
mod consumers;
mod fixture;
mod produce;
mod rot;
mod rules;
mod stream;
