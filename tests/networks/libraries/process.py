"""The sweep of one network in a process of its own, with a second one that loads what is saved."""

import multiprocessing
import os
import warnings
from importlib import import_module
from multiprocessing.connection import Connection

from tests.networks.libraries.network import Network
from tests.networks.libraries.sweep import Outcome, load_for, sweep
from tests.networks.libraries.tables import module_of

START = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
"""A forked process has what is imported already; it has never seen the network all the same."""
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "YOLO_VERBOSE": "false", "TQDM_DISABLE": "1"}


def in_a_process(network: Network, seconds: float) -> Outcome:
    """Run the sweep of one network in a process that ends after so many seconds at the latest."""
    os.environ.update(OFFLINE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in (module_of(network.library), "tui_prune.api", "tui_prune.saving.checkpoint"):
            import_module(name)
    context = multiprocessing.get_context(START)
    ours, theirs = context.Pipe()
    asking, answering = context.Pipe()
    loader = context.Process(target=load_for, args=(network, answering), daemon=True)
    worker = context.Process(target=_work, args=(network, theirs, asking), daemon=True)
    loader.start()
    worker.start()
    theirs.close(), asking.close(), answering.close()
    try:
        if not ours.poll(seconds):
            return Outcome(network.name, network.library, "failed", problems=(f"not done after {seconds:.0f} s",))
        return ours.recv()
    except EOFError:
        worker.join()
        return Outcome(network.name, network.library, "failed", problems=(f"ended with status {worker.exitcode}",))
    finally:
        for process in (worker, loader):
            process.kill()
            process.join()


def _work(network: Network, connection: Connection, loader: Connection) -> None:
    try:
        connection.send(sweep(network, loader))
    except Exception as error:
        problem = f"not built: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        connection.send(Outcome(network.name, network.library, "failed", problems=(problem,)))
