"""Imported by a tool before the package, which it then finds where it is not installed, too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import mmkd_classroom  # noqa: F401  (an unsupported environment is reported before all else)
