//! Fixtures for tests that run real processes.
