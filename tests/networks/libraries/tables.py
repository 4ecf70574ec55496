"""All networks of the libraries that are installed."""

import importlib.util

from tests.networks.libraries import (
    diffusion,
    maps,
    medical,
    sound,
    transformers_audio,
    transformers_text,
    transformers_vision,
)
from tests.networks.libraries.network import Network

TABLES = (transformers_text, transformers_vision, transformers_audio, maps, medical, diffusion, sound)
MODULES = {
    "transformers": "transformers.modeling_utils",
    "ultralytics": "ultralytics.nn.tasks",
    "segmentation-models-pytorch": "segmentation_models_pytorch",
    "facenet-pytorch": "facenet_pytorch",
    "monai": "monai.networks.nets",
    "diffusers": "diffusers.models",
    "torchaudio": "torchaudio.models",
}
"""What a library's networks import, where it isn't the module of the library's own name."""


def networks() -> list[Network]:
    """Library by library."""
    found = [network for table in TABLES for network in table.networks()]
    return [network for network in found if is_installed(network.library)]


def module_of(library: str) -> str:
    """The module to import of a library."""
    return MODULES.get(library, library)


def is_installed(library: str) -> bool:
    """Whether a library is there."""
    return importlib.util.find_spec(module_of(library).partition(".")[0]) is not None
