//! Looks at the pages of LMDB's trees before LMDB is given the file, which believes what they say: a wrong number in them can end
//! the process, or have it go in circles.
//!
//! From the newer meta page on, all trees are walked through: the unnamed database with the named ones, and the free pages. Nothing is
//! written. Every page has to be in the file, of the right kind, used once, and its keys in order and between those that lead
//! to it. What the records hold is theirs to check. Where no LMDB file of a known layout is found, nothing is said: LMDB does.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::mem;
use std::os::unix::fs::FileExt as _;
use std::rc::Rc;

use super::meta_page::{MAGIC, VERSION, number32, number64};
use super::tree_page::{self, HEADER_BYTES, Held, Tree};

/// How much of the trees is looked at when a store is opened, so that a large store opens as fast as any. The free pages come first, then
/// branches, leaves, and the first pages of values that have some of their own.
pub(super) const LOOKED_AT_BYTES: u64 = 64 << 20;

const META_BYTES: usize = 152;
const MAX_PAGE_BYTES: u32 = 32 << 10;

/// What the flags of the free pages' tree can be: its keys are numbers; and what LMDB keeps there of how the file was opened.
const FREE_FLAGS: u16 = 0x08;
const OPENED_FLAGS: u16 = 0x4001;

#[derive(Debug, thiserror::Error)]
pub(super) enum PagesError {
    #[error("the file could not be read")]
    Io(#[from] io::Error),
    #[error("page {page}: {what}")]
    Damaged { page: u64, what: &'static str },
}

/// What was looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Looked {
    pub(super) pages: u64,
    /// It was all there is.
    pub(super) is_all: bool,
}

/// Looks at so many bytes of the trees of a file that nobody writes.
pub(super) fn look(file: &File, limit_bytes: u64) -> Result<Looked, PagesError> {
    if cfg!(not(all(target_endian = "little", target_pointer_width = "64"))) {
        return Ok(Looked::default());
    }
    let Some(metas) = Metas::read(file)? else { return Ok(Looked::default()) };
    let (number, meta) = metas.newer()?;
    if meta.free.flags & !OPENED_FLAGS != FREE_FLAGS || meta.main.flags != 0 {
        return Err(PagesError::Damaged { page: number, what: "its trees are of another kind" });
    }
    let mut walk = Walk {
        file,
        page_bytes: metas.page_bytes as usize,
        last_page: meta.last_page,
        left_bytes: limit_bytes,
        looked: Looked { pages: 0, is_all: true },
        seen: HashSet::new(),
        branches: Vec::new(),
        leaves: Vec::new(),
        runs: Vec::new(),
        used: Vec::new(),
    };
    walk.plant(Kind::Free, meta.free)?;
    walk.trees()?;
    walk.runs()?;
    let has_all_free = walk.looked.is_all;
    let free_pages = mem::take(&mut walk.used);
    walk.plant(Kind::Main, meta.main)?;
    walk.trees()?;
    // The named ones were found in its leaves.
    walk.trees()?;
    walk.runs()?;
    if has_all_free {
        walk.check_end(&free_pages)?;
    }
    walk.used.extend(free_pages);
    walk.check_used()?;
    Ok(walk.looked)
}

/// What a meta page says.
struct Meta {
    free: Tree,
    main: Tree,
    last_page: u64,
}

struct Metas {
    page_bytes: u32,
    /// The number of its transaction, and what it says where that can be.
    both: [(u64, Option<Meta>); 2],
}

impl Metas {
    /// None where they are no meta pages of a known layout.
    fn read(file: &File) -> Result<Option<Self>, PagesError> {
        let mut page = [0; META_BYTES];
        let mut read = |at| match file.read_exact_at(&mut page, at) {
            Ok(()) => Ok(is_meta(&page).then_some(page)),
            Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(cause) => Err(cause),
        };
        let Some(first) = read(0)? else { return Ok(None) };
        let page_bytes = number32(&first, 40).unwrap_or(0);
        if !page_bytes.is_power_of_two() || !(512..=MAX_PAGE_BYTES).contains(&page_bytes) {
            return Err(PagesError::Damaged { page: 0, what: "its pages have a length that is none" });
        }
        let Some(second) = read(page_bytes.into())? else { return Ok(None) };
        if number32(&second, 40) != Some(page_bytes) {
            return Err(PagesError::Damaged { page: 1, what: "its pages have another length" });
        }
        let both = [first, second].map(|page| {
            let meta = || {
                Some(Meta {
                    free: Tree::read(&page[40..])?,
                    main: Tree::read(&page[88..])?,
                    last_page: number64(&page, 136)?,
                })
            };
            (number64(&page, 144).unwrap_or(0), meta())
        });
        Ok(Some(Self { page_bytes, both }))
    }

