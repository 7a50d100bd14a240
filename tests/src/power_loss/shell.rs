//! The disk as the kernel sees it: each request of FUSE is one call of the disk, one at a time.
//!
//! The kernel keeps what it has read, and hands on each write at once; a write with `O_DSYNC` is followed by a sync
//! before it returns.

use std::{
    ffi::OsStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::disk::{CONSOLE, Disk, Looks, Refused};

/// How long the kernel need not ask again: nobody changes anything behind its back.
const FOREVER: Duration = Duration::from_secs(3600);

const BLOCK_BYTES: u32 = 4096;

/// What the file system says is free, in blocks: 64 GiB.
const FREE_BLOCKS: u64 = 16 << 20;

pub(super) struct Shell {
    pub(super) disk: Arc<Mutex<Disk>>,
}

impl Shell {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn errno(refused: Refused) -> Errno {
    match refused {
        Refused::NoPower => Errno::EIO,
        Refused::Missing => Errno::ENOENT,
        Refused::Exists => Errno::EEXIST,
        Refused::NotEmpty => Errno::ENOTEMPTY,
        Refused::IsDirectory => Errno::EISDIR,
        Refused::IsNoDirectory => Errno::ENOTDIR,
    }
}

fn kind(looks: Looks) -> FileType {
    if looks.is_directory { FileType::Directory } else { FileType::RegularFile }
}

fn attributes(looks: Looks) -> FileAttr {
    FileAttr {
        ino: INodeNo(looks.number),
        size: looks.bytes,
        blocks: looks.bytes.div_ceil(512),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: kind(looks),
        perm: looks.mode,
        nlink: looks.links,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

/// The kernel keeps the pages of a file from one opening to the next, and none of the console, of which each write is
/// to be seen at once.
fn opening(number: u64) -> FopenFlags {
    if number == CONSOLE { FopenFlags::FOPEN_DIRECT_IO } else { FopenFlags::FOPEN_KEEP_CACHE }
}

fn permissions(mode: u32) -> u16 {
    u16::try_from(mode & 0o7777).expect("it has twelve bits")
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).expect("an address has 64 bits")
}

macro_rules! answer {
    ($reply:ident, $result:expr, $value:pat => $answer:expr) => {
        match $result {
            Ok($value) => $answer,
            Err(refused) => $reply.error(errno(refused)),
        }
    };
}

impl Filesystem for Shell {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.disk().find(parent.0, name);
        answer!(reply, found, looks => reply.entry(&FOREVER, &attributes(looks), Generation(0)));
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let looks = self.disk().look(number.0);
        answer!(reply, looks, looks => reply.attr(&FOREVER, &attributes(looks)));
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let set = |disk: &mut Disk| {
            if let Some(mode) = mode {
                disk.set_mode(number.0, permissions(mode))?;
            }
            if let Some(bytes) = size {
                disk.set_length(number.0, place(bytes))?;
            }
            disk.look(number.0)
        };
        let set = set(&mut self.disk());
        answer!(reply, set, looks => reply.attr(&FOREVER, &attributes(looks)));
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let made = self.disk().create(parent.0, name, permissions(mode & !umask), true);
        answer!(reply, made, looks => reply.entry(&FOREVER, &attributes(looks), Generation(0)));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let removed = self.disk().remove(parent.0, name);
        answer!(reply, removed, () => reply.ok());
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let removed = self.disk().remove(parent.0, name);
        answer!(reply, removed, () => reply.ok());
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !flags.is_empty() {
            return reply.error(Errno::EINVAL);
        }
        let renamed = self.disk().rename((parent.0, name), (new_parent.0, new_name));
        answer!(reply, renamed, () => reply.ok());
    }

    fn link(&self, _: &Request, number: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let linked = self.disk().link(number.0, parent.0, name);
        answer!(reply, linked, looks => reply.entry(&FOREVER, &attributes(looks), Generation(0)));
    }

    fn open(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let looks = self.disk().look(number.0);
        answer!(reply, looks, _ => reply.opened(FileHandle(0), opening(number.0)));
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let made = self.disk().create(parent.0, name, permissions(mode & !umask), false);
        answer!(reply, made, looks => {
            let flags = opening(looks.number);
            reply.created(&FOREVER, &attributes(looks), Generation(0), FileHandle(0), flags);
        });
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut disk = self.disk();
        answer!(reply, disk.read(number.0, place(offset), size as usize), bytes => reply.data(bytes));
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self.disk().write(number.0, place(offset), data);
        let bytes = u32::try_from(data.len()).expect("a request is short");
        answer!(reply, written, () => reply.written(bytes));
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let synced = self.disk().sync(number.0);
        answer!(reply, synced, () => reply.ok());
    }

    fn readdir(&self, _: &Request, number: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listed = match self.disk().list(number.0) {
            Ok(listed) => listed,
            Err(refused) => return reply.error(errno(refused)),
        };
        for (index, (name, looks)) in (1..).zip(listed).skip(place(offset)) {
            if reply.add(INodeNo(looks.number), index, kind(looks), name) {
                break;
            }
        }
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let synced = self.disk().sync_names(number.0);
        answer!(reply, synced, () => reply.ok());
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(
            2 * FREE_BLOCKS,
            FREE_BLOCKS,
            FREE_BLOCKS,
            1 << 20,
            1 << 20,
            BLOCK_BYTES,
            255,
            BLOCK_BYTES,
        );
    }
}
