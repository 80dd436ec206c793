//! System calls that another process answers: seccomp's user notifications (`seccomp_unotify(2)`), as thin as can be.
//!
//! A thread installs a filter with [`listen`] and hands the [`Listener`] to another process, which takes in each call
//! that the filter sets aside ([`Listener::receive`]) and answers it with a value, an error or a file of its own. Letting a
//! call go on as it was made is not offered: what it points to may change after it was looked at, so nobody could judge it.
//!
//! The one crate of the house with `unsafe` in it, since no safe one offers this without a library in C.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd};
use std::ptr;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

pub use libc::sock_filter;

/// Where the calls arrive that a filter sets aside. When the last copy is closed, they fail with `ENOSYS`.
#[derive(Debug)]
pub struct Listener(OwnedFd);

/// A call that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    id: u64,
    /// The thread that made it, as the listening process numbers it; 0 where it cannot see it. A number alone may come to
    /// mean somebody else, see [`Listener::is_waiting`].
    pub thread: u32,
    /// Which call, by its number.
    pub number: i64,
    /// What was in its registers; nothing of what they may point to is looked at.
    pub arguments: [u64; 6],
}

/// From now on what this thread does, and what it starts, passes this filter; calls that it answers with
/// `SECCOMP_RET_USER_NOTIF` arrive at the listener. It must have no new rights to gain (`no_new_privs`), and can have one
/// listener at most.
pub fn listen(filter: &[sock_filter]) -> io::Result<Listener> {
    let length = u16::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog {
        len: length,
        filter: filter.as_ptr().cast_mut(),
    };
    let new = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // A call that was taken in is not interrupted by signals any more, where the kernel knows how (5.19).
    let whole = libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    match install(&program, new | whole) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => install(&program, new),
        installed => installed,
    }
}

#[allow(unsafe_code, reason = "there is no safe way to this call")]
fn install(program: &libc::sock_fprog, flags: libc::c_ulong) -> io::Result<Listener> {
    let operation = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the kernel reads `program` and the `len` instructions that it points to, which `listen` borrows all the while,
    // and keeps neither; it writes nothing.
    let done = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            operation,
            flags,
            ptr::from_ref::<libc::sock_fprog>(program),
        )
    };
    let fd = checked(done)?;
    let fd = libc::c_int::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: with NEW_LISTENER a success is the number of a file that was just opened for us; nobody else owns it.
    Ok(Listener(unsafe { OwnedFd::from_raw_fd(fd) }))
}

impl From<OwnedFd> for Listener {
    /// One that another process sent. What is no listener fails at its first use.
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Listener {
    /// Waits for the next call; `None` when nobody is left who could make one.
    pub fn receive(&self) -> io::Result<Option<Call>> {
        loop {
            let mut waits = [PollFd::new(&self.0, PollFlags::IN)];
            match poll(&mut waits, None) {
                Err(Errno::INTR) => continue,
                polled => polled?,
            };
            let told = waits[0].revents();
            if !told.contains(PollFlags::IN) && told.contains(PollFlags::HUP) {
                return Ok(None);
            }
            if let Some(call) = self.take()? {
                return Ok(Some(call));
            }
        }
    }

    /// The call that waits; `None` where its caller was killed.
    fn take(&self) -> io::Result<Option<Call>> {
        // The kernel wants it zeroed.
        let mut told = Roomy::new(libc::seccomp_notif {
            id: 0,
            pid: 0,
            flags: 0,
            data: libc::seccomp_data {
                nr: 0,
                arch: 0,
                instruction_pointer: 0,
                args: [0; 6],
            },
        });
        match self.control(libc::SECCOMP_IOCTL_NOTIF_RECV, &mut told) {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
            Err(error) => return Err(error),
        }
        let told = told.value;
        Ok(Some(Call {
            id: told.id,
            thread: told.pid,
            number: told.data.nr.into(),
            arguments: told.data.args,
        }))
    }

    /// Whether the call still waits, so that its thread's number was that thread's until now.
    pub fn is_waiting(&self, call: &Call) -> bool {
        let mut id = Roomy::new(call.id);
        self.control(libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &mut id)
            .is_ok()
    }

    /// Answers with a value, or with the number of an error. Fails where nobody waits for it any more.
    pub fn answer(&self, call: &Call, answer: Result<i64, i32>) -> io::Result<()> {
        let (val, error) = match answer {
            Ok(value) => (value, 0),
            Err(number) => (0, -number.abs()),
        };
        let mut answer = Roomy::new(libc::seccomp_notif_resp {
            id: call.id,
            val,
            error,
            flags: 0,
        });
        self.control(libc::SECCOMP_IOCTL_NOTIF_SEND, &mut answer)
            .map(drop)
    }

    /// Opens this file for the caller as well, and answers with its number there; both or nothing (Linux 5.14).
    pub fn give(&self, call: &Call, file: BorrowedFd<'_>, close_on_exec: bool) -> io::Result<()> {
        let number = |number: i32| u32::try_from(number).map_err(|_| io::ErrorKind::InvalidInput);
        let flags = libc::SECCOMP_ADDFD_FLAG_SEND;
        let mut gift = Roomy::new(libc::seccomp_notif_addfd {
            id: call.id,
            flags: u32::try_from(flags).map_err(|_| io::ErrorKind::InvalidInput)?,
            srcfd: number(file.as_raw_fd())?,
            newfd: 0,
            newfd_flags: if close_on_exec {
                number(libc::O_CLOEXEC)?
            } else {
                0
            },
        });
        self.control(libc::SECCOMP_IOCTL_NOTIF_ADDFD, &mut gift)
            .map(drop)
    }

    #[allow(unsafe_code, reason = "there is no safe way to this call")]
    fn control<T: Told>(
        &self,
        operation: libc::Ioctl,
        told: &mut Roomy<T>,
    ) -> io::Result<libc::c_int> {
        loop {
            // SAFETY: each of the four operations above reads and writes at most the type that it is called with, which is
            // what its number says, or what a later kernel made of it, for which there is room behind it. Whatever the kernel
            // writes is a valid value: `Told` is implemented for structs of integers alone.
            let done = unsafe { libc::ioctl(self.0.as_raw_fd(), operation, ptr::from_mut(told)) };
            match checked(done.into()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(_) => return Ok(done),
            }
        }
    }
}

/// What the kernel is told or tells here: structs of integers, without padding that would matter.
trait Told {}
impl Told for u64 {}
impl Told for libc::seccomp_notif {}
impl Told for libc::seccomp_notif_resp {}
impl Told for libc::seccomp_notif_addfd {}

/// A value with zeroes behind it.
#[repr(C, align(8))]
struct Roomy<T> {
    value: T,
    room: [u64; 64],
}

impl<T: Told> Roomy<T> {
    fn new(value: T) -> Self {
        const { assert!(size_of::<T>().is_multiple_of(8)) };
        Self {
            value,
            room: [0; 64],
        }
    }
}

fn checked(done: libc::c_long) -> io::Result<libc::c_long> {
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read as _;
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    /// Sets one call aside.
    fn filter(call: libc::c_long) -> Vec<sock_filter> {
        let step = |code: u32, jt, jf, k| sock_filter {
            code: u16::try_from(code).unwrap(),
            jt,
            jf,
            k,
        };
        vec![
            step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
            step(
                libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
                0,
                1,
                u32::try_from(call).unwrap(),
            ),
            step(
                libc::BPF_RET | libc::BPF_K,
                0,
                0,
                libc::SECCOMP_RET_USER_NOTIF,
            ),
            step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        ]
    }

    /// Runs this in a thread whose `socket` calls are answered so.
    fn with<T: Send + 'static>(
        made: impl FnOnce() -> T + Send + 'static,
        answers: impl FnOnce(&Listener, &Call),
    ) -> T {
        let (sender, listener) = mpsc::channel();
        let caller = thread::spawn(move || {
            rustix::thread::set_no_new_privs(true).unwrap();
            sender.send(listen(&filter(libc::SYS_socket))).unwrap();
            made()
        });
        let listener = listener.recv().unwrap().unwrap();
        let call = listener.receive().unwrap().unwrap();
        assert!(listener.is_waiting(&call));
        answers(&listener, &call);
        assert!(!listener.is_waiting(&call));
        assert!(listener.answer(&call, Ok(0)).is_err(), "it has its answer");
        let made = caller.join().unwrap();
        assert_eq!(listener.receive().unwrap(), None);
        made
    }