    /// The one that LMDB goes by. Transactions write them by turns.
    fn newer(&self) -> Result<(u64, &Meta), PagesError> {
        let [(first, _), (second, _)] = self.both;
        let number = usize::from(first < second);
        let damaged = |what| PagesError::Damaged { page: number as u64, what };
        let newest = first.max(second);
        if first.abs_diff(second) > 1 || (newest > 0 && newest % 2 != number as u64) {
            return Err(damaged("its transaction does not come after that of the other"));
        }
        let meta = self.both[number].1.as_ref().ok_or_else(|| damaged("its trees begin nowhere"))?;
        Ok((number as u64, meta))
    }
}

fn is_meta(page: &[u8]) -> bool {
    number32(page, 16) == Some(MAGIC) && number32(page, 20) == Some(VERSION)
}

/// Of which tree a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Transaction to the pages that it has freed.
    Free,
    /// The unnamed database.
    Main,
    Named,
}

/// A page of a tree that is to be looked at.
struct Visit {
    kind: Kind,
    page: u64,
    /// How many levels there are from it down; 1 for a leaf.
    levels: u16,
    /// Its keys are not below this one.
    low: Option<Rc<[u8]>>,
    /// Its keys are below this one.
    high: Option<Rc<[u8]>>,
}

/// Pages with the data of one entry that are to be looked at.
struct Run {
    kind: Kind,
    page: u64,
    bytes: u64,
}

struct Walk<'f> {
    file: &'f File,
    page_bytes: usize,
    last_page: u64,
    left_bytes: u64,
    looked: Looked,
    /// The pages of trees that were met.
    seen: HashSet<u64>,
    branches: Vec<Visit>,
    leaves: Vec<Visit>,
    runs: Vec<Run>,
    /// First page and number of pages: of runs, and of what is free.
    used: Vec<(u64, u64)>,
}

