//! One run driven from several machines: a coordinator and its agents.
