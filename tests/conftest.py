"""What all tests share: the collection of this checkout can be imported as it is installed."""

from __future__ import annotations

import sys
from pathlib import Path

COLLECTIONS = str(Path(__file__).resolve().parents[1] / ".collections")

if COLLECTIONS not in sys.path:
    sys.path.insert(0, COLLECTIONS)
