"""Commands that run in forks of this process, with all imports done, and are killed at random."""

import contextlib
import importlib
import multiprocessing
import os
import signal
import sys
import time
from multiprocessing import forkserver
from pathlib import Path

import mmengine.config.config
import mmengine.runner.runner
import mmpretrain.datasets  # noqa: F401  (imported once, not in each fork)
import mmpretrain.engine  # noqa: F401
import mmpretrain.evaluation  # noqa: F401
import mmpretrain.models  # noqa: F401
import mmpretrain.visualization  # noqa: F401
import numpy as np
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_fork = multiprocessing.get_context('fork')


def start(module, arguments, folder, log):
    """Start ``python -m module arguments`` in a folder, with its output in a file."""
    arguments = [module, *map(str, arguments)]
    process = _fork.Process(target=_in_child, args=(module, arguments, folder, log))
    process.start()
    return process


def _in_child(module, arguments, folder, log):
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with open(log, 'ab', buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout, sys.stderr = (os.fdopen(number, 'w') for number in (1, 2))
    for manager in (MessageHub, MMLogger, DefaultScope, Visualizer, *Visualizer.__subclasses__()):
        manager._instance_dict.clear()  # of earlier tests
    # These take most of the time of so short a training: versions of compilers and drivers, and
    # the layout of configs in checkpoints.
    mmengine.runner.runner.collect_env = dict
    mmengine.config.config.FormatCode = lambda text, **_: (text, True)
    forkserver._forkserver._forkserver_pid = None  # a benchmark starts its own
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    sys.argv = arguments
    importlib.import_module(module).main()


class Killer:
    """Kills processes at random moments; half of them while a file is written.

    Args:
        seed: Of the moments.
        watched: Files to watch, as a pattern.
    """

    def __init__(self, seed, watched='*.pth*'):
        self.generator = np.random.default_rng(seed)
        self.killed = dict.fromkeys(SIGNALS, 0)
        self.watched = watched

    def kill(self, process, folder, seconds):
        """Send the next of the signals, and wait for the end.

        Args:
            process: What is killed.
            folder: It writes its files there.
            seconds: Its expected duration.

        Returns:
            The signal, or None if it ended by itself before.
        """
        number = SIGNALS[sum(self.killed.values()) % len(SIGNALS)]
        deadline = time.monotonic() + self.generator.uniform(0, seconds)
        if self.generator.random() < 0.5:
            process.join(max(0, deadline - time.monotonic()))
        else:
            self._wait_for_file(process, folder, deadline)
        if process.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)
        process.join(120)
        assert not process.is_alive(), f'it outlived {number!r}'
        if process.exitcode == 0:
            return None
        self.killed[number] += 1
        return number

    def _wait_for_file(self, process, folder, deadline):
        """Until a file was begun, and a moment more."""
        before = self._files(folder)
        while process.is_alive() and time.monotonic() < deadline:
            if self._files(folder) != before:
                break
            time.sleep(0.002)
        time.sleep(self.generator.uniform(0, 0.05))

    def _files(self, folder):
        found = set()
        for path in Path(folder).rglob(self.watched):
            with contextlib.suppress(FileNotFoundError):
                found.add((path.name, path.stat().st_mtime_ns, path.stat().st_size))
        return found

    def __str__(self):
        return ', '.join(f'{number} {name.name}' for name, number in self.killed.items())
