mod attempts; // a provisioner that has been taken over, on a real API server
mod database; // its files for Postgres and the programs, started
mod installed; // installed, upgraded and removed as its README says, on a real API server
mod lint; // Helm and the schemas of Kubernetes find nothing to say
mod network; // who reaches whom
mod pod_security; // pods that its namespaces must not take
mod pods; // what every pod of every value set has and has not
mod rights; // what the provisioner may do, in full
mod values; // values that are refused
