"""A filter of system calls: no other process, no socket, no namespace, no kernel memory.

Classic BPF as in Linux' Documentation/userspace-api/seccomp_filter.rst, for bubblewrap's --seccomp.
"""

import errno
import struct

_LOAD, _EQUAL, _AT_LEAST, _HAS_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_CLONE_THREAD = 0x10000
_X32 = 0x40000000

# A machine's audit number, its clone, and what is refused with EPERM: fork, vfork, socket, ptrace,
# unshare, setns, mount, keyctl, add_key, request_key, bpf, perf_event_open, userfaultfd,
# memfd_create, shmget, msgget, semget, mq_open, io_uring_setup, process_vm_readv and writev, kill.
_MACHINES = {
    "x86_64": (
        0xC000003E,
        56,
        (57, 58, 41, 101, 272, 308, 165, 250, 248, 249, 321, 298, 323,
         319, 29, 68, 64, 240, 425, 310, 311, 62),
    ),
    "aarch64": (
        0xC00000B7,
        220,
        (198, 117, 97, 268, 40, 219, 217, 218, 280, 241, 282,
         279, 194, 186, 190, 180, 425, 270, 271, 129),
    ),
}  # fmt: skip
_CLONE3 = 435


def machines() -> frozenset[str]:
    """The machines, as platform.machine() names them, that there is a filter for."""
    return frozenset(_MACHINES)


def seccomp_filter(machine: str) -> bytes:
    """The compiled filter for a machine."""
    architecture, clone, refused = _MACHINES[machine]
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
    ]
    for number in refused:
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | errno.EPERM)]
    steps += [
        (_EQUAL, 0, 1, _CLONE3),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),  # glibc then takes clone
        (_EQUAL, 0, 3, clone),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_HAS_BIT, 1, 0, _CLONE_THREAD),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("HBBI", code, yes, no, k) for code, yes, no, k in steps)
