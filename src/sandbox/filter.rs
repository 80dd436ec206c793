//! System calls that a server has no need of and that lead out of a sandbox, refused by seccomp.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Is, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};
use switchboard_seccomp::{Listener, sock_filter};

use super::spec::Sockets;

/// Refused as not permitted, whatever their arguments.
const REFUSED: &[i64] = &[
    // Looking into other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_perf_event_open,
    // Namespaces and mounts.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    // Parts of the kernel that servers do not need and that were often broken.
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_fanotify_init,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    libc::SYS_vhangup,
    // The machine itself.
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
];

/// Answered as if the kernel did not know them, so that programs take another way.
const UNKNOWN: &[i64] = &[
    // Its flags are in memory, where no filter sees them; libraries fall back to `clone`.
    libc::SYS_clone3,
    // Memory that belongs to no process and so to no limit; `/dev/shm` is bounded.
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    libc::SYS_shmget,
    // A pipe then keeps pages of the caller's, each with the whole of the large page that it is a part of.
    libc::SYS_vmsplice,
];

/// Namespaces that `clone` makes; each alone is refused.
const NEW_NAMESPACES: &[i32] = &[
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

/// Kinds of sockets that a network namespace of its own holds; others (`AF_VSOCK`) reach the host past it.
const NAMESPACED: &[i32] = &[
    libc::AF_UNIX,
    libc::AF_INET,
    libc::AF_INET6,
    libc::AF_NETLINK,
];

/// What a socket of TCP is asked for by, each of them (socket(2)).
const TCP: &[i32] = &[0, libc::IPPROTO_TCP];

#[derive(Debug, thiserror::Error)]
pub(super) enum FilterError {
    #[error("this kind of processor is not known")]
    Processor,
    #[error(transparent)]
    Backend(#[from] seccompiler::BackendError),
    #[error(transparent)]
    Apply(#[from] seccompiler::Error),
    #[error("nobody can answer for the kernel: {0}")]
    Listen(std::io::Error),
}

/// From now on this thread, and what it starts, makes no such call. Where some are to be answered by somebody else, they
/// arrive at what is returned.
pub(super) fn apply(sockets: Sockets, has_walls: bool) -> Result<Option<Listener>, FilterError> {
    // First: without it, what it sets aside must not be possible.
    let listener = (sockets == Sockets::Led)
        .then(|| switchboard_seccomp::listen(&set_aside()).map_err(FilterError::Listen))
        .transpose()?;
    for filter in filters(sockets, has_walls)? {
        seccompiler::apply_filter(&filter)?;
    }
    Ok(listener)
}

/// Two, since each answers with one error: what does not exist, and what is not permitted.
fn filters(sockets: Sockets, has_walls: bool) -> Result<Vec<BpfProgram>, FilterError> {
    let processor =
        TargetArch::try_from(std::env::consts::ARCH).map_err(|_| FilterError::Processor)?;
    let mut refused: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let namespaces = NEW_NAMESPACES.iter().map(|flag| {
        let flag = u64::from(flag.cast_unsigned());
        rule([(0, Width::Dword, Is::MaskedEq(flag), flag)])
    });
    refused.insert(libc::SYS_clone, namespaces.collect::<Result<_, _>>()?);
    if has_walls {
        // Without a namespace of their own the first two are the host's; Landlock does not hold the last before Linux 6.2.
        for call in [libc::SYS_msgget, libc::SYS_semget, libc::SYS_truncate] {
            refused.insert(call, Vec::new());
        }
        for (call, rules) in of_other_processes()? {
            refused.insert(call, rules);
        }
    }
    let not = |kind: &i32| (0, Width::Dword, Is::Ne, u64::from(kind.cast_unsigned()));
    let kind = |kind: i32| {
        let of_all = 0xf;
        (
            1,
            Width::Dword,
            Is::MaskedEq(of_all),
            u64::from(kind.cast_unsigned()),
        )
    };
    if matches!(sockets, Sockets::None | Sockets::Led) {
        // Also one of a pair sends to whomever it names.
        refused.insert(libc::SYS_socketpair, unconnected()?);
    }
    match sockets {
        Sockets::Host => {}
        Sockets::Own => {
            refused.insert(libc::SYS_socket, vec![rule(NAMESPACED.iter().map(not))?]);
        }
        Sockets::None => {
            // A socket of a name can be connected to programs outside, and Landlock does not hold every such name back.
            // So what is left are pairs, made connected, and sockets that only its own children could connect to.
            let mut sockets = unconnected()?;
            sockets.push(rule([not(&libc::AF_UNIX)])?);
            refused.insert(libc::SYS_socket, sockets);
            refused.insert(libc::SYS_connect, Vec::new());
        }
        Sockets::Led => {
            let mut sockets = unconnected()?;
            sockets.push(rule([not(&libc::AF_UNIX), not(&libc::AF_INET)])?);
            let inet = u64::from(libc::AF_INET.cast_unsigned());
            let inet = || (0, Width::Dword, Is::Eq, inet);
            let other_kinds = (0..=0xf).filter(|other| *other != libc::SOCK_STREAM);
            for other in other_kinds {
                sockets.push(rule([inet(), kind(other)])?);
            }
            let not_tcp = TCP.iter().map(|protocol| {
                let protocol = u64::from(protocol.cast_unsigned());
                (2, Width::Dword, Is::Ne, protocol)
            });
            sockets.push(rule(std::iter::once(inet()).chain(not_tcp))?);
            refused.insert(libc::SYS_socket, sockets);
            // What connects by sending. The sockets that the usher gives are connected; this is the second wall.
            let opens = u64::from(libc::MSG_FASTOPEN.cast_unsigned());
            for (call, flags) in [
                (libc::SYS_sendto, 3),
                (libc::SYS_sendmsg, 2),
                (libc::SYS_sendmmsg, 3),
            ] {
                let opens = (flags, Width::Dword, Is::MaskedEq(opens), opens);
                refused.insert(call, vec![rule([opens])?]);
            }
        }
    }
    let filter = |calls, error: i32| {
        let answer = SeccompAction::Errno(error.cast_unsigned());
        SeccompFilter::new(calls, SeccompAction::Allow, answer, processor)?.try_into()
    };
    let unknown = UNKNOWN.iter().map(|call| (*call, Vec::new())).collect();
    let mut filters: Vec<BpfProgram> = vec![
        filter(unknown, libc::ENOSYS)?,
        filter(refused, libc::EPERM)?,
    ];
    if processor == TargetArch::x86_64 {
        filters.push(no_x32());
    }
    Ok(filters)
}

/// What kinds of sockets send to whomever they name. All but these two, since a number may mean another kind for a family
/// (`SOCK_RAW` of `AF_UNIX` is its `SOCK_DGRAM`).
fn unconnected() -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let connected = [libc::SOCK_STREAM, libc::SOCK_SEQPACKET];
    (0..=0xf)
        .filter(|kind| !connected.contains(kind))
        .map(|kind| {
            let kind = u64::from(kind.cast_unsigned());
            rule([(1, Width::Dword, Is::MaskedEq(0xf), kind)])
        })
        .collect()
}

/// What changes other processes without a signal, where they are there to be changed: limits, shares of the processor, and
/// the group that tells whose a process is.
fn of_other_processes() -> Result<Vec<(i64, Vec<SeccompRule>)>, seccompiler::BackendError> {
    // linux/ioprio.h
    const IOPRIO_WHO_PROCESS: u64 = 1;
    // Of whom each speaks: 0 is the caller.
    let other = |argument| (argument, Width::Dword, Is::Ne, 0);
    let not_one = |argument, which: u64| (argument, Width::Dword, Is::Ne, which);
    let own = u64::from(libc::PRIO_PROCESS);
    let mut calls = vec![
        // Into a group of its own making, or none.
        (libc::SYS_setpgid, vec![rule([other(1)])?]),
        (
            libc::SYS_prlimit64,
            vec![rule([other(0), (2, Width::Qword, Is::Ne, 0)])?],
        ),
        (
            libc::SYS_setpriority,
            vec![rule([not_one(0, own)])?, rule([other(1)])?],
        ),
        (
            libc::SYS_ioprio_set,
            vec![rule([not_one(0, IOPRIO_WHO_PROCESS)])?, rule([other(1)])?],
        ),
    ];
    for call in [
        libc::SYS_sched_setaffinity,
        libc::SYS_sched_setattr,
        libc::SYS_sched_setparam,
        libc::SYS_sched_setscheduler,
    ] {
        calls.push((call, vec![rule([other(0)])?]));
    }
    Ok(calls)
}

fn rule(
    conditions: impl IntoIterator<Item = (u8, Width, Is, u64)>,
) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(
        conditions
            .into_iter()
            .map(|(argument, width, is, value)| SeccompCondition::new(argument, width, is, value))
            .collect::<Result<_, _>>()?,
    )
}

/// What the usher answers: `connect`, and `socket` of the internet. Of the latter, what is refused above is refused first,
/// since of several answers the strictest holds. That the numbers mean these calls is held there too, and by [`no_x32`].
fn set_aside() -> Vec<sock_filter> {
    // The first argument follows number, architecture and address (linux/seccomp.h); of its 8 bytes the kernel takes the lower.
    const FAMILY: u32 = 16;
    let number = |call: i64| u32::try_from(call).unwrap_or_default();
    let is = |value, yes, no| step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, yes, no, value);
    vec![
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        is(number(libc::SYS_connect), 3, 0),
        is(number(libc::SYS_socket), 0, 3),
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, FAMILY),
        is(libc::AF_INET.cast_unsigned(), 0, 1),
        step(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_USER_NOTIF,
        ),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

/// The other numbers by which the same calls can be made on `x86_64` kernels that were built so.
fn no_x32() -> BpfProgram {
    const X32: u32 = 0x4000_0000;
    // linux/bpf_common.h, linux/seccomp.h; the number is the first word of `struct seccomp_data`.
    let program = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, X32),
        step(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned(),
        ),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let same = |step: sock_filter| seccompiler::sock_filter {
        code: step.code,
        jt: step.jt,
        jf: step.jf,
        k: step.k,
    };
    program.map(same).to_vec()
}

