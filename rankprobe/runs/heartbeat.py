"""A heartbeat in the run folder keeps other hosts out, on shared file systems whose locks do not reach them.

The writer signs `heartbeat.json` with its host, process and start, and sets the time of the file every `BEAT`
seconds, in a thread. A writer on another host refuses while the heartbeat is fresh, and takes over when it is
older than `STALE`. Ages are differences of two times that the file system set, of the heartbeat and of a new
file, so the clocks of the hosts may differ. Where the lock does reach (the same host), it decides alone: a
heartbeat whose lock is free was left by a process that was killed.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from rankprobe.errors import RankprobeError
from rankprobe.logger import log
from rankprobe.runs.files import temporary, write_atomically

HEARTBEAT, CLAIM = "heartbeat.json", "heartbeat.claim"
BEAT = 15.0
"""Seconds between two beats."""

STALE = 120.0
"""Age in seconds at which a heartbeat is taken for dead: eight beats, because file systems can hang."""

MAX_BYTES = 4096
MAX_NAME = 256
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
CLEAN_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""A heartbeat may come from a stranger: no link is followed, and a pipe is not waited for."""


@dataclass(frozen=True)
class Signature:
    """Who writes a run folder.

    Attributes:
        host: the name of the host.
        boot: the id of the kernel's start, which containers of one machine share; None: unknown.
        pid: the process.
        started: when it opened the folder, by its own clock, in ISO 8601; for people.
        key: random, so that two writers never sign alike.
    """

    host: str
    boot: str | None
    pid: int
    started: str
    key: str

    @property
    def is_here(self) -> bool:
        """Whether this machine runs it, so that the machine's locks and process ids speak of it."""
        host, boot = this_machine()
        return self.boot == boot if self.boot and boot else self.host == host

    def __str__(self) -> str:
        return f"process {self.pid} on host '{self.host}'"


@cache
def this_machine() -> tuple[str, str | None]:
    """Return the name of this host, and the id of its kernel's start (None: this system has none)."""
    try:
        boot = BOOT_ID.read_text("ascii").strip() or None
    except (OSError, ValueError):
        boot = None
    return platform.node(), boot


def read_signature(path: Path) -> Signature | None:
    """Read a heartbeat; None if there is none, or none that can be read."""
    return _read(path)[0]


def _read(path: Path) -> tuple[Signature | None, float]:
    """Return the signature and the time of a heartbeat. Opening it makes NFS ask for its time anew."""
    try:
        file = os.open(path, CLEAN_FLAGS)
    except (OSError, ValueError):
        return None, 0.0
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            return None, 0.0
        content = os.read(file, MAX_BYTES) if status.st_size <= MAX_BYTES else b""
        return _parse(content), status.st_mtime
    finally:
        os.close(file)


def _parse(content: bytes) -> Signature | None:
    try:
        signature = Signature(**json.loads(content))
    except (ValueError, TypeError, RecursionError):
        return None
    texts = (signature.host, signature.started, signature.key, signature.boot or "")
    is_right = (
        all(isinstance(text, str) and len(text) <= MAX_NAME and text.isprintable() for text in texts)
        and type(signature.pid) is int
        and 0 < signature.pid < 2**31
    )
    return signature if is_right else None


def other_writer(folder: Path, *, locks: bool) -> str | None:
    """Describe the process that keeps a run folder, as its heartbeat says; None if there is none.

    Args:
        folder: a run folder whose lock is free, or held by the caller.
        locks: whether the kernel can lock it. If so, no other process of this machine keeps it.
    """
    signature, beat = _read(folder / HEARTBEAT)
    if signature is None or _is_over(signature, locks):
        return None
    age = _file_system_time(folder.parent) - beat
    if abs(age) > STALE:  # a time in the future is no beat either
        return None
    return (
        f"{signature}, which gave a sign {max(age, 0):.0f} s ago; wait for it, or stop it there; if it is "
        f"dead, try again in {STALE - age:.0f} s"
    )


def _is_over(signature: Signature, locks: bool) -> bool:
    """Whether this machine knows that the process has ended."""
    return signature.is_here and (locks or not _is_alive(signature.pid))


