#!/usr/bin/env python
"""The same as ``python -m mmkd_classroom.benchmark``; the package need not be installed."""

import os
from pathlib import Path

import _common  # noqa: F401

from mmkd_classroom.benchmark.__main__ import main

if __name__ == '__main__':
    # Its child processes import the package, too.
    project = str(Path(__file__).resolve().parent.parent)
    os.environ['PYTHONPATH'] = os.pathsep.join([project, os.environ.get('PYTHONPATH', '')])
    main()
