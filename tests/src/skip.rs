//! Tests that are not possible everywhere.

use std::{
    env,
    io::{self, Write as _},
};

/// Where this variable is set, everything is possible, and a test that is skipped has failed.
const NO_SKIP: &str = "ENSEMBLE_TESTS_NO_SKIP";

/// Says that something was not tested, and why.
///
/// # Panics
/// When `ENSEMBLE_TESTS_NO_SKIP` is set.
#[track_caller]
pub fn skip(why: &str) {
    assert!(env::var_os(NO_SKIP).is_none(), "not tested, though {NO_SKIP} is set: {why}");
    // Not with the macro, whose output the test harness keeps to itself where the test passes.
    drop(writeln!(io::stderr(), "SKIPPED: {why}"));
}
