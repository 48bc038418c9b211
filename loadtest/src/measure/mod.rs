//! Latencies, rates, and what the machine and the processes used.
