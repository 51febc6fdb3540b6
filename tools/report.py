#!/usr/bin/env python
"""The same as ``python -m mmkd_classroom.report``; the package need not be installed."""

import _common  # noqa: F401

from mmkd_classroom.report.__main__ import main

if __name__ == '__main__':
    main()
