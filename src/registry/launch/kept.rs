//! What processes keep that no counter of theirs shows: memory that is shared without a name, and files whose last name is
//! gone.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::process_table::speaker;

/// Bytes of `/proc/PID/maps` that are read of all of them together. A server with more is no honest one: it is taken to
/// keep without an end.
const MAPS: u64 = 32 * 1024 * 1024;
/// Of a block of `st_blocks` (stat(2)).
const BLOCK: u64 = 512;
/// How long open files are looked at.
const LOOK_LIMIT: Duration = Duration::from_secs(3);

/// Bytes of memory that these share without a name (`MAP_SHARED | MAP_ANONYMOUS`). Pages that a process gave up
/// (`MADV_DONTNEED`) stay in it, and are counted as nobody's.
pub(super) fn shared_memory(processes: &[i32]) -> u64 {
    let mut kept = Kept::default();
    let is_whole = each_mapping(processes, |mapping| {
        if mapping.is_nameless_memory() {
            kept.add_mapped(mapping);
        }
    });
    if is_whole { kept.bytes() } else { u64::MAX }
}

/// Bytes of files that these hold open or mapped, and that have no name any more: what of a home nobody finds by walking
/// through it. Those of its disk and its user: that is who makes files there.
pub(in crate::registry) fn nameless_files(processes: &[i32], home: &Path) -> u64 {
    let Ok(home) = fs::metadata(home) else {
        return 0;
    };
    let is_of_home = |file: &fs::Metadata| {
        file.nlink() == 0 && file.dev() == home.dev() && file.uid() == home.uid()
    };
    let (until, mut kept) = (Instant::now() + LOOK_LIMIT, Kept::default());
    // A thread may have open files of its own.
    let threads = processes
        .iter()
        .filter_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).ok());
    let files = threads
        .flatten()
        .flatten()
        .filter_map(|thread| fs::read_dir(thread.path().join("fd")).ok());
    for file in files.flatten().flatten() {
        // The file itself, wherever it is shown; nothing is opened.
        if let Ok(file) = fs::metadata(file.path())
            && is_of_home(&file)
        {
            kept.add(&file);
        }
        if Instant::now() > until {
            break;
        }
    }
    let speakers: Vec<i32> = processes.iter().copied().map(speaker).collect();
    let is_whole = each_mapping(&speakers, |mapping| {
        if !mapping.path.ends_with(b" (deleted)") {
            return;
        }
        match mapping.file() {
            Some(file) if is_of_home(&file) => kept.add(&file),
            None if mapping.device == home.dev() => kept.add_mapped(mapping),
            Some(_) | None => {}
        }
    });
    if is_whole { kept.bytes() } else { u64::MAX }
}

/// Bytes by device and inode, and whether they are what is held, or only as much as is mapped.
#[derive(Default)]
struct Kept(HashMap<(u64, u64), (u64, bool)>);

impl Kept {
    fn bytes(&self) -> u64 {
        let bytes = self.0.values().map(|(bytes, _)| *bytes);
        bytes.fold(0, u64::saturating_add)
    }

    fn add(&mut self, file: &fs::Metadata) {
        let bytes = file.blocks().saturating_mul(BLOCK);
        self.0.insert((file.dev(), file.ino()), (bytes, true));
    }

    /// Once for each file, by what it holds: one page that is mapped keeps all of it.
    fn add_mapped(&mut self, mapping: &Mapping<'_>) {
        let known = self.0.entry((mapping.device, mapping.inode)).or_default();
        match known {
            (_, true) => {}
            _ => match mapping.file() {
                Some(file) => *known = (file.blocks().saturating_mul(BLOCK), true),
                None => known.0 = known.0.max(mapping.reach()),
            },
        }
    }
}

/// A line of `/proc/PID/maps` (proc(5)).
#[derive(Debug, PartialEq, Eq)]
struct Mapping<'a> {
    pid: i32,
    from: u64,
    to: u64,
    is_shared: bool,
    /// Where in the file it begins.
    offset: u64,
    device: u64,
    inode: u64,
    path: &'a [u8],
}

