"""The first process of a lab's host: it gives the host its own name and mounts, then collects orphans that end."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import sys

READ_ONLY, REMOUNT, BIND, RECURSIVE = 1, 32, 4096, 16384
DETACH = 2
DISC = "/media/disc"
LIBC = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str = "none", flags: int = 0, options: str = "") -> None:
    """Mount as mount(2) does. Raise OSError."""
    if LIBC.mount(source.encode(), target.encode(), kind.encode(), flags, options.encode()):
        number = ctypes.get_errno()
        raise OSError(number, f"mount {source} on {target}: {os.strerror(number)}")


def show_read_only(source: str, target: str) -> None:
    """Show a folder of the machine read-only under another path."""
    os.makedirs(target, exist_ok=True)
    mount(source, target, flags=BIND)
    mount("none", target, flags=REMOUNT | BIND | READ_ONLY)


def hide_siblings(own: str) -> None:
    """Hide the folders of the lab's other hosts: only `own` stays in their parent."""
    handle = os.open(own, os.O_RDONLY)
    mount("tmpfs", os.path.dirname(own), "tmpfs", options="mode=755")
    os.mkdir(own)
    mount(f"/proc/self/fd/{handle}", own, flags=BIND)
    os.close(handle)


def make_etc(machine: str, own: str) -> None:
    """Fill an empty /etc with links to the machine's entries, except for the host's own files."""
    for name in os.listdir(machine):
        entry = f"{machine}/{name}"
        os.symlink(os.readlink(entry) if os.path.islink(entry) else entry, f"/etc/{name}")
    for name in os.listdir(own):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"/etc/{name}")
        shutil.copy2(f"{own}/{name}", f"/etc/{name}", follow_symlinks=False)


def share_root(own: str) -> None:
    """Leave the host the machine's files, but for /etc, /run and its own folder."""
    show_read_only("/etc", f"{own}/machine/etc")
    show_read_only("/run", f"{own}/machine/run")
    mount("proc", "/proc", "proc")
    mount("tmpfs", "/etc", "tmpfs", options="mode=755")
    make_etc(f"{own}/machine/etc", f"{own}/etc")


def change_root(own: str) -> None:
    """Give the host a root of its own, a layer over `root` of its disc, and show it its folder and the disc.

    What it writes is not flushed to the disk, so that installing packages does not wait for it.
    """
    disc, root = os.readlink(f"{own}/disc"), f"{own}/root"
    layers = f"lowerdir={disc}/root,upperdir={own}/upper,workdir={own}/work,volatile"
    mount("overlay", root, "overlay", options=layers)
    os.makedirs(root + own)
    mount(own, root + own, flags=BIND)
    mount(f"{own}/home", f"{root}/root", flags=BIND)
    show_read_only(disc, f"{root}{DISC}")
    mount("/dev", f"{root}/dev", flags=BIND | RECURSIVE)
    mount("proc", f"{root}/proc", "proc")
    mount("sysfs", f"{root}/sys", "sysfs", READ_ONLY)
    for name in os.listdir(f"{own}/etc"):
        shutil.copy2(f"{own}/etc/{name}", f"{root}/etc/{name}")
    os.chdir(root)
    if LIBC.pivot_root(b".", b".") or LIBC.umount2(b".", DETACH):
        raise OSError(ctypes.get_errno(), f"pivot_root to {root}")
    os.chdir("/")


def set_up(name: str, own: str) -> None:
    """Make this process's namespaces the host `name`, whose folder is `own`."""
    hide_siblings(own)
    (change_root if os.path.islink(f"{own}/disc") else share_root)(own)
    mount("tmpfs", "/run", "tmpfs", options="mode=755")
    os.mkdir("/run/sshd", 0o755)
    mount("tmpfs", "/dev/shm", "tmpfs", options="mode=1777")
    mount(f"{own}/boot_id", "/proc/sys/kernel/random/boot_id", flags=BIND)
    socket.sethostname(name)
    for scope in ("all", "default"):
        with contextlib.suppress(OSError), open(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6", "w") as setting:
            setting.write("1")


def collect_for_ever() -> None:
    """Collect every process that ends here, as a machine's init does."""
    while True:
        signal.sigwait({signal.SIGCHLD})
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def main() -> None:
    """Set up the host, report its pid (as seen by the machine) or the error in one line of JSON, and stay."""
    name, own = sys.argv[1:]
    pid = int(os.readlink("/proc/self"))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    report: dict[str, object] = {"host": name, "pid": pid}
    try:
        set_up(name, own)
    except OSError as error:
        report["error"] = str(error)
    os.write(1, json.dumps(report).encode() + b"\n")
    os.dup2(os.open("/dev/null", os.O_RDWR), 1)
    os.chdir("/")
    collect_for_ever()


if __name__ == "__main__":
    main()
