//! The program `posthorn`: configuration, assembly, run, drain, command line.

pub mod admin;
pub mod assemble;
pub mod catalogue;
pub mod cli;
pub mod clock;
pub mod command;
pub mod config;
pub mod content;
pub mod demo;
pub mod development;
pub mod exit;
pub mod failure;
pub mod findings;
pub mod input;
pub mod locate;
pub mod mesh_authority;
pub mod metrics;
pub mod name;
pub mod open_files;
pub mod output;
pub mod peer;
pub mod private_file;
mod program;
pub mod run;
pub mod show;
pub mod telemetry;
pub mod x509;

pub use program::main;
