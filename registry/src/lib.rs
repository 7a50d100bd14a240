//! The registry of an ensemble.
