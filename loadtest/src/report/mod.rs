//! What a run leaves for people and programs.

pub mod summary;
