//! What was accepted and what was delivered, on disk, and the judgement over both.
