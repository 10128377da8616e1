"""Have galaxy-importer examine the tarball of make build, as a Galaxy server does when a collection is published."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "var" / "build"
FINDING = re.compile(r"(ERROR|WARNING|CRITICAL): ")
# All of it on this machine: no containers, no server.
SETTINGS = {
    "RUN_ANSIBLE_DOC": "true",
    "RUN_ANSIBLE_LINT": "true",
    "OFFLINE_ANSIBLE_LINT": "true",
    "RUN_ANSIBLE_TEST": "false",  # in a container; make sanity does that
    "CHECK_CHANGELOG": "true",
    "CHECK_REQUIRED_TAGS": "true",
}


def examine(tarball: Path, scratch: Path) -> tuple[int, str]:
    """Given a tarball and an empty folder, return galaxy-importer's exit code and what it said."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "GALAXY_"))}
    environment |= {f"GALAXY_IMPORTER_{name}": value for name, value in SETTINGS.items()}
    environment |= {
        "GALAXY_IMPORTER_TMP_ROOT_DIR": str(scratch),
        "GALAXY_IMPORTER_ANSIBLE_LOCAL_TMP": str(scratch / "ansible"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        [sys.executable, "-m", "galaxy_importer.main", str(tarball)],
        cwd=scratch,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def main() -> int:
    """Examine the tarball, print what was found, and return the exit code."""
    tarballs = list(OUTPUT.glob("altbackup-core-*.tar.gz"))
    if len(tarballs) != 1:
        print(
            f"importer: {len(tarballs)} tarballs in {OUTPUT.relative_to(ROOT)}: run make build first", file=sys.stderr
        )
        return 1
    with tempfile.TemporaryDirectory(prefix="importer-", dir=OUTPUT) as scratch:
        code, said = examine(tarballs[0], Path(scratch))
    findings = [line for line in said.splitlines() if FINDING.match(line)]
    if code or findings or "Importer processing completed successfully" not in said:
        print(said)
        print(f"importer: exit code {code}, {len(findings)} findings", file=sys.stderr)
        return 1
    print(f"importer: {tarballs[0].name} imports without error or warning")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
