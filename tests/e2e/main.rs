//! Everything that Fluvio Cloud promises, tried from outside on the built programs.

mod apart; // SC and SPUs that meet over TCP: strangers, silence, and SPUs that leave
mod bad_certificates; // CSRs and certificates that must open nothing
mod bad_forms; // weak passwords, taken addresses, used links, foreign CSRF tokens
mod bad_frames; // lengths, records, names and offsets that lie
mod bad_hellos; // server names that no honest client sends
mod browser; // sign-up to consume in Chromium, with a picture of every page
mod chaos; // kill -9 of each program under load, and of the machine's one process
mod chart; // the Kubernetes chart: what it renders, refuses, permits and starts
mod command_line; // `fluvio` and `fluvio cloud …` as a person types them
mod copies; // three copies of each partition: SPUs that die, sleep, and all at once
mod failover; // the database killed, and its standby in its place
mod generator; // what measures the engine moves the same records as the published client
mod isolation; // five tenants, every ordered pair, on every way in
mod kills; // kill -9 of a cluster at any moment, many times
mod kubernetes; // the same cloud on a real Kubernetes: drift, faults, scale, pause, deletion
mod laptop; // an engine of one's own, without the cloud: start, check, status, shutdown, delete
mod limits; // quotas, floods, and the others who must not notice
mod main_job; // sign-up to the first record, every codec, isolation, offset and partition
mod objects; // table formats, SmartModules, SPUs and groups as the published client stores and lists them
mod older; // two older releases of the published client
mod own_tls; // the portal's own certificate, renewed while it runs
mod partitions; // servers that do not reach each other, and whether one log explains what clients saw
mod permissions; // certificates with rules for topics, changed while they are used
mod planted; // acknowledging before fsync, planted in a copy, is caught
mod power_cuts; // the disk as it was at the instant of the cut
mod promises; // every promise names a test that exists
mod python; // the published wheel: login, produce, consume
mod regions; // where a cluster runs, and what its clients are told
mod replicas; // two portals on one database: whichever answers
mod revocation; // a revoked certificate is cut off, also mid-stream
mod rot; // bits that flip on a disk, mended from another copy
mod sizes; // plans, pause and resume
mod topics;
