//! The stateless node: admit, publish, deliver, acknowledge.
