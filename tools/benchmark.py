#!/usr/bin/env python
"""The same as ``python -m mmkd_classroom.benchmark``, also where the package is not installed."""

import os
from pathlib import Path

import _common  # noqa: F401

from mmkd_classroom.benchmark.__main__ import main

if __name__ == '__main__':
    # The processes that it starts import the package before they run a tool.
    project = str(Path(__file__).resolve().parent.parent)
    os.environ['PYTHONPATH'] = os.pathsep.join([project, os.environ.get('PYTHONPATH', '')])
    main()
