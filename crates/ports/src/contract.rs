//! What every engine must do, as tests an engine runs.
