//! The program `posthorn`: configuration, assembly, run, drain, command line.

pub mod catalogue;
pub mod config;
pub mod exit;
pub mod failure;
