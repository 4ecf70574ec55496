"""How much memory is left, so that what would need more is refused before it is taken."""

from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")


def free_memory() -> int | None:
    """Bytes that this process can still take without anything being swapped or killed; None where nobody says."""
    known = [number for number in (_of_the_machine(), _of_the_container()) if number is not None]
    return min(known, default=None)


def _of_the_machine() -> int | None:
    try:
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _of_the_container() -> int | None:
    """What the limit of a container leaves: pages of files that it has read are given back when they are needed."""
    try:
        limit = int((_GROUP / "memory.max").read_text())
        used = int((_GROUP / "memory.current").read_text())
        counts = dict(line.split() for line in (_GROUP / "memory.stat").read_text().splitlines())
        return max(0, limit - used + int(counts.get("inactive_file", 0)))
    except (OSError, ValueError):  # no container, or no limit ("max")
        return None
