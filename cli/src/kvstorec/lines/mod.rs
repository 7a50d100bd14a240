//! Lines of JSON that are read and written: what a line of input says, in our own words where it is wrong, and the form of
//! an export. What is done with them is in the commands.

mod bytes;
mod format;
mod members;
mod reader;
mod writer;

pub(super) use format::{Ending, Entry, Header, LeftOut, MAX_OVERHEAD_BYTES};
pub(super) use members::{LineError, Members};
pub(super) use reader::{Item, ReadError, Reader};
pub(super) use writer::Writer;
