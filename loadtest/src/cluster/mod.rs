//! The servers under test: processes of this machine, or a cluster that runs elsewhere.
