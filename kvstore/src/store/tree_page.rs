//! One page of LMDB's trees, read past LMDB and believed in nothing. How the pages hang together is in `pages`.
//!
//! The layout is that of data version 1 on little-endian machines of 64 bits. A page begins with its number (8 bytes), 2 bytes without a
//! meaning, its flags, and where its free room begins and ends (2 bytes each). The offsets of its nodes follow, in the order of their
//! keys; the nodes fill the page from the end of the free room on, without a gap. A node begins with two halves of a number, flags and
//! the length of its key (2 bytes each). In a branch, all but the last are the number of a page; in a leaf, the halves are the
//! length of the data.

use super::meta_page::{number32, number64};
use super::options::MAX_KEY_BYTES;

pub(super) const HEADER_BYTES: usize = 16;
const FLAGS_AT: usize = 10;
const LOWER_AT: usize = 12;
const UPPER_AT: usize = 14;
const RUN_PAGES_AT: usize = 12;
const NODE_BYTES: usize = 8;

const BRANCH: u16 = 1;
const LEAF: u16 = 2;
const OVERFLOW: u16 = 4;

/// The data is the number of the first page of a run, which has the data itself.
const IN_RUN: u16 = 1;
/// The data is the root of a named database.
const IS_TREE: u16 = 2;

const TREE_BYTES: usize = 48;
/// The deepest tree that LMDB walks through.
const MAX_DEPTH: u16 = 32;

/// Where a tree begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tree {
    pub(super) flags: u16,
    pub(super) depth: u16,
    /// None for one without entries.
    pub(super) root: Option<u64>,
}

impl Tree {
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (flags, depth) = (number16(bytes, 4)?, number16(bytes, 6)?);
        let root = Some(number64(bytes, 40)?).filter(|root| *root != u64::MAX);
        let is_sound = if root.is_some() { (1..=MAX_DEPTH).contains(&depth) } else { depth == 0 };
        is_sound.then_some(Self { flags, depth, root })
    }
}

/// What a node leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Held<'p> {
    Child(u64),
    Data(&'p [u8]),
    /// So many bytes in pages of their own, from this one on.
    Run {
        page: u64,
        bytes: u64,
    },
    Tree(Tree),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Node<'p> {
    pub(super) key: &'p [u8],
    pub(super) held: Held<'p>,
}

/// The nodes of the page that should have this number, and be a leaf or a branch.
pub(super) fn nodes(page: &[u8], number: u64, is_leaf: bool) -> Result<Vec<Node<'_>>, &'static str> {
    const SHORT: &str = "it is too short";
    if number64(page, 0) != Some(number) {
        return Err("it has the number of another");
    }
    if number16(page, FLAGS_AT) != Some(if is_leaf { LEAF } else { BRANCH }) {
        return Err("it is not of the kind that it should be");
    }
    let lower = usize::from(number16(page, LOWER_AT).ok_or(SHORT)?);
    let upper = usize::from(number16(page, UPPER_AT).ok_or(SHORT)?);
    if lower <= HEADER_BYTES || lower % 2 != 0 || upper < lower || upper > page.len() {
        return Err("its free room is not within it");
    }
    let mut nodes = Vec::with_capacity((lower - HEADER_BYTES) / 2);
    let mut places = Vec::with_capacity(nodes.capacity());
    for at in (HEADER_BYTES..lower).step_by(2) {
        let start = usize::from(number16(page, at).ok_or(SHORT)?);
        let (node, bytes) = node(page, start, is_leaf).ok_or("a node is none, or not within it")?;
        places.push((start, start + bytes));
        nodes.push(node);
    }
    places.sort_unstable();
    let end = places.iter().try_fold(upper, |end, (start, next)| (end == *start).then_some(next + next % 2));
    if end == Some(page.len()) { Ok(nodes) } else { Err("its nodes do not fill it") }
}

/// The node at this place, and how long it is.
fn node(page: &[u8], start: usize, is_leaf: bool) -> Option<(Node<'_>, usize)> {
    let (number, flags) = (number32(page, start)?, number16(page, start + 4)?);
    let key_bytes = usize::from(number16(page, start + 6)?);
    let body = page.get(start + NODE_BYTES..)?;
    let (key, rest) = body.split_at_checked(key_bytes).filter(|_| key_bytes <= MAX_KEY_BYTES)?;
    if !is_leaf {
        let child = u64::from(number) | u64::from(flags) << 32;
        return Some((Node { key, held: Held::Child(child) }, NODE_BYTES + key_bytes));
    }
    let is_run = flags == IN_RUN;
    let data = rest.get(..if is_run { 8 } else { usize::try_from(number).ok()? })?;
    let held = match flags {
        0 => Held::Data(data),
        IN_RUN => Held::Run { page: number64(data, 0)?, bytes: number.into() },
        IS_TREE if data.len() == TREE_BYTES => Held::Tree(Tree::read(data)?),
        _ => return None,
    };
    let is_key = key_bytes > 0;
    is_key.then_some((Node { key, held }, NODE_BYTES + key_bytes + data.len()))
}

/// The pages of the run whose first page should have this number.
pub(super) fn run_pages(header: &[u8], number: u64) -> Result<u64, &'static str> {
    if number64(header, 0) != Some(number) {
        return Err("it has the number of another");
    }
    if number16(header, FLAGS_AT) != Some(OVERFLOW) {
        return Err("it is not of the kind that it should be");
    }
    number32(header, RUN_PAGES_AT).map(u64::from).ok_or("it is too short")
}

fn number16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}
