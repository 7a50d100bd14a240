//! Tests of the engine: over a real store, and over functions that wait, watch and panic on command.
