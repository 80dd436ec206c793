//! Whether an audit is whole, and if not, which line is the first that is not what it was.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};

use rustix::fs::OFlags;

use super::head::Head;
use super::line::{LINE_BYTES, Mark, Place, is_unchanged};
use super::read::names;
use crate::store::{Store, StoreError};
use crate::thread::ThreadId;

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There is no audit.
    Nothing,
    /// Every line is what it was.
    Whole {
        /// How many lines there are.
        lines: u64,
        /// The number of the last one.
        last: u64,
    },
    /// From here on it cannot be trusted.
    Broken {
        /// The number of the first line that is wrong, or that is not there.
        n: u64,
        /// What is wrong with it.
        flaw: Flaw,
    },
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Its text is not what its hash was made of.
    #[error("it was edited")]
    Edited,
    /// A later one stands in its place.
    #[error("it was removed")]
    Removed,
    /// Another line stands in its place.
    #[error("another line was put in its place, or lines were put in another order")]
    Moved,
    /// It was there, and the audit ends before it.
    #[error("it was cut off the end")]
    Cut,
    /// The record of how far the audit had come is gone.
    #[error("the record of how far the audit had come is gone or damaged")]
    NoHead,
}

/// Reads the whole chain, a line at a time. Nobody waits for it: what is written meanwhile is left to the next.
pub(in crate::store) fn verify(store: &Store, thread: ThreadId) -> Result<Verdict, StoreError> {
    let Some(folder) = store.state(thread)? else {
        return Ok(Verdict::Nothing);
    };
    // The record before the files: what it names stands in them then. A rotation between the look at two files would show
    // one of them twice, so the look is taken again.
    let head = Head::read(&folder)?;
    let mut files = Vec::new();
    for _ in 0..8 {
        files.clear();
        for name in names().rev() {
            if let Some(file) = folder.open_file(&name, OFlags::RDONLY)? {
                let told = file
                    .metadata()
                    .map_err(|cause| StoreError::io(folder.path_of(&name), cause))?;
                let inode = std::os::unix::fs::MetadataExt::ino(&told);
                files.push((file, inode, told.len()));
            }
        }
        let mut inodes: Vec<u64> = files.iter().map(|(_, inode, _)| *inode).collect();
        inodes.sort_unstable();
        if inodes.windows(2).all(|two| two[0] != two[1]) {
            break;
        }
    }
    let lengths: u64 = files.iter().map(|(_, _, length)| length).sum();
    let Some(head) = head else {
        return Ok(if lengths == 0 {
            Verdict::Nothing
        } else {
            Verdict::Broken {
                n: 1,
                flaw: Flaw::NoHead,
            }
        });
    };
    let mut chain = Chain {
        last: None,
        lines: 0,
        head: &head,
    };
    for (file, _, length) in files {
        let read = chain.file(file, length);
        let read = read.map_err(|cause| StoreError::io(folder.path_of(super::NAME), cause))?;
        if let Err((n, flaw)) = read {
            return Ok(Verdict::Broken { n, flaw });
        }
    }
    let last = chain.last.as_ref().map_or(0, |last| last.n);
    if last < head.last.n {
        let (n, flaw) = (last.max(head.first.n - 1) + 1, Flaw::Cut);
        return Ok(Verdict::Broken { n, flaw });
    }
    let lines = chain.lines;
    Ok(Verdict::Whole { lines, last })
}

struct Chain<'a> {
    last: Option<Mark>,
    lines: u64,
    head: &'a Head,
}

impl Chain<'_> {
    /// Follows the chain through a file; the inner error is the first line that is wrong.
    fn file(&mut self, file: File, length: u64) -> std::io::Result<Result<(), (u64, Flaw)>> {
        let mut reader = BufReader::new(file.take(length));
        let mut line = Vec::new();
        loop {
            line.clear();
            let most = 4 * LINE_BYTES as u64;
            reader.by_ref().take(most).read_until(b'\n', &mut line)?;
            if line.is_empty() {
                return Ok(Ok(()));
            }
            let Some(whole) = line.strip_suffix(b"\n") else {
                if line.len() as u64 == most {
                    return Ok(Err((self.expected(), Flaw::Edited)));
                }
                // A line that a crash tore, or that is just being written: it is set aside with the next.
                return Ok(Ok(()));
            };
            if let Err(wrong) = self.line(whole) {
                return Ok(Err(wrong));
            }
        }
    }

    fn expected(&self) -> u64 {
        let before = self.last.as_ref().map(|last| last.n);
        before.unwrap_or(self.head.first.n - 1) + 1
    }

    fn line(&mut self, line: &[u8]) -> Result<(), (u64, Flaw)> {
        let expected = self.expected();
        let Some(place) = Place::of(line) else {
            return Err((expected, Flaw::Edited));
        };
        if !is_unchanged(line, &place.hash) {
            return Err((expected, Flaw::Edited));
        }
        let follows = match &self.last {
            Some(last) => place.n == last.n + 1 && place.prev == last.hash,
            // More than is kept is no fault: a crash came before the oldest file was dropped.
            None if place.n == self.head.first.n => place.prev == self.head.first.hash,
            None => place.n < self.head.first.n,
        };
        if !follows {
            let flaw = if place.n > expected {
                Flaw::Removed
            } else {
                Flaw::Moved
            };
            return Err((expected, flaw));
        }
        if place.n == self.head.last.n && place.hash != self.head.last.hash {
            return Err((expected, Flaw::Moved));
        }
        self.lines += 1;
        self.last = Some(place.mark());
        Ok(())
    }
}
