//! Tests of the forms, and of what they have in common.

mod binary;
mod json;
mod limits;
mod round_trips;
mod sexp;
mod strategy;
mod typed;
