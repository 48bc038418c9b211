//! The traits every engine implements, and the contract suite it must pass.
