"""Writing a file whole or not at all."""

import errno
import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from tui_prune import formatting, paths
from tui_prune.errors import TuiPruneError
from tui_prune.files import hold_open, part_beside, tidy_parts


class TargetExistsError(TuiPruneError):
    """There is a file already, and nobody has said that it may be replaced."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(f"{path} exists already and was left as it is; pass --force (force=True) to replace it.")


def check_target(path: Path, *, force: bool) -> Path:
    """Where a file `path` will be written: the file that it points to, if it is a symbolic link.

    Raises `TargetExistsError` when there is one and `force` isn't set; `TuiPruneError` when the folder is missing, or
    when something other than a regular file is there (a folder, a device, a pipe), which nothing replaces.
    """
    target = _target(path)
    if os.path.lexists(target) and not paths.is_file(target):
        raise TuiPruneError(paths.not_a_file(target, path))
    if not paths.is_folder(target.parent):
        raise TuiPruneError(f"{path} can't be written: there is no folder {target.parent}. Make it first.")
    if paths.exists(target) and not force:
        raise TargetExistsError(path)
    return target


def _target(path: Path) -> Path:
    """The absolute path behind all symbolic links."""
    try:
        return Path(os.path.realpath(paths.absolute(path)))
    except (OSError, ValueError) as error:
        raise TuiPruneError(f"{str(path)!r} can't be written: {error}.") from error


def check_space(path: Path, octets: int) -> None:
    """Raises `TuiPruneError` when the disk of `path` has no room for so many bytes. What it replaces counts, too: it
    stays until the new file is whole. A disk that doesn't say how much it has is taken to have enough."""
    folder = _target(path).parent
    free = free_space(folder)
    if free is not None and free < octets:
        raise TuiPruneError(
            f"{path} needs {formatting.size(octets)}, and the disk of {folder} has {formatting.size(free)} left. "
            "Free some space or save to another disk. Nothing was changed."
        )


def free_space(folder: Path) -> int | None:
    """Bytes that may still be written to the disk of a folder; None where it doesn't say."""
    try:
        return shutil.disk_usage(folder).free
    except (OSError, ValueError):
        return None


def write_whole(
    path: Path,
    write: Callable[["WatchedFile"], object],
    check: Callable[[Path], None],
    *,
    force: bool = False,
    mode: int = 0o666,
    written: Callable[[int], None] = lambda size: None,
) -> Path:
    """Write `path` by way of a temporary file beside it, so that it is there whole or as it was before.

    `write` writes the content, and `written` is told of each piece; `check` is given the temporary file before it
    takes its place, and raises if it is wrong. Whatever one of them raises, the temporary file is removed. A new file
    gets the permissions `mode` less the umask. Gives back the file that was written.

    Raises `TargetExistsError` and `TuiPruneError` like `check_target`, and `TuiPruneError` when the disk is full or
    the folder doesn't take the file.
    """
    target = check_target(path, force=force)
    tidy_parts(target.parent)
    part, hold = part_beside(target), None
    try:
        with _create(part, target, mode) as file:
            hold = hold_open(file.fileno())
            WatchedFile(file, written).fill(write)
            file.flush()
            os.fsync(file.fileno())
        check(part)
        _put_in_place(part, target, path, force)
    except OSError as error:
        raise TuiPruneError(f"{path} can't be written: {_reason(error, target)}. Nothing was changed.") from error
    finally:
        with suppress(OSError):
            part.unlink()
        if hold is not None:
            os.close(hold)
    return target


class WatchedFile:
    """Remembers what went wrong in a write, because writers in C++ put an error of their own in its place."""

    def __init__(self, file: IO[bytes], written: Callable[[int], None]) -> None:
        self._file = file
        self._written = written
        self._failure: BaseException | None = None

    def write(self, data: bytes | memoryview) -> int:
        """Write `data` and tell how much it was."""
        try:
            self._written(len(data))
            return self._file.write(data)
        except BaseException as error:
            self._failure = self._failure or error
            raise

    def flush(self) -> None:
        """Hand on what was written."""
        self._file.flush()

    def fill(self, write: Callable[["WatchedFile"], object]) -> None:
        """Let `write` write. Raises what went wrong first."""
        try:
            write(self)
        except BaseException:
            if self._failure is not None:
                raise self._failure from None
            raise


def _create(part: Path, target: Path, mode: int) -> IO[bytes]:
    file = open(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "wb")  # noqa: SIM115
    with suppress(OSError):
        os.chmod(part, stat.S_IMODE(target.stat().st_mode))
    return file


def _put_in_place(part: Path, target: Path, path: Path, force: bool) -> None:
    if force:
        os.replace(part, target)
    else:
        _link_or_replace(part, target, path)
    with suppress(OSError):
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _link_or_replace(part: Path, target: Path, path: Path) -> None:
    """A link fails where a file has come up in the meantime, and a rename doesn't; but not every disk has links."""
    try:
        os.link(part, target)
    except FileExistsError:
        raise TargetExistsError(path) from None
    except OSError:
        check_target(path, force=False)
        os.replace(part, target)


def _reason(error: OSError, target: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk of {target.parent} is full. Free some space or save to another disk"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"the folder {target.parent} is read-only for you. Save to another folder"
    return error.strerror or str(error)
