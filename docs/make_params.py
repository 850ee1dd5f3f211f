"""Writes docs/params.md from the descriptions in finetide.config: `python docs/make_params.py`. A test compares."""

from __future__ import annotations

from pathlib import Path

from finetide.config.explain import settings

HEADER = """# params.yaml

Every number of a project, under `models.NAME`. There are no defaults in the code: `finetide init` writes every key, and
a missing or unknown one is an error. DVC compares the values, so an edit makes exactly those stages stale that read it.
Written by `docs/make_params.py` from the settings' own descriptions.

| key | type | meaning |
|---|---|---|
"""


def table() -> str:
    rows, phase = [], None
    for one in settings():
        if one.phase != phase:
            phase = one.phase
            also = ", besides those of `tune`" if phase == "adapt" else ""
            rows.append(f"| **`train.phases[]` of kind `{phase}`{also}** | | |")
        rows.append(f"| `{one.key}` | {one.type} | {one.meaning} |")
    return HEADER + "\n".join(rows) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("params.md").write_text(table(), encoding="utf-8")
