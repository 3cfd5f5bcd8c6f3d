//! The cloud on a real API server, kubelet and container runtime. All tests share one node.

mod changes; // SPUs added and removed, pause and resume, deletion that leaves nothing
mod churn; // many clusters made, changed and deleted, and nothing left of them
mod copies;
mod crashes; // the provisioner killed at every call, told of changes wrongly, cut off
mod drift; // each owned object deleted or edited comes back
mod faults; // pods killed, kubelet and API server restarted, under load
mod main_job; // sign-up to the first record, in the tenant's own namespace
mod release; // another image rolled out under load
mod scale; // two hundred tenants on simulated nodes: what settling them and one change cost
mod sharing; // two provisioners for one region
