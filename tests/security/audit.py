"""`make audit`: pip-audit over constraints.txt. Exit 1 for a known vulnerability, 0 for none or for no way to know."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PINS = Path(__file__).parents[2] / "constraints.txt"
COMMAND = ["-m", "pip_audit", "--requirement", str(PINS), "--no-deps", "--disable-pip", "--format", "json"]
SECONDS = 300


def judge(document: dict[str, Any]) -> tuple[list[str], int, int]:
    """The vulnerabilities, one line each; how many pins were looked up; how many there are."""
    pins = document["dependencies"]
    known = [pin for pin in pins if "skip_reason" not in pin]
    lines = [
        f"{pin['name']} {pin['version']}: {found['id']}, fixed in {', '.join(found['fix_versions']) or 'none yet'}"
        for pin in known
        for found in pin["vulns"]
    ]
    return lines, len(known), len(pins)


def main() -> int:
    try:
        done = subprocess.run(
            [sys.executable, *COMMAND, "--progress-spinner", "off", "--timeout", "15"],
            capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        document = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError) as error:
        print(f"audit: skipped, the advisories cannot be reached ({type(error).__name__})")
        return 0
    lines, known, pins = judge(document)
    for line in lines:
        print(line)
    print(f"audit: {len(lines)} vulnerabilities; {known} of {pins} pins are known to the advisories")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