    fn socket() -> rustix::io::Result<OwnedFd> {
        use rustix::net::{AddressFamily, SocketType, socket};
        socket(AddressFamily::INET, SocketType::STREAM, None)
    }

    #[test]
    fn a_call_is_set_aside_and_answered_with_an_error() {
        let made = with(socket, |listener, call| {
            assert_eq!(call.number, libc::SYS_socket);
            let [family, kind, ..] = call.arguments;
            assert_eq!(family, u64::from(libc::AF_INET.unsigned_abs()));
            assert_eq!(kind & 0xf, u64::from(libc::SOCK_STREAM.unsigned_abs()));
            assert!(std::path::Path::new(&format!("/proc/{}", call.thread)).exists());
            listener.answer(call, Err(libc::ENOBUFS)).unwrap();
        });
        assert_eq!(made.unwrap_err(), rustix::io::Errno::NOBUFS);
    }

    #[test]
    fn a_call_is_answered_with_a_file() {
        for close_on_exec in [true, false] {
            let made = move || {
                let file = socket().unwrap();
                let flags = rustix::io::fcntl_getfd(&file).unwrap();
                let mut text = String::new();
                File::from(file).read_to_string(&mut text).unwrap();
                (text, flags.contains(rustix::io::FdFlags::CLOEXEC))
            };
            let given = with(made, |listener, call| {
                let (reads, writes) = std::io::pipe().unwrap();
                std::io::Write::write_all(&mut &writes, b"given").unwrap();
                listener.give(call, reads.as_fd(), close_on_exec).unwrap();
            });
            assert_eq!(given, ("given".to_owned(), close_on_exec));
        }
    }

    #[test]
    fn what_is_no_listener_fails() {
        let (reads, writes) = std::io::pipe().unwrap();
        std::io::Write::write_all(&mut &writes, b"x").unwrap();
        let file = Listener::from(OwnedFd::from(reads));
        assert!(file.receive().is_err());
        let call = Call {
            id: 1,
            thread: 0,
            number: 0,
            arguments: [0; 6],
        };
        assert!(file.answer(&call, Ok(0)).is_err());
        assert!(!file.is_waiting(&call));
    }

    #[test]
    fn without_a_listener_the_call_fails() {
        let made = thread::spawn(|| {
            rustix::thread::set_no_new_privs(true).unwrap();
            drop(listen(&filter(libc::SYS_socket)).unwrap());
            socket().map(drop)
        });
        assert_eq!(made.join().unwrap(), Err(rustix::io::Errno::NOSYS));
    }
}