fn step(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter {
        code: u16::try_from(code).unwrap_or_default(),
        jt,
        jf,
        k,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_of_sockets_makes_filters() {
        for sockets in [Sockets::None, Sockets::Led, Sockets::Own, Sockets::Host] {
            assert!(filters(sockets, true).unwrap().len() >= 2, "{sockets:?}");
        }
    }

    /// What a program of the few instructions that [`set_aside`] is made of answers to a call.
    fn answer(program: &[sock_filter], number: i64, family: u32) -> u32 {
        let (mut at, mut held) = (0, 0);
        loop {
            let step = program[at];
            let class = u32::from(step.code) & 0x07;
            at += 1;
            match class {
                libc::BPF_LD if step.k == 0 => held = u32::try_from(number).unwrap(),
                libc::BPF_LD if step.k == 16 => held = family,
                libc::BPF_JMP if held == step.k => at += usize::from(step.jt),
                libc::BPF_JMP => at += usize::from(step.jf),
                libc::BPF_RET => return step.k,
                _ => panic!("another instruction at {at}"),
            }
        }
    }

    #[test]
    fn what_the_usher_answers_is_set_aside_and_nothing_else() {
        let of = |family: i32| family.cast_unsigned();
        let (asks, lets) = (libc::SECCOMP_RET_USER_NOTIF, libc::SECCOMP_RET_ALLOW);
        for (number, family, expected) in [
            (libc::SYS_connect, 0, asks),
            (libc::SYS_connect, 7, asks),
            (libc::SYS_socket, of(libc::AF_INET), asks),
            (libc::SYS_socket, of(libc::AF_UNIX), lets),
            (libc::SYS_socket, of(libc::AF_INET6), lets),
            (libc::SYS_socketpair, of(libc::AF_INET), lets),
            (libc::SYS_read, of(libc::AF_INET), lets),
            (libc::SYS_execve, 0, lets),
        ] {
            let found = answer(&set_aside(), number, family);
            assert_eq!(found, expected, "{number} {family}");
        }
    }
}
