"""transformers' networks: a folder with config.json and weights, or a name in the local cache; nothing is downloaded.

transformers is no dependency; it is imported when one of its networks is first asked for. A network is built again
from its class's name and its configuration, by transformers' own code alone.
"""

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from torch import nn

from tui_prune import paths
from tui_prune.archives.origin import Origin
from tui_prune.errors import Remedy, TuiPruneError, UsageError

KIND = "huggingface"
PREFIX = "hf:"
"""Before a folder or a name, where a user names it."""
CONFIG = "config"
"""The only argument of an origin: the configuration, as plain values."""
TOKENS = 16
_SAMPLES = 16_000
"""Of a sound: one second."""
_LEFT_OUT = ("auto_map", "quantization_config", "_name_or_path", "torch_dtype", "dtype")
"""What a configuration says of code of the user's, of another form of the weights, or of where it was found."""
_FETCHING = "use_pretrained_backbone"
_MOST_LISTED = 3


def transformers_version() -> str:
    """The version that is installed. Raises `UsageError` when none is."""
    try:
        return metadata.version("transformers")
    except metadata.PackageNotFoundError:
        raise _missing() from None


def open_huggingface(spec: str) -> tuple[nn.Module, Origin, tuple[str, ...]]:
    """The network in a folder, or under a name of the local cache, with its weights; and what is to be said of it.

    Raises `UsageError` when there is none, `TuiPruneError` when it is of a class that transformers doesn't have, or its
    weights can't be read.
    """
    transformers = _transformers()
    folder = _folder(spec)
    name = _architecture(folder)
    kind = _class(name)
    with _quiet():
        try:
            module, info = kind.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False, output_loading_info=True
            )
        except Exception as error:  # damaged weights can make it raise anything
            raise TuiPruneError(
                f"{PREFIX}{spec} can't be loaded by transformers {transformers.__version__}: {_first_line(error)}."
            ) from error
    lacking = sorted(info.get("missing_keys") or ())
    notes: tuple[str, ...] = ()
    if lacking:
        more = f" and {len(lacking) - _MOST_LISTED} more" if len(lacking) > _MOST_LISTED else ""
        notes = (f"Its weights lack {', '.join(lacking[:_MOST_LISTED])}{more}; these are random.",)
    return module.eval(), Origin(KIND, name, {CONFIG: plain_config(module.config)}), notes


def build_huggingface(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """The network with random weights."""
    kind = _class(name)
    with _quiet():
        config = kind.config_class.from_dict(dict(arguments[CONFIG]))
        return kind(config)


def check_huggingface(name: str, arguments: Mapping[str, Any]) -> None:
    """Raise `TuiPruneError` when an origin names no class of transformers', or has anything but a plain configuration;
    `UsageError` where transformers isn't installed."""
    _class(name)
    config = arguments.get(CONFIG)
    if set(arguments) != {CONFIG} or not isinstance(config, Mapping):
        raise TuiPruneError(f"A network of transformers' is built with its configuration alone; {name} wasn't built.")
    if _fetches(config):
        raise TuiPruneError(f"The configuration of {name} asks for weights to be fetched; it wasn't built.")


def likely_inputs(name: str, arguments: Mapping[str, Any]) -> list[str]:
    """Shapes of inputs that the network may take, the likeliest first."""
    kind, config = _class(name), arguments[CONFIG]
    image, main = _image(config), kind.main_input_name
    tokens = f"input_ids=1,{TOKENS}:int"
    asked = f"decoder_input_ids=1,{TOKENS}:int"
    first = {
        "pixel_values": image,
        "input_ids": f"1,{TOKENS}:int",
        "input_values": f"1,{_SAMPLES}",
        "input_features": f"1,{config.get('num_mel_bins', 80)},{2 * config.get('max_source_positions', 1500)}",
    }.get(main, "")
    named = f"{main}={first}"
    found = [first, named, f"{named};{asked}", f"{tokens};pixel_values={image}"] if first else []
    return [*found[2:], *found[:2]] if config.get("is_encoder_decoder") else found


def _image(config: Mapping[str, Any]) -> str:
    vision = config.get("vision_config")
    own = vision if isinstance(vision, Mapping) else config
    size = own.get("image_size") or 224
    sides = tuple(size)[:2] if isinstance(size, (list, tuple)) else (size, size)
    return ",".join(map(str, (1, own.get("num_channels", 3), *sides)))


def _folder(spec: str) -> Path:
    path = paths.absolute(spec)
    if paths.is_folder(path):
        if not paths.is_file(path / "config.json"):
            raise UsageError(f"{spec} has no config.json; name a folder that save_pretrained of transformers wrote.")
        return path
    if spec.startswith((".", "/", "~")) or spec.count("/") > 1:
        raise UsageError(paths.not_a_file(path, spec, "folder"))
    try:
        return Path(import_module("huggingface_hub").snapshot_download(spec, local_files_only=True))
    except Exception as error:  # its own classes of errors
        raise UsageError(
            f"{PREFIX}{spec} is neither a folder nor in this machine's cache of Hugging Face, and nothing is "
            f"downloaded here. Fetch it first: hf download {spec}"
        ) from error


def _architecture(folder: Path) -> str:
    """The class that a folder says."""
    try:
        (name, *_) = json.loads((folder / "config.json").read_text())["architectures"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TuiPruneError(
            f"{folder / 'config.json'} doesn't name the class of its network (architectures), so it can't be built."
        ) from error
    return str(name)


def _class(name: str) -> Any:
    transformers = _transformers()
    kind: Any = getattr(transformers, name, None) if name.isidentifier() else None
    if (
        not isinstance(kind, type)
        or not issubclass(kind, transformers.PreTrainedModel)
        or getattr(kind, "config_class", None) is None
    ):
        raise TuiPruneError(
            f"transformers {transformers.__version__} has no network {name}; open its own code, as in net.py:make."
        )
    return kind


def plain_config(config: Any) -> dict[str, Any]:
    """A configuration as JSON has it, without what doesn't belong to the network's structure."""
    kept = {key: value for key, value in config.to_dict().items() if key not in _LEFT_OUT}
    try:
        return dict(json.loads(json.dumps(kept)))
    except (TypeError, ValueError) as error:
        raise TuiPruneError(f"The configuration of the network can't be saved: {error}.") from error


def _fetches(config: Any) -> bool:
    """Whether a configuration, or one within it, asks for published weights."""
    left = [config]
    while left:
        one = left.pop()
        if isinstance(one, Mapping):
            if one.get(_FETCHING):
                return True
            left.extend(one.values())
        elif isinstance(one, (list, tuple)):
            left.extend(one)
    return False


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what transformers logs and draws away from the screen."""
    from transformers.utils import logging as own

    bars = own.is_progress_bar_enabled()
    before = logging.root.manager.disable
    own.disable_progress_bar()
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        if bars:
            own.enable_progress_bar()


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _transformers() -> Any:
    try:
        return import_module("transformers")
    except ImportError:
        raise _missing() from None


def _missing() -> UsageError:
    return UsageError(
        "transformers isn't installed, so its networks can't be opened; install it with: pip install transformers",
        remedies=[Remedy.AGAIN, Remedy.OTHER],
    )
