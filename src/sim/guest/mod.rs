//! The model machine: a guest whose files, units and tools are simulated, strictly.