impl Walk<'_> {
    fn plant(&mut self, kind: Kind, tree: Tree) -> Result<(), PagesError> {
        let Some(page) = tree.root else { return Ok(()) };
        self.push(Visit { kind, page, levels: tree.depth, low: None, high: None })
    }

    /// Notes a page for later, unless there will be no time for it.
    fn push(&mut self, visit: Visit) -> Result<(), PagesError> {
        self.check_range(visit.page, 1)?;
        let noted = self.branches.len() + self.leaves.len();
        if !self.has_time_for(noted) {
            return Ok(());
        }
        if !self.seen.insert(visit.page) {
            return Err(PagesError::Damaged { page: visit.page, what: "two places lead to it" });
        }
        if visit.levels > 1 {
            self.branches.push(visit)
        } else {
            self.leaves.push(visit)
        }
        Ok(())
    }

    fn has_time_for(&mut self, noted: usize) -> bool {
        let has_time = (noted as u64).saturating_mul(self.page_bytes as u64) < self.left_bytes;
        self.looked.is_all &= has_time;
        has_time
    }

    fn check_range(&self, page: u64, pages: u64) -> Result<(), PagesError> {
        let last = page.checked_add(pages).map(|end| end - 1);
        if page >= 2 && pages > 0 && last.is_some_and(|last| last <= self.last_page) {
            Ok(())
        } else {
            Err(PagesError::Damaged { page, what: "there is no such page" })
        }
    }

    /// Looks at what was noted of trees: level by level, as they lie in the file, and the leaves last.
    fn trees(&mut self) -> Result<(), PagesError> {
        loop {
            let mut level = mem::take(&mut self.branches);
            if level.is_empty() {
                level = mem::take(&mut self.leaves);
            }
            if level.is_empty() {
                return Ok(());
            }
            level.sort_unstable_by_key(|visit| visit.page);
            let is_last = level[0].levels == 1;
            for visit in level {
                self.visit(&visit)?;
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// Reads a part of a page that is within the limit; none where it is not.
    fn read(&mut self, page: u64, bytes: usize) -> Result<Option<Vec<u8>>, PagesError> {
        let cost = bytes.next_multiple_of(self.page_bytes) as u64;
        let Some(left_bytes) = self.left_bytes.checked_sub(cost) else {
            self.looked.is_all = false;
            return Ok(None);
        };
        self.left_bytes = left_bytes;
        self.looked.pages += cost / self.page_bytes as u64;
        let cut = PagesError::Damaged { page, what: "the file ends before it" };
        let Some(at) = page.checked_mul(self.page_bytes as u64) else { return Err(cut) };
        let mut read = vec![0; bytes];
        match self.file.read_exact_at(&mut read, at) {
            Ok(()) => Ok(Some(read)),
            Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => Err(cut),
            Err(cause) => Err(cause.into()),
        }
    }

    fn visit(&mut self, visit: &Visit) -> Result<(), PagesError> {
        let Some(page) = self.read(visit.page, self.page_bytes)? else { return Ok(()) };
        let damaged = |what| PagesError::Damaged { page: visit.page, what };
        let is_leaf = visit.levels == 1;
        let nodes = tree_page::nodes(&page, visit.page, is_leaf).map_err(damaged)?;
        // LMDB stops the process where a branch has one child, unless it is of the free pages.
        if !is_leaf && nodes.len() < 2 && visit.kind != Kind::Free {
            return Err(damaged("it has one child"));
        }
        // The first key of a branch says nothing.
        let keys = || nodes.iter().skip(usize::from(!is_leaf)).map(|node| node.key);
        let is_below = |one: &[u8], other: &[u8]| place(visit.kind, one) < place(visit.kind, other);
        let is_key = |key: &[u8]| visit.kind != Kind::Free || key.len() == 8;
        let is_in_order = keys().is_sorted_by(|one, next| is_below(one, next))
            && keys().all(is_key)
            && keys().next().zip(visit.low.as_deref()).is_none_or(|(first, low)| !is_below(first, low))
            && keys().next_back().zip(visit.high.as_deref()).is_none_or(|(last, high)| is_below(last, high));
        if !is_in_order {
            return Err(damaged("its keys are not in order"));
        }
        let bounds: Vec<Option<Rc<[u8]>>> = if is_leaf {
            Vec::new()
        } else {
            let between = keys().map(|key| Some(key.into()));
            [visit.low.clone()].into_iter().chain(between).chain([visit.high.clone()]).collect()
        };
        for (index, node) in nodes.iter().enumerate() {
            match node.held {
                Held::Child(page) => self.push(Visit {
                    kind: visit.kind,
                    page,
                    levels: visit.levels - 1,
                    low: bounds[index].clone(),
                    high: bounds[index + 1].clone(),
                })?,
                Held::Data(data) if visit.kind == Kind::Free => self.free(visit.page, data)?,
                Held::Data(_) => {}
                Held::Run { page, bytes } => self.push_run(Run { kind: visit.kind, page, bytes })?,
                Held::Tree(tree) if visit.kind == Kind::Main && tree.flags == 0 => {
                    self.plant(Kind::Named, tree)?;
                }
                Held::Tree(_) => return Err(damaged("it has a tree of another kind")),
            }
        }
        Ok(())
    }

    fn run_least_pages(&self, run: &Run) -> u64 {
        (HEADER_BYTES as u64 + run.bytes).div_ceil(self.page_bytes as u64)
    }

    fn push_run(&mut self, run: Run) -> Result<(), PagesError> {
        self.check_range(run.page, self.run_least_pages(&run))?;
        if self.has_time_for(self.runs.len()) {
            self.runs.push(run);
        }
        Ok(())
    }

    /// Looks at the runs that were noted, as they lie in the file.
    fn runs(&mut self) -> Result<(), PagesError> {
        let mut runs = mem::take(&mut self.runs);
        runs.sort_unstable_by_key(|run| run.page);
        for run in runs {
            let least = self.run_least_pages(&run);
            // The list of free pages is in the file to its end, or was not believed above.
            let bytes = if run.kind == Kind::Free { run.bytes as usize } else { 0 };
            let Some(read) = self.read(run.page, HEADER_BYTES + bytes)? else {
                self.used.push((run.page, least));
                continue;
            };
            let damaged = |what| PagesError::Damaged { page: run.page, what };
            let pages = tree_page::run_pages(&read, run.page).map_err(damaged)?;
            if pages < least {
                return Err(damaged("it has fewer pages than its data"));
            }
            self.check_range(run.page, pages)?;
            self.used.push((run.page, pages));
            if run.kind == Kind::Free {
                self.free(run.page, &read[HEADER_BYTES..])?;
            }
        }
        Ok(())
    }

    /// Takes a list of free pages: how many they are, and their numbers from the last to the first.
    fn free(&mut self, page: u64, list: &[u8]) -> Result<(), PagesError> {
        let damaged = || PagesError::Damaged { page, what: "its list of free pages is none" };
        let mut numbers = list.chunks_exact(8).filter_map(|number| number64(number, 0));
        let count = numbers.next().ok_or_else(damaged)?;
        let numbers = || numbers.clone().take(usize::try_from(count).unwrap_or(usize::MAX));
        if numbers().count() as u64 != count || !numbers().is_sorted_by(|one, next| one > next) {
            return Err(damaged());
        }
        for number in numbers() {
            self.check_range(number, 1)?;
            self.used.push((number, 1));
        }
        Ok(())
    }

    /// LMDB may never have written the last pages, if they are free. It makes the file as long as it says that it is.
    fn check_end(&self, free_pages: &[(u64, u64)]) -> Result<(), PagesError> {
        let file_pages = self.file.metadata()?.len() / self.page_bytes as u64;
        let missing = (self.last_page.saturating_add(1)).saturating_sub(file_pages);
        let free = free_pages.iter().filter(|(page, _)| *page >= file_pages).count() as u64;
        if missing > free {
            return Err(PagesError::Damaged { page: file_pages, what: "the file ends before it" });
        }
        Ok(())
    }

    /// No page is used twice, or used and free.
    fn check_used(&mut self) -> Result<(), PagesError> {
        self.used.extend(self.seen.iter().map(|page| (*page, 1)));
        self.used.sort_unstable();
        for pair in self.used.windows(2) {
            if let [(first, pages), (page, _)] = *pair
                && page < first + pages
            {
                return Err(PagesError::Damaged { page, what: "it is used twice" });
            }
        }
        Ok(())
    }
}

/// What keys are compared by: those of the free pages are numbers.
fn place(kind: Kind, key: &[u8]) -> (u64, &[u8]) {
    match kind {
        Kind::Free => (number64(key, 0).unwrap_or(0), &[]),
        Kind::Main | Kind::Named => (0, key),
    }
}
