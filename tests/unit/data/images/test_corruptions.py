"""What goes wrong with images, each brought about once: caught with its row, its value and a fix."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from finetide.config.images import ImageColumnParams, ImageIngestParams, ImageValidateParams
from finetide.contracts.quality import Finding
from finetide.contracts.rows import Role
from finetide.contracts.window import Window, WindowFile
from finetide.data.images.checks import CHECKS
from finetide.data.images.reading import ingest
from finetide.data.ingest import Ingested
from finetide.data.quality import Asked, Quality
from finetide.data.suites import default_suite
from finetide.errors import DataError
from finetide.files import sha256_file
from support.images import encoded, idx, members, picture, write_zip

COLUMNS = ImageColumnParams(image="image", label="label", split=None, group=None)
INGEST = ImageIngestParams(columns=COLUMNS, encoding="auto")
VALIDATE = ImageValidateParams(
    labels=None, min_rows_per_label=3, min_side=8, near_duplicate_similarity=0.99, max_quarantine_share=0.2
)
SUITE = {"name": "none", "expectations": []}


def read(folder: Path, params: ImageIngestParams = INGEST, **roles: Role) -> Ingested:
    """All files of ``folder``; a file is reference unless its stem is given another role."""
    files = tuple(
        WindowFile(path=path.name, sha256=sha256_file(path), role=roles.get(path.stem, "reference"))
        for path in sorted(folder.iterdir())
    )
    store = folder.parent / "payload.bin"
    return ingest(Window(model="m", start="base", champion=None, files=files), folder, params, store)


def assess(rows: Ingested, params: ImageValidateParams = VALIDATE) -> Quality:
    return CHECKS.assess(rows.rows, Asked(SUITE, params, Path("base"), 32, True))


def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder


def jpeg() -> bytes:
    return encoded(picture("disc", 3), "JPEG")


def film() -> bytes:
    stream = io.BytesIO()
    picture("bar", 1).save(stream, "GIF", save_all=True, append_images=[picture("bar", 2)])
    return stream.getvalue()


# What is put at disc/zz.png → check, what the message says, what the fix says.
BROKEN: dict[str, tuple[Callable[[], bytes], str, str, str]] = {
    "an empty file": (lambda: b"", "image that cannot be used", "disc/zz.png) is empty", "bring the file again"),
    "no image": (lambda: b"hello", "image that cannot be used", "disc/zz.png) is no image", "as one of BMP"),
    "half an image": (lambda: jpeg()[:400], "image that cannot be used", "is truncated", "bring the whole file"),
    "printer's colours": (
        lambda: encoded(picture("disc", 3).convert("CMYK"), "JPEG"), "image that cannot be used", "has mode CMYK",
        "8-bit grey or RGB",
    ),
    "sixteen bits": (
        lambda: encoded(Image.new("I;16", (40, 40))), "image that cannot be used", "has mode I;16", "8-bit grey or RGB"
    ),
    "a bomb": (
        lambda: b"P6\n90000 90000\n255\n" + b"\0" * 99, "image that cannot be used", "more pixels than the 64,000,000",
        "scale it down",
    ),
    "a film": (film, "image that cannot be used", "has 2 frames", "an image of its own"),
    "an icon": (lambda: encoded(picture("disc", 3, 4)), "tiny image", "disc/zz.png), 4 × 4", "in its size"),
    "one colour": (lambda: encoded(Image.new("RGB", (32, 32), "grey")), "empty image", "disc/zz.png", "look at them"),
    "a copy": (lambda: encoded(picture("disc", 0), "BMP"), "duplicate image", "x.zip:22 that of x.zip:13", "delete"),
    "a near copy": (
        lambda: encoded(picture("disc", 0), "JPEG", quality=90), "near-duplicate image", "x.zip:22 like x.zip:13",
        "delete those that show nothing new",
    ),
    "another's image": (
        lambda: encoded(picture("bar", 0)), "conflicting labels", "x.zip:1 'bar', x.zip:22 'disc'", "decide which"
    ),
}  # fmt: skip


def finding(quality: Quality, check: str) -> Finding:
    return next(one for one in quality.verdict.findings if one.check == check)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_image_is_found(name: str, tmp_path: Path) -> None:
    make, check, said, fix = BROKEN[name]
    write_zip(raw(tmp_path) / "x.zip", {**members(12), "disc/zz.png": make()})
    whole = members(12)
    place = sorted([*whole, "disc/zz.png"]).index("disc/zz.png") + 1
    said = said.replace("x.zip:22", f"x.zip:{place}")
    quality = assess(read(tmp_path / "raw"))
    found = finding(quality, check)
    assert said in found.message
    assert fix in found.fix
    assert f"x.zip:{place}" in [row.row_id for row in found.rows]
    assert all(row.file == "x.zip" and row.value for row in found.rows)
    quarantined = check in ("image that cannot be used", "tiny image", "conflicting labels")
    assert (f"x.zip:{place}" in set(quality.quarantine["row_id"])) == quarantined
    assert quality.verdict.verdict == "pass"


def test_whole_images_pass(tmp_path: Path) -> None:
    write_zip(raw(tmp_path) / "x.zip", members(12))
    quality = assess(read(tmp_path / "raw"))
    assert quality.verdict.verdict == "pass"
    assert [one.check for one in quality.verdict.findings] == []
    assert quality.quarantine.empty


def test_the_suite_that_init_writes_passes_whole_images(tmp_path: Path) -> None:
    write_zip(raw(tmp_path) / "x.zip", members(12))
    asked = Asked(default_suite("image-classification"), VALIDATE, Path("base"), 32, True)
    verdict = CHECKS.assess(read(tmp_path / "raw").rows, asked).verdict
    assert len(verdict.checks) > 20
    assert [one.detail for one in verdict.checks if not one.passed] == []


def test_too_many_bad_images_fail(tmp_path: Path) -> None:
    bad = {f"disc/z{place}.png": b"x" for place in range(12)}
    write_zip(raw(tmp_path) / "x.zip", {**members(12), **bad})
    quality = assess(read(tmp_path / "raw"))
    assert quality.verdict.verdict == "fail"
    assert "12 images are unusable" in finding(quality, "image that cannot be used").message
    # No later stage can read them, so they are listed and left out all the same.
    assert "so only the 12 that nothing can read were quarantined" in finding(quality, "quarantine").message
    assert sorted(quality.quarantine["name"]) == sorted(bad)
    assert set(quality.quarantine["reason"]) == {"image that cannot be used"}
    assert quality.quarantine["fix"].str.len().min() > 0
    assert set(quality.clean["name"]).isdisjoint(bad)


def test_too_many_tiny_images_fail_and_stay(tmp_path: Path) -> None:
    tiny = {f"disc/z{place}.png": encoded(picture("disc", place).resize((4, 4))) for place in range(12)}
    write_zip(raw(tmp_path) / "x.zip", {**members(12), **tiny})
    quality = assess(read(tmp_path / "raw"))
    assert quality.verdict.verdict == "fail"
    assert "so none was quarantined" in finding(quality, "quarantine").message
    assert quality.quarantine.empty


LABELLED: dict[str, tuple[dict[str, bytes], dict[str, bytes], str, str, str]] = {
    "a label of few rows": (
        {**members(12), "cross/1.png": encoded(picture("ring", 99))}, {}, "rows a label", "'cross' (1", "bring more"
    ),
    "a label spelled twice": (
        {**members(12), **{f"Disc/{place}.png": encoded(picture("disc", 90 + place)) for place in range(3)}}, {},
        "labels spelled alike", "'Disc' and 'disc'", "spell one label one way",
    ),
    "a label that nobody knows": (
        members(12), {f"discc/{place}.png": encoded(picture("disc", 90 + place)) for place in range(3)},
        "label set", "did you mean 'disc'?", "correct the label",
    ),
    "a mode that gives the label away": (
        {**members(12),
         **{f"line/{place}.png": encoded(picture("bar", 90 + place).convert("L")) for place in range(4)}}, {},
        "grey and colour", "4 images are grey, 36 are in colour; the mode gives away labels", "save all in one mode",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LABELLED)
def test_a_wrong_label_is_found(name: str, tmp_path: Path) -> None:
    reference, incoming, check, said, fix = LABELLED[name]
    write_zip(raw(tmp_path) / "a.zip", reference)
    if incoming:
        write_zip(tmp_path / "raw" / "b.zip", incoming)
    found = finding(assess(read(tmp_path / "raw", b="incoming")), check)
    assert said in found.message
    assert fix in found.fix
    assert found.rows


def npz(**arrays: np.ndarray) -> bytes:  # type: ignore[type-arg]
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def zipped(**files: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def linked() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        info = zipfile.ZipInfo("disc/1.png")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return stream.getvalue()


def parquet(**columns: list[object]) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


IMAGES = np.zeros((3, 8, 8), np.uint8)
ONE = encoded(picture("disc", 1))
# Name of the file, its bytes → what the error says.
REFUSED: dict[str, tuple[dict[str, bytes], tuple[str, ...]]] = {
    "a member that leads out": (
        {"x.zip": zipped(**{"../disc/1.png": ONE})}, ("x.zip", ":\n  ../disc/1.png leads out", "take them out")
    ),
    "an absolute member": ({"x.zip": zipped(**{"/disc/1.png": ONE})}, (":\n  /disc/1.png leads out of the archive",)),
    "a link": ({"x.zip": linked()}, (":\n  disc/1.png is a link", "take them out")),
    "half an archive": ({"x.zip": zipped(**{"disc/1.png": ONE})[:300]}, ("damaged zip file", "download the file")),
    "an empty archive": ({"x.zip": zipped()}, ("holds no image", "a folder a label")),
    "an image without a folder": (
        {"x.zip": zipped(**{"disc/1.png": ONE, "2.png": ONE})}, (":\n  2.png lies in no label's folder", "manifest.csv")
    ),
    "a path with backslashes that leads out": (
        {"x.zip": zipped(**{"disc/1.png": ONE, "..\\evil\\x.png": ONE})}, ("leads out of the archive", "take them out")
    ),
    "a letter among images": (
        {"x.zip": zipped(**{"disc/1.png": ONE, "disc/notes.doc": b"x"})},
        (":\n  disc/notes.doc is no image", "folder named"),
    ),
    "a manifest of images that are not there": (
        {"x.zip": zipped(**{"manifest.csv": b"image,label\na/1.png,disc\na/2.pgn,disc\n", "a/1.png": ONE,
                            "a/2.png": ONE})},
        ("manifest.csv", "line 3: a/2.pgn is not in the archive, did you mean 'a/2.png'?", "correct the paths"),
    ),
    "a manifest that leads out": (
        {"x.zip": zipped(**{"manifest.csv": b"image,label\n../../etc/passwd,disc\n", "a/1.png": ONE})},
        ("line 2: ../../etc/passwd leads out of the archive",),
    ),
    "a manifest without its column": (
        {"x.zip": zipped(**{"manifest.csv": b"imagee,label\na/1.png,disc\n", "a/1.png": ONE})},
        ("has no column 'image' (image), did you mean 'imagee'?", "ingest.columns"),
    ),
    "a header that lies": (
        {"a-images-idx3-ubyte": idx(IMAGES)[:-5]}, ("holds 187 values, its header promises 3 × 8 × 8", "download")
    ),
    "another magic number": ({"a-images-idx3-ubyte": b"\1\2\3\4" * 9}, ("is no IDX file", "01 02 03 04")),
    "labels of another number": (
        {"a-images-idx3-ubyte": idx(IMAGES), "a-labels-idx1-ubyte": idx(np.zeros(2))},
        ("a-labels-idx1-ubyte: has 2 labels, a-images-idx3-ubyte has 3 images", "belong together"),
    ),
    "labels alone": ({"a-labels-idx1-ubyte": idx(np.zeros(2))}, ("the file of their images is not here", "bring a-i")),
    "fractions": (
        {"x.npz": npz(images=IMAGES / 255.0, labels=np.zeros(3, int))}, ("images must be uint8", "float64 [3, 8, 8]")
    ),
    "pickles": (
        {"x.npz": npz(images=IMAGES, labels=np.array(["a", None, {}], object))}, ("pickled objects, which are never",)
    ),
    "too few labels in an NPZ": (
        {"x.npz": npz(images=IMAGES, labels=np.zeros(2, int))}, ("must be one number or word an image", "3 images")
    ),
    "names without bytes": (
        {"x.parquet": parquet(image=["a.png"], label=["disc"])}, ("column 'image' holds no bytes", "as binary")
    ),
    "a table without images": ({"x.csv": b"image,label\n1.png,disc\n"}, ("a manifest comes with its images", "a zip")),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_file_is_refused(name: str, tmp_path: Path) -> None:
    files, said = REFUSED[name]
    for path, data in files.items():
        folder = tmp_path / "raw"
        folder.mkdir(exist_ok=True)
        (folder / path).write_bytes(data)
    with pytest.raises(DataError) as caught:
        read(tmp_path / "raw")
    for part in said:
        assert part in str(caught.value)
    assert caught.value.fix
