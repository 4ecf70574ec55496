"""How much memory is left, so that what would need more is refused before it is taken; and what to say where it was
too little."""

import sys
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")


def free_memory() -> int | None:
    """Bytes that this process can still take without anything being swapped or killed; None where nobody says."""
    known = [number for number in (_of_the_machine(), _of_the_container()) if number is not None]
    return min(known, default=None)


_CPU_ALLOCATOR = "DefaultCPUAllocator: "
"""How a plain RuntimeError of PyTorch's begins that is about memory."""


def said_of_memory(error: BaseException) -> str | None:
    """What to tell a user where an exception, or one behind it, is for want of memory; None for any other."""
    behind: BaseException | None = error
    while behind is not None:
        of_a_gpu = getattr(sys.modules.get("torch"), "OutOfMemoryError", None)
        if of_a_gpu is not None and isinstance(behind, of_a_gpu):
            return (
                "The GPU has too little memory for this: give the network a smaller input (--input), the task smaller "
                "batches, or take --device cpu. What is open and saved is as it was."
            )
        if isinstance(behind, MemoryError) or _CPU_ALLOCATOR in str(behind):
            return (
                "There is too little memory for this: give the network a smaller input (--input), or the task smaller "
                "batches. What is open and saved is as it was."
            )
        behind = behind.__cause__
    return None


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
