"""Add the repository to the path, so that tools find the package if it is not installed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import mmkd_classroom  # noqa: F401  (an unsupported environment is reported before all else)
