"""Every kind of file, and back to the bytes that it held."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finetide.config.images import ImageColumnParams, ImageIngestParams
from finetide.contracts.window import Window, WindowFile
from finetide.data.images.pack import packed
from finetide.data.images.reading import examine, ingest
from finetide.data.ingest import Ingested
from finetide.data.payload import FIRST_LINE, Store
from finetide.errors import DataError, IntegrityError, ProjectError
from finetide.files import sha256_file
from finetide.images import decode
from support.images import LABELS, encoded, idx, members, picture, write_folder, write_zip
from support.shared import shared_data

COLUMNS = ImageColumnParams(image="image", label="label", split=None, group=None)
INGEST = ImageIngestParams(columns=COLUMNS, encoding="auto")
WITH_ALL = ImageIngestParams(
    columns=ImageColumnParams(image="image", label="label", split="side", group="patient"), encoding="auto"
)


def read(paths: list[Path], params: ImageIngestParams = INGEST) -> Ingested:
    files = tuple(WindowFile(path=path.name, sha256=sha256_file(path), role="reference") for path in paths)
    window = Window(model="m", start="base", champion=None, files=files)
    return ingest(window, paths[0].parent, params, paths[0].parent / "payload.bin")


def stored(found: Ingested, folder: Path) -> list[bytes]:
    store = Store(folder / "payload.bin")
    return [store.read(start, size) for start, size in zip(found.rows["start"], found.rows["size"], strict=True)]


def test_a_folder_a_class(tmp_path: Path) -> None:
    files = members(4)
    path = packed(write_folder(tmp_path / "shapes", files), tmp_path)
    found = read([path])
    assert path.name == "shapes.zip"
    assert found.files == {"shapes.zip": 12}
    assert found.rows["name"].tolist() == sorted(files)
    assert found.rows["row_id"].tolist() == [f"shapes.zip:{place + 1}" for place in range(12)]
    assert found.rows["label"].tolist() == [name.split("/")[0] for name in sorted(files)]
    assert stored(found, tmp_path) == [files[name] for name in sorted(files)]
    again = tmp_path / "again"
    again.mkdir()
    assert packed(tmp_path / "shapes", again).read_bytes() == path.read_bytes()


def test_folders_of_splits_and_a_folder_around_all(tmp_path: Path) -> None:
    files = {f"data/{side}/{name}": data for side in ("train", "val", "test") for name, data in members(2).items()}
    found = read([write_zip(tmp_path / "x.zip", {**files, "data/README.md": b"hi", "__MACOSX/x": b""})])
    assert set(found.rows["label"]) == set(LABELS)
    assert found.rows["split"].value_counts().to_dict() == {"train": 6, "validation": 6, "test": 6}


def test_a_manifest_with_splits_and_groups(tmp_path: Path) -> None:
    write_folder(tmp_path / "set", {"a/1.png": encoded(picture("disc", 1)), "2.png": encoded(picture("bar", 1))})
    manifest = tmp_path / "set" / "list.csv"
    manifest.write_text("image,label,side,patient\na/1.png,disc,train,p1\n2.png,,,p2\n")
    found = read([packed(manifest, tmp_path)], WITH_ALL)
    assert found.rows["row_id"].tolist() == ["list.zip:2", "list.zip:3"]
    assert found.rows["label"].isna().tolist() == [False, True]
    assert found.rows["group"].tolist() == ["p1", "p2"]
    assert found.rows["split"].iloc[0] == "train"


def test_links_and_paths_that_lead_out_are_not_packed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(encoded(picture("disc", 1)))
    folder = write_folder(tmp_path / "set", members(1))
    (folder / "disc" / "link.png").symlink_to(secret)
    with pytest.raises(DataError, match=r"disc/link.png is a link that leads out of the folder"):
        packed(folder, tmp_path)
    (folder / "list.csv").write_text("image,label\n../secret.png,disc\ndisc/link.png,disc\nno.png,disc\n")
    with pytest.raises(DataError) as caught:
        packed(folder / "list.csv", tmp_path)
    for said in ("line 2: ../secret.png leads out", "line 3: disc/link.png leads out", "line 4: no.png is not there"):
        assert said in str(caught.value)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_mnist(tmp_path: Path, ending: str) -> None:
    images = np.random.default_rng(1).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    labels = np.array([3, 1, 4, 1, 5], np.uint8)
    pack = gzip.compress if ending else bytes
    one, other = tmp_path / f"t-images-idx3-ubyte{ending}", tmp_path / f"t-labels-idx1-ubyte{ending}"
    one.write_bytes(pack(idx(images)))
    other.write_bytes(pack(idx(labels)))
    found = read([one, other])
    assert found.rows["label"].tolist() == ["3", "1", "4", "1", "5"]
    for wanted, data in zip(images, stored(found, tmp_path), strict=True):
        assert np.array_equal(np.asarray(decode(data)), wanted)
    assert read([one]).rows["label"].isna().all()


def test_npz_as_medmnist_writes_it(tmp_path: Path) -> None:
    chance = np.random.default_rng(1)
    arrays = {}
    for side, count in (("train", 4), ("val", 2), ("test", 3)):
        arrays[f"{side}_images"] = chance.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
        arrays[f"{side}_labels"] = chance.integers(0, 2, (count, 1), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", **arrays)
    found = read([tmp_path / "x.npz"])
    assert found.rows["split"].tolist() == ["train"] * 4 + ["validation"] * 2 + ["test"] * 3
    assert found.rows["label"].tolist()[:4] == [str(one) for one in arrays["train_labels"].ravel()]
    assert np.array_equal(np.asarray(decode(stored(found, tmp_path)[4])), arrays["val_images"][0])


@pytest.mark.parametrize("as_struct", [False, True])
def test_parquet(tmp_path: Path, as_struct: bool) -> None:
    data = [encoded(picture(label, 1)) for label in LABELS]
    cells = [{"bytes": one, "path": f"{place}.png"} for place, one in enumerate(data)] if as_struct else data
    pq.write_table(pa.table({"image": cells, "label": [0, 1, None], "side": ["train", None, "dev"],
                             "patient": [7, 7, 8]}), tmp_path / "x.parquet")  # fmt: skip
    found = read([tmp_path / "x.parquet"], WITH_ALL)
    assert stored(found, tmp_path) == data
    assert found.rows["label"].astype(object).where(found.rows["label"].notna(), None).tolist() == ["0", "1", None]
    assert found.rows["group"].tolist() == ["7", "7", "8"]
    assert found.rows["split"].iloc[2] == "validation"
    assert found.rows["name"].iloc[0] == ("0.png" if as_struct else "row 1")


def test_late_labels_join_by_row(tmp_path: Path) -> None:
    stream = io.BytesIO()
    pq.write_table(pa.table({"image": [encoded(picture(label, 1)) for label in LABELS]}), stream)
    (tmp_path / "x.parquet").write_bytes(stream.getvalue())
    (tmp_path / "y.csv").write_text("row_id,label\nx.parquet:2,disc\n")
    found = read([tmp_path / "x.parquet", tmp_path / "y.csv"])
    assert found.rows["label"].notna().tolist() == [False, True, False]


def test_equal_images_are_stored_once_and_bytes_are_equal_every_time(tmp_path: Path) -> None:
    data = encoded(picture("disc", 1))
    path = write_zip(tmp_path / "x.zip", {f"disc/{place}.png": data for place in range(5)})
    found = read([path])
    assert (tmp_path / "payload.bin").read_bytes() == FIRST_LINE + data
    assert set(found.rows["start"]) == {len(FIRST_LINE)}
    (tmp_path / "payload.bin").write_bytes(bytes(len(FIRST_LINE)) + data)
    with pytest.raises(IntegrityError, match=r"payload\.bin: is no store"):
        stored(found, tmp_path)


def test_without_a_place_for_images_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"dvc.yaml: stage ingest has no output payload.bin"):
        ingest(Window(model="m", start="base", champion=None, files=()), tmp_path, INGEST, None)


def test_a_word_that_names_no_split(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [encoded(picture("bar", 1))], "label": ["a"], "side": ["holdout"],
                             "patient": ["p"]}), tmp_path / "x.parquet")  # fmt: skip
    with pytest.raises(DataError, match=r"x.parquet, line 1: names no split \(found 'holdout'\)"):
        read([tmp_path / "x.parquet"], WITH_ALL)


def test_what_is_about_to_come_in_is_looked_at(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {"disc/1.png": b"x", **members(1)})
    assert examine(path, "x.zip", INGEST).told == ("x.zip: 1 images cannot be used; validate says which, and why",)


DIG = ["target_dig-images-idx3-ubyte.gz", "target_dig-labels-idx1-ubyte.gz"]


@pytest.mark.parametrize(
    ("folder", "names", "rows", "labels"),
    [
        (
            "kannada_mnist_to_dig_mnist",
            DIG,
            10240,
            10,
        ),
        ("pneumoniamnist", ["pneumoniamnist.npz"], 5030, 2),
        ("pacs_photo_to_cartoon", ["source_photo.zip"], 350, 7),
        ("cifar10_subset", ["test.zip"], 1000, 10),
    ],
)
@pytest.mark.slow
def test_public_data(folder: str, names: list[str], rows: int, labels: int, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in names]
    for path in paths:
        path.write_bytes(shared_data("image_cls", folder, path.name).read_bytes())
    found = read(paths)
    assert len(found.rows) == rows
    assert found.rows["label"].nunique() == labels
    assert found.rows["fault"].isna().all()
