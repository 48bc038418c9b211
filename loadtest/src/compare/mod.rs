//! Two runs side by side, and whether the second is worse.
