"""What all tests share: the collection of this checkout can be imported as it is installed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

COLLECTIONS = str(Path(__file__).resolve().parents[1] / ".collections")

# No run of a test mails anybody, but those that say to whom.
os.environ["ALTBACKUP_MAIL_TO"] = "none"

if COLLECTIONS not in sys.path:
    sys.path.insert(0, COLLECTIONS)
