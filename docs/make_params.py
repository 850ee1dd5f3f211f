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

FOOTER = """
## Labels that are numbers

Zero-shot, a baseline, compares each text with the name of every label. Where labels are `0` and `1` that says nothing:
describe them. A key that is no label is refused, with the labels there are.

```yaml
models:
  sst2:
    evaluate:
      label_descriptions:
        "0": a bad review, the film is boring
        "1": a good review, the film is a pleasure
```

`finetide explain KEY`, inside a project, adds each model's present value and the stages that read it.
"""


def table() -> str:
    rows, phase, task = [], None, None
    for one in settings():
        if one.task != task:
            task = one.task
            rows.append(f"| **of task `{task}`, instead of those of the same name** | | |")
        if one.task is None and one.phase != phase:
            phase = one.phase
            also = ", besides those of `tune`" if phase == "adapt" else ""
            rows.append(f"| **`train.phases[]` of kind `{phase}`{also}** | | |")
        rows.append(f"| `{one.key}` | {one.type} | {one.meaning} |")
    return HEADER + "\n".join(rows) + "\n" + FOOTER


if __name__ == "__main__":
    Path(__file__).with_name("params.md").write_text(table(), encoding="utf-8")
