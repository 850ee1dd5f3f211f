"""Packs a bundle: everything in place first, the manifest over it last."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path

from finetide.contracts.bundle import INFO_FILE, MANIFEST_FILE, BundleInfo, Examples, Manifest
from finetide.files import tree_hashes, write_text

_FLAGS = ("amx_int8", "amx_bf16", "avx512_bf16", "avx512_vnni", "avx512f", "avx2")


def pack(folder: Path, *, info: BundleInfo, examples: Examples, card: str, lineage: Mapping[str, str]) -> None:
    """Complete ``folder``, which holds the ONNX files and the preprocessing, to a bundle."""
    info.write(folder / INFO_FILE)
    examples.write(folder / "examples.json")
    write_text(folder / "card.md", card)
    Manifest(files=tree_hashes(folder), lineage=dict(lineage)).write(folder / MANIFEST_FILE)


def machine_kind() -> str:
    """What bytes may depend on: architecture and vector units, no name of any machine."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        flags = []
    return " ".join([platform.machine(), *(flag for flag in _FLAGS if flag in flags)])
