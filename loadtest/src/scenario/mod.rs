//! The scenario file: who there is, what they do, and what is expected.
