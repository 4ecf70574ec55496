"""Which network a request means, wherever the app is started: absolute paths, a key, and marks of the files."""

import dataclasses
import hashlib
import os
import re
from collections.abc import Mapping

from tui_prune import paths
from tui_prune.loading.request import OpenRequest
from tui_prune.tasks.spec import absolute_task

Stamps = Mapping[str, tuple[int, int]]
"""Size in bytes and time of change in nanoseconds, by absolute path."""

_FACTORY = re.compile(r"(?P<file>.+\.py)(?P<factory>:.*)?")


def absolute(request: OpenRequest) -> OpenRequest:
    """The request with absolute paths, which means the same in every folder."""
    return dataclasses.replace(
        request,
        spec=None if request.spec is None else _absolute_spec(request.spec),
        weights=_absolute(request.weights),
        task=None if request.task is None else absolute_task(request.task),
    )


def key(request: OpenRequest) -> str:
    """The name under which work on a network is kept: from its name or path and the path of its weights.

    The device, the input and the task are left out: the same network on another device is the same work. So is the
    content of the files (`stamps` tells whether it has changed): weights that were trained on may be cut alike.
    """
    request = absolute(request)
    spec, weights = _real(request.spec or OpenRequest().name), _real(request.weights or "")
    readable = re.sub(r"[^A-Za-z0-9]+", "-", os.path.basename(spec)).strip("-")[:40]
    meant = "\0".join((spec, weights)).encode("utf-8", "backslashreplace")
    return f"{readable}-{hashlib.sha256(meant).hexdigest()[:16]}"


def stamps(request: OpenRequest) -> dict[str, tuple[int, int]]:
    """Marks of the files that a request names; those that aren't there are left out."""
    request = absolute(request)
    found = {}
    for part in (request.spec, request.weights):
        factory = _FACTORY.fullmatch(part or "")
        path = factory["file"] if factory else part
        if path and os.path.isabs(path):
            try:
                status = os.stat(path)
            except OSError:
                continue
            found[path] = (status.st_size, status.st_mtime_ns)
    return found


def _absolute_spec(spec: str) -> str:
    """As `opening.open_model` reads it: "net.py:make", a name, or a file."""
    factory = _FACTORY.fullmatch(spec)
    if factory:
        return f"{_absolute(factory['file'])}{factory['factory'] or ''}"
    if spec.startswith("timm:"):
        return spec
    is_path = os.path.basename(spec) != spec or spec.startswith("~") or paths.is_file(spec)
    return str(_absolute(spec)) if is_path else spec


def _real(name: str) -> str:
    """A path without symbolic links; a name as it is."""
    return os.path.realpath(name) if os.path.isabs(name) else name


def _absolute(path: str | None) -> str | None:
    return None if path is None else os.path.normpath(paths.absolute(path))