impl<'a> Mapping<'a> {
    fn of(pid: i32, line: &'a [u8]) -> Option<Self> {
        let mut fields = line.splitn(6, |byte| *byte == b' ');
        let mut text = || std::str::from_utf8(fields.next()?).ok();
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        let (from, to) = text()?.split_once('-')?;
        let is_shared = text()?.ends_with('s');
        let offset = hex(text()?)?;
        let (major, minor) = text()?.split_once(':')?;
        let number = |text: &str| u32::from_str_radix(text, 16).ok();
        let device = rustix::fs::makedev(number(major)?, number(minor)?);
        let inode = text()?.parse().ok()?;
        Some(Self {
            pid,
            from: hex(from)?,
            to: hex(to)?,
            is_shared,
            offset,
            device,
            inode,
            path: fields.next().unwrap_or_default().trim_ascii(),
        })
    }

    /// A process may give it a name of its own (`PR_SET_VMA_ANON_NAME`).
    fn is_nameless_memory(&self) -> bool {
        self.is_shared
            && (self.path == b"/dev/zero (deleted)" || self.path.starts_with(b"[anon_shmem:"))
    }

    /// The file behind it; the kernel tells root alone.
    fn file(&self) -> Option<fs::Metadata> {
        let (pid, from, to) = (self.pid, self.from, self.to);
        fs::metadata(format!("/proc/{pid}/map_files/{from:x}-{to:x}")).ok()
    }

    /// How far into the file it reaches.
    fn reach(&self) -> u64 {
        let size = self.to.saturating_sub(self.from);
        self.offset.saturating_add(size)
    }
}

/// Shows all mappings of these; `false` where there are more than are read.
fn each_mapping(processes: &[i32], mut see: impl FnMut(&Mapping<'_>)) -> bool {
    let (mut left, mut line) = (MAPS, Vec::new());
    for pid in processes {
        let Ok(maps) = File::open(format!("/proc/{pid}/maps")) else {
            continue;
        };
        let mut maps = BufReader::with_capacity(64 * 1024, maps.take(left));
        loop {
            line.clear();
            // One that is gone has no more of them.
            let read = maps.read_until(b'\n', &mut line).unwrap_or(0);
            if read == 0 {
                break;
            }
            left = left.saturating_sub(read as u64);
            if let Some(mapping) = Mapping::of(*pid, line.trim_ascii_end()) {
                see(&mapping);
            }
        }
        if left == 0 {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d10_a_file_without_a_name_is_counted_while_it_is_open() {
        const MIB: u64 = 1024 * 1024;
        use std::io::Write as _;
        let home = tempfile::tempdir().unwrap();
        let own = [i32::try_from(std::process::id()).unwrap()];
        // Other tests of this process may have such files too, and none so large.
        let before = nameless_files(&own, home.path());
        let mut file = tempfile::tempfile_in(home.path()).unwrap();
        file.write_all(&vec![1; usize::try_from(64 * MIB).unwrap()])
            .unwrap();
        let again = file.try_clone().unwrap();
        let held = nameless_files(&own, home.path()).saturating_sub(before);
        assert!((60 * MIB..100 * MIB).contains(&held), "{held}");
        drop((file, again));
        let named = std::fs::File::create(home.path().join("named")).unwrap();
        let held = nameless_files(&own, home.path()).saturating_sub(before);
        assert!(held < 32 * MIB, "{held}");
        drop(named);
        assert_eq!(nameless_files(&[i32::MAX], home.path()), 0);
    }

    #[test]
    fn d10_memory_without_a_name_is_known_whatever_it_is_called() {
        let zero = "7f0000000000-7f0000003000 rw-s 00001000 00:01 77 ";
        let pad = "                   ";
        for (line, expected) in [
            (format!("{zero}{pad}/dev/zero (deleted)"), true),
            (format!("{zero}{pad}[anon_shmem:mine]"), true),
            (format!("{zero}{pad}/dev/shm/x (deleted)"), false),
            (
                "00400000-00401000 rw-p 00000000 00:01 77 /dev/zero (deleted)".to_owned(),
                false,
            ),
            (
                "7f0000000000-7f0000003000 rw-p 00000000 00:00 0 ".to_owned(),
                false,
            ),
        ] {
            let mapping = Mapping::of(1, line.as_bytes()).unwrap();
            assert_eq!(mapping.is_nameless_memory(), expected, "{line}");
        }
        let mapping = Mapping::of(i32::MAX, zero.as_bytes()).unwrap();
        assert_eq!((mapping.reach(), mapping.inode), (0x4000, 77));
        // Two mappings of one file are one.
        let mut kept = Kept::default();
        kept.add_mapped(&mapping);
        kept.add_mapped(&mapping);
        assert_eq!(kept.bytes(), 0x4000);
        assert!(Mapping::of(1, b"garbage").is_none());
        assert_eq!(shared_memory(&[i32::MAX]), 0);
    }
}
