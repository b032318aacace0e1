"""The few operations on the disk that writing needs."""

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path


class Disk:
    """Every change that llmspec makes on the disk goes through here, so that tests can break off after any of them."""

    def make_directories(self, path: Path) -> None:
        """Create a directory and those above it where they are missing."""
        path.mkdir(parents=True, exist_ok=True)

    def write(self, path: Path, content: bytes, mode: int | None, executable: bool) -> None:
        """Write a new file, durable after `sync`. Without a mode it gets the usual one, less the umask."""
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o777 if executable else 0o666), "wb") as file:
            file.write(content)
            if mode is not None:
                os.fchmod(file.fileno(), mode)

    def replace(self, source: Path, target: Path) -> None:
        """Move a file or a directory in one step; a file of that name is replaced."""
        source.replace(target)

    def remove(self, path: Path) -> None:
        """Remove a file."""
        path.unlink(missing_ok=True)

    def remove_empty_directory(self, path: Path) -> bool:
        """Remove a directory if nothing is in it, and say whether that was so."""
        try:
            path.rmdir()
        except OSError:
            return False
        return True

    def remove_tree(self, path: Path) -> None:
        """Remove a directory and what is in it."""
        if path.is_dir():
            shutil.rmtree(path)

    def sync(self, paths: Iterable[Path]) -> None:
        """Make files, or the names in directories, durable."""
        # All at once: the file system then waits for the disk once, not once a file (20 ms and not 200 for a project).
        with ThreadPoolExecutor(max_workers=16) as pool:
            for _ in pool.map(_sync, paths):
                pass


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class BusyError(OSError):
    """Another process holds the directory."""


@contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Hold a directory against other processes of llmspec; the system lets go of it when the process ends, however it ends.

    Raises:
        BusyError: Another process holds it.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(error.errno, "another `llmspec build` is writing to it", str(directory)) from error
        except OSError:
            pass  # a file system without locks: go on without
        yield
    finally:
        os.close(descriptor)
