//! The disk: files and their names in memory, what of them is durable, and the cut of the power.
//!
//! - A file's data is durable from its sync on, and not before: see `content`.
//! - A name is durable from the sync of its directory on; the sync of a file says nothing of its names. To rename is one
//!   change of two names.
//! - What is not durable is kept or lost by chance when the power goes, which a seed repeats.
//!
//! No FUSE here: see `shell`.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::{OsStr, OsString},
    fs, io, mem,
    path::Path,
};

use super::content::Content;
use crate::random::Random;

/// The number of the root, as FUSE has it.
pub(super) const ROOT: u64 = 1;

/// The number of the file on which programs say something to the test; it is no part of the disk.
pub(super) const CONSOLE: u64 = 2;

/// Its name, in the root.
pub(super) const CONSOLE_NAME: &str = "console";

/// Why something is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    NoPower,
    Missing,
    Exists,
    NotEmpty,
    IsDirectory,
    IsNoDirectory,
}

/// What is to be remembered of what was done, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A program has said this line.
    Said(String),
    /// The data of the file with this name is durable.
    Synced(OsString),
    /// The file has this name now, and no other before.
    Renamed(OsString),
    /// The names in a directory are durable.
    NamesSynced,
}

/// When the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// At the change of this number: those of data, names and lengths, and syncs. A write that goes on where the last one
    /// has ended counts as one with it.
    AtChange(u64),
    /// When this many lines have been said.
    AtLine(u64),
}

/// What kind of thing a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Looks {
    pub(super) number: u64,
    pub(super) is_directory: bool,
    pub(super) bytes: u64,
    pub(super) mode: u16,
    pub(super) links: u32,
}

#[derive(Debug)]
struct Node {
    mode: u16,
    body: Body,
}

#[derive(Debug)]
enum Body {
    File(Content),
    Directory(Names),
}

#[derive(Debug, Default)]
struct Names {
    now: BTreeMap<OsString, u64>,
    durable: BTreeMap<OsString, u64>,
}

/// A change of names that is not durable: one goes, one comes, or both.
#[derive(Debug)]
struct NameChange {
    gone: Option<(u64, OsString)>,
    come: Option<(u64, OsString, u64)>,
}

impl NameChange {
    fn is_in(&self, directory: u64) -> bool {
        let gone = self.gone.as_ref().map(|(parent, _)| *parent);
        let come = self.come.as_ref().map(|(parent, _, _)| *parent);
        [gone, come].contains(&Some(directory))
    }
}

/// A disk with a file system. See the module.
#[derive(Debug)]
pub(super) struct Disk {
    nodes: HashMap<u64, Node>,
    next: u64,
    names: Vec<NameChange>,
    random: Random,
    is_on: bool,
    cut: Option<Cut>,
    changes: u64,
    /// The file that was written last, and where that ended.
    written_to: Option<(u64, usize)>,
    lines: u64,
    events: Vec<Event>,
    ignores_syncs: bool,
}

impl Disk {
    pub(super) fn new(seed: u64) -> Self {
        let root = Node { mode: 0o700, body: Body::Directory(Names::default()) };
        Self {
            nodes: HashMap::from([(ROOT, root)]),
            next: CONSOLE + 1,
            names: Vec::new(),
            random: Random::new(seed),
            is_on: true,
            cut: None,
            changes: 0,
            written_to: None,
            lines: 0,
            events: Vec::new(),
            ignores_syncs: false,
        }
    }

    /// As a disk that says that it has synced, and has not.
    pub(super) fn ignore_syncs(&mut self) {
        self.ignores_syncs = true;
    }

    /// Has the power go at that moment, counted from now on.
    pub(super) fn cut_at(&mut self, cut: Cut) {
        (self.changes, self.lines, self.cut) = (0, 0, Some(cut));
    }

    pub(super) fn is_on(&self) -> bool {
        self.is_on
    }

    /// What happened since the last time that this was asked.
    pub(super) fn take_events(&mut self) -> Vec<Event> {
        mem::take(&mut self.events)
    }

    fn powered(&self) -> Result<(), Refused> {
        if self.is_on { Ok(()) } else { Err(Refused::NoPower) }
    }

    /// Counts a change, at which the power may go: what asked for it has no answer then.
    fn changed(&mut self) -> Result<(), Refused> {
        self.changes += 1;
        if self.cut.is_some_and(|cut| cut == Cut::AtChange(self.changes)) {
            self.cut_now();
        }
        self.powered()
    }

