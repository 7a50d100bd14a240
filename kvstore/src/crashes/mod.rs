//! Tests of stores that are stopped at any moment: by a loss of power, by `kill -9` at points in the code, and by
//! `kill -9` at random.
//!
//! The store runs in a `child`, this test's program started again, where several writers use it through an engine. `parent`
//! starts that, looks at what is left, and has it judged.

mod child;
mod kills;
mod parent;
mod points;
mod power;
