//! The command line of an ensemble.
