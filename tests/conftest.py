"""What tests of all modules share. Being here also makes tests/*.py importable everywhere."""

import functools
import gc
import runpy
import sys
from pathlib import Path

import mmdet.models  # noqa: F401
import mmengine
import mmpose.models  # noqa: F401
import mmpretrain.models  # noqa: F401
import pytest
import torch
from hypothesis import settings
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner.checkpoint import CheckpointLoader
from mmengine.visualization import Visualizer
from torch.utils.data import DataLoader

TOOLS = Path(__file__).resolve().parent.parent / 'tools'

# The same examples every time, on a machine of any speed.
settings.register_profile(
    'suite', deadline=None, derandomize=True, database=None, max_examples=60, print_blob=False
)
settings.load_profile('suite')
torch.set_num_threads(1)  # two test processes with two threads each are slower than with one
# Half of the time of a small training is the layout of its config, which MMEngine prints and saves.
mmengine.config.config.FormatCode = lambda text, **_: (text, True)
# For each config of a package MMEngine reads all of its metafiles, and looks for the package anew.
mmengine.config.utils.load = functools.cache(mmengine.config.utils.load)
mmengine.config.config.is_installed = functools.cache(mmengine.config.config.is_installed)
# Data sets collect garbage when they are built. What was imported is none.
gc.freeze()


def pytest_addoption(parser):
    parser.addoption('--campaign', action='store_true', help='run the tests marked campaign, too')


def pytest_collection_modifyitems(config, items):
    if not config.getoption('campaign'):
        for item in items:
            if 'campaign' in item.keywords:
                item.add_marker(pytest.mark.skip(reason='takes minutes: --campaign'))


@pytest.fixture(autouse=True)
def same_start():
    """Each test alone gives what it gives among others."""
    torch.manual_seed(0)
    DefaultScope._instance_dict.clear()  # that of an earlier test's Runner


def with_subclasses(parent):
    """A class and all that inherit from it: each keeps its own instances."""
    return [parent, *(c for child in parent.__subclasses__() for c in with_subclasses(child))]


@pytest.fixture
def fresh_runners():
    """Runners that do not meet the loggers, message hubs and loaders of earlier ones.

    MMEngine keeps these for the life of a process, under names with a timestamp in seconds.
    """

    loaders = dict(CheckpointLoader._schemes)

    def forget():
        for manager in (MessageHub, MMLogger, DefaultScope, *with_subclasses(Visualizer)):
            manager._instance_dict.clear()
        CheckpointLoader._schemes = dict(loaders)
        # Left to the garbage collector, persistent workers take 5 s each to end.
        for item in gc.get_objects():
            if type(item) is DataLoader:
                item._iterator = None

    forget()
    yield forget
    forget()


@pytest.fixture
def run_tool(fresh_runners, monkeypatch):
    """Run a script as from the shell, but in this process: ``run_tool('train', config, ...)``."""

    def run(script, *args):
        fresh_runners()
        path = Path(script) if str(script).endswith('.py') else TOOLS / f'{script}.py'
        monkeypatch.setattr(sys, 'argv', [str(path), *map(str, args)])
        monkeypatch.setattr(sys, 'path', [str(path.parent), *sys.path])
        monkeypatch.setenv('LOCAL_RANK', '0')
        return runpy.run_path(str(path), run_name='__main__')

    return run