    /// The power goes. What is left is what is durable, and some of the rest; nothing is answered until it is back.
    pub(super) fn cut_now(&mut self) {
        if !mem::take(&mut self.is_on) {
            return;
        }
        self.cut = None;
        let names = mem::take(&mut self.names);
        // File systems with a journal keep the order of names; nothing promises it.
        let up_to = self.random.percent(70).then(|| self.random.below(names.len() as u64 + 1) as usize);
        for (index, change) in names.into_iter().enumerate() {
            if up_to.map_or_else(|| self.random.percent(50), |up_to| index < up_to) {
                self.make_durable(change);
            }
        }
        let mut numbers: Vec<u64> = self.nodes.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            match self.nodes.get_mut(&number).map(|node| &mut node.body) {
                Some(Body::File(content)) => *content = Content::of(content.after_cut(&mut self.random)),
                Some(Body::Directory(names)) => names.now = names.durable.clone(),
                None => {}
            }
        }
        self.drop_unnamed();
    }

    /// The power is back.
    pub(super) fn power_on(&mut self) {
        self.is_on = true;
    }

    fn make_durable(&mut self, NameChange { gone, come }: NameChange) {
        let expected = "names are those of directories";
        if let Some((directory, name)) = gone {
            self.names_mut(directory).expect(expected).durable.remove(&name);
        }
        if let Some((directory, name, number)) = come {
            self.names_mut(directory).expect(expected).durable.insert(name, number);
        }
    }

    /// Forgets what no name leads to any more.
    fn drop_unnamed(&mut self) {
        let mut named = vec![ROOT];
        let mut index = 0;
        while let Some(number) = named.get(index) {
            if let Some(Node { body: Body::Directory(names), .. }) = self.nodes.get(number) {
                named.extend(names.now.values());
            }
            index += 1;
        }
        self.nodes.retain(|number, _| named.contains(number));
    }

    fn names(&self, directory: u64) -> Result<&Names, Refused> {
        match self.nodes.get(&directory).map(|node| &node.body) {
            Some(Body::Directory(names)) => Ok(names),
            Some(Body::File(_)) => Err(Refused::IsNoDirectory),
            None => Err(Refused::Missing),
        }
    }

    fn names_mut(&mut self, directory: u64) -> Result<&mut Names, Refused> {
        match self.nodes.get_mut(&directory).map(|node| &mut node.body) {
            Some(Body::Directory(names)) => Ok(names),
            Some(Body::File(_)) => Err(Refused::IsNoDirectory),
            None => Err(Refused::Missing),
        }
    }

    fn content(&mut self, file: u64) -> Result<&mut Content, Refused> {
        match self.nodes.get_mut(&file).map(|node| &mut node.body) {
            Some(Body::File(content)) => Ok(content),
            Some(Body::Directory(_)) => Err(Refused::IsDirectory),
            None => Err(Refused::Missing),
        }
    }

    /// Does a change of names, which is not durable for now.
    fn change_names(&mut self, change: NameChange) -> Result<(), Refused> {
        if let Some((directory, name)) = &change.gone {
            self.names_mut(*directory)?.now.remove(name);
        }
        if let Some((directory, name, number)) = &change.come {
            self.names_mut(*directory)?.now.insert(name.clone(), *number);
        }
        self.names.push(change);
        self.changed()
    }

    pub(super) fn look(&self, number: u64) -> Result<Looks, Refused> {
        self.powered()?;
        if number == CONSOLE {
            return Ok(Looks { number, is_directory: false, bytes: 0, mode: 0o600, links: 1 });
        }
        let node = self.nodes.get(&number).ok_or(Refused::Missing)?;
        let named = self.nodes.values().filter_map(|node| match &node.body {
            Body::Directory(names) => Some(names.now.values().filter(|named| **named == number).count()),
            Body::File(_) => None,
        });
        let links = u32::try_from(named.sum::<usize>()).unwrap_or(u32::MAX);
        let (is_directory, bytes) = match &node.body {
            Body::File(content) => (false, content.now().len() as u64),
            Body::Directory(_) => (true, 0),
        };
        Ok(Looks { number, is_directory, bytes, mode: node.mode, links })
    }

    pub(super) fn find(&self, directory: u64, name: &OsStr) -> Result<Looks, Refused> {
        self.powered()?;
        if directory == ROOT && name == CONSOLE_NAME {
            return self.look(CONSOLE);
        }
        let number = self.names(directory)?.now.get(name).copied().ok_or(Refused::Missing)?;
        self.look(number)
    }

    pub(super) fn list(&self, directory: u64) -> Result<Vec<(OsString, Looks)>, Refused> {
        let names = self.names(directory)?.now.iter();
        names.map(|(name, number)| Ok((name.clone(), self.look(*number)?))).collect()
    }

    pub(super) fn create(
        &mut self,
        directory: u64,
        name: &OsStr,
        mode: u16,
        is_directory: bool,
    ) -> Result<Looks, Refused> {
        self.powered()?;
        if self.find(directory, name).is_ok() {
            return Err(Refused::Exists);
        }
        let number = self.next;
        self.next += 1;
        let body =
            if is_directory { Body::Directory(Names::default()) } else { Body::File(Content::default()) };
        self.nodes.insert(number, Node { mode, body });
        self.link(number, directory, name)
    }

    /// Gives a file one more name.
    pub(super) fn link(&mut self, number: u64, directory: u64, name: &OsStr) -> Result<Looks, Refused> {
        self.powered()?;
        if self.find(directory, name).is_ok() {
            return Err(Refused::Exists);
        }
        self.change_names(NameChange { gone: None, come: Some((directory, name.to_owned(), number)) })?;
        self.look(number)
    }

    pub(super) fn remove(&mut self, directory: u64, name: &OsStr) -> Result<(), Refused> {
        let found = self.find(directory, name)?;
        if found.is_directory && !self.names(found.number)?.now.is_empty() {
            return Err(Refused::NotEmpty);
        }
        self.change_names(NameChange { gone: Some((directory, name.to_owned())), come: None })
    }

    pub(super) fn rename(
        &mut self,
        (from, old): (u64, &OsStr),
        (to, new): (u64, &OsStr),
    ) -> Result<(), Refused> {
        let found = self.find(from, old)?;
        self.events.push(Event::Renamed(new.to_owned()));
        self.change_names(NameChange {
            gone: Some((from, old.to_owned())),
            come: Some((to, new.to_owned(), found.number)),
        })
    }

    pub(super) fn read(&mut self, file: u64, at: usize, length: usize) -> Result<&[u8], Refused> {
        self.powered()?;
        Ok(self.content(file)?.read(at, length))
    }

    pub(super) fn write(&mut self, file: u64, at: usize, bytes: &[u8]) -> Result<(), Refused> {
        self.powered()?;
        if file == CONSOLE {
            self.say(bytes);
            return Ok(());
        }
        self.content(file)?.write(at, bytes);
        if self.written_to.replace((file, at + bytes.len())) == Some((file, at)) {
            return Ok(());
        }
        self.changed()
    }

    /// What a program says is known to the test, whatever happens to the disk.
    fn say(&mut self, bytes: &[u8]) {
        for line in String::from_utf8_lossy(bytes).lines() {
            self.lines += 1;
            self.events.push(Event::Said(line.to_owned()));
            if self.cut.is_some_and(|cut| cut == Cut::AtLine(self.lines)) {
                self.cut_now();
            }
        }
    }

    pub(super) fn set_length(&mut self, file: u64, length: usize) -> Result<(), Refused> {
        self.powered()?;
        if file == CONSOLE {
            return Ok(());
        }
        self.content(file)?.set_length(length);
        self.changed()
    }

    pub(super) fn set_mode(&mut self, number: u64, mode: u16) -> Result<(), Refused> {
        self.powered()?;
        self.nodes.get_mut(&number).ok_or(Refused::Missing)?.mode = mode;
        Ok(())
    }

    /// The power can go before a sync, and so in its middle: nothing of the rest is promised then.
    pub(super) fn sync(&mut self, file: u64) -> Result<(), Refused> {
        self.powered()?;
        self.changed()?;
        if self.ignores_syncs || file == CONSOLE {
            return Ok(());
        }
        self.content(file)?.sync();
        let name = self.nodes.values().find_map(|node| match &node.body {
            Body::Directory(names) => names.now.iter().find(|(_, number)| **number == file),
            Body::File(_) => None,
        });
        if let Some((name, _)) = name {
            self.events.push(Event::Synced(name.clone()));
        }
        Ok(())
    }

    pub(super) fn sync_names(&mut self, directory: u64) -> Result<(), Refused> {
        self.powered()?;
        self.changed()?;
        self.names(directory)?;
        if self.ignores_syncs {
            return Ok(());
        }
        let (durable, pending) =
            mem::take(&mut self.names).into_iter().partition(|change| change.is_in(directory));
        self.names = pending;
        let durable: Vec<NameChange> = durable;
        durable.into_iter().for_each(|change| self.make_durable(change));
        self.events.push(Event::NamesSynced);
        Ok(())
    }

    /// Copies all files to a directory of another file system, which is there.
    pub(super) fn copy_to(&self, directory: &Path) -> io::Result<()> {
        let mut open = vec![(ROOT, directory.to_owned())];
        while let Some((number, to)) = open.pop() {
            let Some(node) = self.nodes.get(&number) else { continue };
            match &node.body {
                Body::File(content) => fs::write(to, content.now())?,
                Body::Directory(names) => {
                    if number != ROOT {
                        fs::create_dir(&to)?;
                    }
                    open.extend(names.now.iter().map(|(name, number)| (*number, to.join(name))));
                }
            }
        }
        Ok(())
    }
}
