//! Consumes the logs: drops repeats, decides, stores, pushes, commits.
