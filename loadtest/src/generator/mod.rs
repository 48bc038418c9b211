//! What does to the cluster what the scenario says, at its intended times.