def _is_alive(pid: int) -> bool:
    import psutil  # only where there are no locks

    return psutil.pid_exists(pid)


def _file_system_time(folder: Path) -> float:
    """The present time as the file system of `folder` stamps it; this host's time if it is read-only."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0")
            file.flush()
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return time.time()


def taken_over_by(folder: Path) -> Signature | None:
    """The process of another host that took a run folder over from this one, which was suspended too long."""
    signature = read_signature(folder / HEARTBEAT)
    return signature if signature and not signature.is_here else None


def check_not_taken_over(folder: Path) -> None:
    """Make sure, before something is replaced in a run folder, that it is still this process that writes it.

    Raises:
        RankprobeError: another host took the folder over.
    """
    if other := taken_over_by(folder):
        raise RankprobeError(
            f"{folder} was taken over by {other}, because this process gave no sign for {STALE:.0f} s "
            "(suspended?); this process stops here, and the other goes on"
        )


@contextmanager
def beating(folder: Path, *, locks: bool, becomes: Path | None = None) -> Iterator[None]:
    """Sign a run folder, and keep its heartbeat fresh inside the context.

    Args:
        folder: the run folder, whose lock the caller holds if there are locks.
        locks: as for `other_writer`.
        becomes: the path that the folder is renamed to inside the context, if it is.

    Raises:
        RankprobeError: a process on another host writes it, or `heartbeat.json` is a folder.
    """
    host, boot = this_machine()
    started = datetime.now(UTC).isoformat(timespec="seconds")
    own = Signature(host, boot, os.getpid(), started, secrets.token_hex(8))
    _claim(folder, own, locks)
    path, ended = (becomes or folder) / HEARTBEAT, threading.Event()
    thread = threading.Thread(target=_beat, args=(path, own, ended), name="rankprobe-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        with suppress(OSError):
            if read_signature(path) == own:
                path.unlink()


def _beat(path: Path, own: Signature, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        with suppress(OSError):  # the folder was removed, or the disk is full: the run itself finds out
            found = read_signature(path)
            if found == own:
                os.utime(path)
            elif found is None:
                write_atomically(path, _content(own))


def _content(own: Signature) -> bytes:
    return json.dumps(asdict(own)).encode()


def _claim(folder: Path, own: Signature, locks: bool) -> None:
    """Sign a folder that no one else writes. Of several hosts that do this at once, one succeeds."""
    path, claim = folder / HEARTBEAT, folder / CLAIM
    try:
        if os.path.lexists(claim):
            _check_abandoned(claim, locks)
            claim.unlink()
        _create(claim, _content(own))
        try:
            if writer := other_writer(folder, locks=locks):
                raise RankprobeError(f"{folder} is being written by {writer}")
            if dead := read_signature(path):
                log.info("taking %s over from %s, which has ended", folder, dead)
            write_atomically(path, _content(own))
        finally:
            claim.unlink(missing_ok=True)
    except (FileExistsError, FileNotFoundError):  # the other host took its files away, or removed ours
        if not folder.exists():
            raise
        raise RankprobeError(f"{folder} is being opened by another process; try again in a moment") from None
    except (IsADirectoryError, PermissionError) as error:  # the second on Windows
        if not path.is_dir():
            raise
        raise RankprobeError(f"{path} is a folder; remove it, and try again") from error


def _check_abandoned(claim: Path, locks: bool) -> None:
    """Raise FileExistsError unless the process that created a claim was killed before it removed it."""
    signature, created = _read(claim)
    age = _file_system_time(claim.parent.parent) - created
    if abs(age) <= STALE and not (signature and _is_over(signature, locks)):
        raise FileExistsError


def _create(path: Path, content: bytes) -> None:
    """Create a file, which only one process can; raise FileExistsError if it exists.

    Where the file system has hard links, the file is complete from its first instant.
    """
    with temporary(path) as new:
        new.write_bytes(content)
        try:
            os.link(new, path)
        except FileExistsError:
            raise
        except OSError:
            with path.open("xb") as file:
                file.write(content)
