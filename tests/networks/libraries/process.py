"""The sweep of one network in a process of its own, with a second one that loads what is saved."""

import os
import warnings
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection

from tests.networks.libraries.network import Network
from tests.networks.libraries.sweep import Outcome, load_for, sweep
from tests.networks.libraries.tables import module_of
from tests.networks.process import START, NotDone, in_a_process

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "YOLO_VERBOSE": "false", "TQDM_DISABLE": "1"}


def sweep_in_a_process(network: Network, seconds: float) -> Outcome:
    """The outcome of a network; "failed" where its process takes more than so many seconds, or ends."""
    os.environ.update(OFFLINE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in (module_of(network.library), "tui_prune.api", "tui_prune.saving.checkpoint"):
            import_module(name)
    asking, answering = get_context(START).Pipe()
    loader = get_context(START).Process(target=load_for, args=(network, answering), daemon=True)
    loader.start()
    answering.close()
    try:
        return in_a_process(_swept, network, asking, seconds=seconds)
    except NotDone as error:
        return Outcome(network.name, network.library, "failed", problems=(str(error),))
    finally:
        asking.close()
        loader.kill()
        loader.join()


def _swept(network: Network, loader: Connection) -> Outcome:
    try:
        return sweep(network, loader)
    except Exception as error:
        problem = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return Outcome(network.name, network.library, "failed", problems=(problem,))
