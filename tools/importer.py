"""Check the tarball of make build with galaxy-importer, as a Galaxy server does on publication."""

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
# It warns of each such file. They are published, as ansible-test on the tarball needs them; each of their lines has its reason.
EXPECTED = re.compile(r"WARNING: Ignore files skip ansible-test sanity tests, found ignore-")
# Everything runs on this machine: no containers, no server.
SETTINGS = {
    "RUN_ANSIBLE_DOC": "true",
    "RUN_ANSIBLE_LINT": "true",
    "OFFLINE_ANSIBLE_LINT": "true",
    "RUN_ANSIBLE_TEST": "false",  # it would run in a container; make sanity runs it
    "CHECK_CHANGELOG": "true",
    "CHECK_REQUIRED_TAGS": "true",
}


def examine(tarball: Path, scratch: Path) -> tuple[int, str]:
    """Return galaxy-importer's exit code and output for a tarball; `scratch` is an empty folder."""
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
    """Check the tarball and print the findings; return the exit code."""
    tarballs = list(OUTPUT.glob("altbackup-core-*.tar.gz"))
    if len(tarballs) != 1:
        print(
            f"importer: {len(tarballs)} tarballs in {OUTPUT.relative_to(ROOT)}: run make build first", file=sys.stderr
        )
        return 1
    with tempfile.TemporaryDirectory(prefix="importer-", dir=OUTPUT) as scratch:
        code, output = examine(tarballs[0], Path(scratch))
    findings = [line for line in output.splitlines() if FINDING.match(line) and not EXPECTED.match(line)]
    if code or findings or "Importer processing completed successfully" not in output:
        print(output)
        print(f"importer: exit code {code}, {len(findings)} findings", file=sys.stderr)
        return 1
    print(f"importer: {tarballs[0].name} imports without error, and no warning but of tests/sanity/ignore-*.txt")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
