"""Near duplicates: pairs of texts whose sets of character 5-grams overlap, found without comparing all with all.

MinHash signatures cut into bands (Broder, "On the resemblance and containment of documents", SEQUENCES 1997; banding
as in Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", section 3.4) propose pairs. Those that an upper bound
from bitmaps of the two sets cannot rule out (Sandes, Teodoro, Melo, "Bitmap filter: speeding up exact set similarity
joins", Information Systems 88, 2020) are checked by their exact Jaccard similarity. The bands are looked at one after
the other; the signatures of many texts wait in a temporary file. Whether a pair is proposed depends
on its two texts, and in a crowded band on older texts, never on younger ones: what is found today is found again when
the data has grown.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from scipy import sparse

from finetide.data.progress import bar
from finetide.seeding import generator

Array = np.ndarray[Any, np.dtype[Any]]

GRAM = 5
# A pair of exactly the threshold is missed with at most this probability; a more similar one far less often.
MISS = 1e-4
MAX_HASHES = 256
MAX_BAND = 8
# From this place in a bucket on, a text is compared with the oldest and the last few before it only; all texts of one
# template would be quadratic otherwise.
CROWD = 24
FEW = 2
# So little at a time that it stays in the processor's cache; the sets of grams are made twice rather than kept.
CHUNK_CHARACTERS = 1 << 17
CHUNK_TEXTS = 1 << 10
CHUNK_PAIRS = 1 << 11
CHUNK_BOUNDS = 1 << 16
# With twice as many, 3,055 pairs of 200,000 short texts are compared, and with these 7,788: not worth the memory.
BITMAP_BITS = 256
# From so many bytes on, signatures are on disk.
SPILL = 1 << 22


@dataclass(frozen=True)
class NearPairs:
    """``older`` < ``newer``: positions in the texts, int64; ``similarity``: Jaccard, float64. One entry a pair."""

    older: Array
    newer: Array
    similarity: Array

    def __len__(self) -> int:
        return len(self.older)


def near_pairs(texts: Sequence[str], threshold: float) -> NearPairs:
    """Pairs with a Jaccard similarity of at least ``threshold``.

    Args:
        texts: normalised (`data.text.normalise`), each one once, oldest first; a list or an array of pandas.
        threshold: 0 to 1; a text of fewer than five characters is one gram.
    """
    if len(texts) < 2:
        return _pairs([], [], [])
    with tempfile.SpooledTemporaryFile(max_size=SPILL) as keys:
        sketches = _sketches(texts, keys, *_banding(threshold))
        found = _candidates(sketches, threshold)
    del sketches
    return _verified(texts, found, threshold)


@dataclass(frozen=True)
class _Sketches:
    """``keys``: [bands, texts] 64-bit, in a file, equal where the smallest hashes of the band are equal; ``sizes``:
    grams of each text; ``bitmaps``: [texts, BITMAP_BITS / 64], the bits that a text's grams hash to."""

    keys: IO[bytes]
    bands: int
    sizes: Array
    bitmaps: Array

    def write(self, start: int, keys: Array) -> None:
        """Args: keys: [bands, some texts], those from ``start`` on."""
        for at, band in enumerate(keys):
            self.keys.seek(8 * (at * len(self.sizes) + start))
            self.keys.write(band.tobytes())

    def band(self, at: int) -> Array:
        self.keys.seek(8 * at * len(self.sizes))
        return np.frombuffer(self.keys.read(8 * len(self.sizes)), np.uint64)

    def bound(self, older: Array, newer: Array) -> Array:
        """An upper bound of each pair's Jaccard similarity: what sets one bitmap only is in one set only."""
        apart = np.bitwise_count(self.bitmaps[older] ^ self.bitmaps[newer]).sum(axis=1, dtype=np.int64)
        both = self.sizes[older].astype(np.int64) + self.sizes[newer]
        shared = np.minimum((both - apart) // 2, np.minimum(self.sizes[older], self.sizes[newer]))
        bound: Array = shared / (both - shared)
        return bound


def _banding(threshold: float) -> tuple[int, int]:
    """(bands, hashes a band): the most selective bands that keep the promise of `MISS`."""
    for size in range(MAX_BAND, 1, -1):
        hit = threshold**size
        bands = MAX_HASHES if hit <= 0 else 1 if hit >= 1 else int(np.ceil(np.log(MISS) / np.log1p(-hit)))
        if bands * size <= MAX_HASHES // 2:
            return bands, size
    return MAX_HASHES, 1


def _sketches(texts: Sequence[str], keys: IO[bytes], bands: int, size: int) -> _Sketches:
    count = len(texts)
    made = _Sketches(keys, bands, np.zeros(count, np.int32), np.zeros((count, BITMAP_BITS // 64), np.uint64))
    # The same hash functions for all data and every seed: pairs must not come and go.
    numbers = generator(0, "near-duplicates").integers(0, 2**63, size=(bands * size, 2), dtype=np.uint64)
    with bar("near duplicates", count, "text") as progress:
        for start, stop, some in _chunks(texts):
            counts, grams = _chunk_grams(some)
            made.sizes[start:stop] = counts
            values = _mix(grams.astype(np.uint64))
            made.bitmaps[start:stop] = _bitmaps(counts, values)
            made.write(start, _signed(values, np.cumsum(counts) - counts, numbers, size))
            progress.update(stop - start)
    return made


def _bitmaps(counts: Array, values: Array) -> Array:
    """Hashes of the grams text by text → the bits they set, [texts, words]."""
    bits = np.zeros((len(counts), BITMAP_BITS), np.uint8)
    bits[np.repeat(np.arange(len(counts)), counts), values & np.uint64(BITMAP_BITS - 1)] = 1
    words: Array = np.packbits(bits, axis=1).view(np.uint64)
    return words


def _signed(values: Array, offsets: Array, numbers: Array, size: int) -> Array:
    """[bands, texts of the chunk] keys."""
    keys = np.zeros((len(numbers) // size, len(offsets)), np.uint64)
    hashed = np.empty_like(values)
    for index, (factor, addend) in enumerate(numbers):
        np.multiply(values, (factor << np.uint64(1)) | np.uint64(1), out=hashed)
        np.add(hashed, addend, out=hashed)
        # The smallest of the upper halves is the upper half of the smallest.
        smallest = np.minimum.reduceat(hashed, offsets) >> np.uint64(32)
        keys[index // size] = _mix(keys[index // size] ^ smallest)
    return keys


def _chunks(texts: Any) -> Iterator[tuple[int, int, list[str]]]:
    """(first, end, texts between), so many texts together that they have about CHUNK_CHARACTERS."""
    start, held, size = 0, [], 0
    for block in range(0, len(texts), CHUNK_TEXTS):
        # A slice of a pandas array becomes Python strings only here.
        for text in list(texts[block : block + CHUNK_TEXTS]):
            held.append(text)
            size += len(text)
            if size >= CHUNK_CHARACTERS:
                yield start, start + len(held), held
                start, held, size = start + len(held), [], 0
    if held:
        yield start, start + len(held), held


def _chunk_grams(texts: Sequence[str]) -> tuple[Array, Array]:
    """(number of distinct grams a text, all grams text by text in ascending order)."""
    padded = [text.ljust(GRAM, "\0") for text in texts]
    characters = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    lengths = np.fromiter(map(len, padded), np.int64, len(padded))
    hashes = np.zeros(len(characters) - GRAM + 1, np.uint64)
    for place in range(GRAM):
        hashes = _mix(hashes ^ characters[place : len(characters) - GRAM + 1 + place])
    # A window that starts in the last four characters of a text would reach into the next text.
    owner = np.repeat(np.arange(len(padded), dtype=np.uint64), lengths)[: len(hashes)]
    ends = np.repeat(np.cumsum(lengths), lengths)[: len(hashes)]
    inside = np.arange(len(hashes)) + GRAM <= ends
    column = (hashes[inside] >> np.uint64(33)) % np.uint64(2**31 - 1)
    keys = _distinct((owner[inside] << np.uint64(31)) | column)
    return np.bincount((keys >> np.uint64(31)).astype(np.int64), minlength=len(texts)), (
        keys & np.uint64(2**31 - 1)
    ).astype(np.int32)


def _distinct(values: Array) -> Array:
    """Ascending, each once. np.unique hashes; on keys as regular as ours that takes ten times as long as sorting."""
    ordered: Array = np.sort(values)
    first = np.ones(len(ordered), bool)
    first[1:] = ordered[1:] != ordered[:-1]
    kept: Array = ordered[first]
    return kept


def _mix(values: Array) -> Array:
    """The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): every bit depends on every bit."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Array = values ^ (values >> np.uint64(31))
    return mixed


def _candidates(sketches: _Sketches, threshold: float) -> Array:
    """Pairs that share a bucket in some band and may be near, as ``older * texts + newer``, ascending, each once."""
    count = len(sketches.sizes)
    found = np.empty(0, np.int64)
    with bar("near duplicates: pairs", sketches.bands, "band") as progress:
        for at in range(sketches.bands):
            kept = [
                older[possible] * count + newer[possible]
                for older, newer in _same_bucket(sketches.band(at))
                if (possible := sketches.bound(older, newer) >= threshold).any()
            ]
            found = _distinct(np.concatenate([found, *kept]))
            progress.update(1)
    return found


def _same_bucket(band: Array) -> Iterator[tuple[Array, Array]]:
    """(older, newer) texts of one bucket of a band, at most CHUNK_BOUNDS at a time, int64."""
    # The sort is stable: inside a bucket the oldest text comes first.
    order = np.argsort(band, kind="stable").astype(np.int32)
    first = np.ones(len(band), bool)
    for start in range(1, len(band), CHUNK_BOUNDS):
        some = band[order[start - 1 : start + CHUNK_BOUNDS]]
        first[start : start + CHUNK_BOUNDS] = some[1:] != some[:-1]
    # A text alone in its bucket has no pair.
    shared = ~first
    shared[:-1] |= ~first[1:]
    order, first = order[shared], first[shared]
    starts = np.flatnonzero(first).astype(np.int32)
    sizes = np.diff(np.append(starts, len(order)))
    begins = np.repeat(starts, sizes)
    place = np.arange(len(order), dtype=np.int32) - begins
    for start in range(0, len(order), CHUNK_BOUNDS):
        here = place[start : start + CHUNK_BOUNDS]
        for back in range(1, min(CROWD, int(here.max()) + 1)):
            newer = start + np.flatnonzero((here >= back) & ((here < CROWD) | (back <= FEW)))
            yield order[newer - back].astype(np.int64), order[newer].astype(np.int64)
        crowded = start + np.flatnonzero(here >= CROWD)
        for old in range(FEW if len(crowded) else 0):
            yield order[begins[crowded] + old].astype(np.int64), order[crowded].astype(np.int64)


def _verified(texts: Sequence[str], candidates: Array, threshold: float) -> NearPairs:
    older, newer = candidates // len(texts), candidates % len(texts)
    similarity = np.empty(len(older))
    with bar("near duplicates: compared", len(older), "pair") as progress:
        for start in range(0, len(older), CHUNK_PAIRS):
            part = slice(start, start + CHUNK_PAIRS)
            similarity[part] = _jaccard(texts, older[part], newer[part])
            progress.update(len(older[part]))
    near = similarity >= threshold
    return _pairs(older[near], newer[near], similarity[near])


def _jaccard(texts: Sequence[str], older: Array, newer: Array) -> Array:
    used, places = np.unique(np.concatenate([older, newer]), return_inverse=True)
    chosen = [texts[at] for at in used.tolist()]
    made = [_chunk_grams(some) for _, _, some in _chunks(chosen)]
    sizes = np.concatenate([counts for counts, _ in made])
    columns = np.concatenate([grams for _, grams in made])
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    # One row a text, one column a gram (31 bits of its hash), a 1 where the text has it.
    grams = sparse.csr_array((np.ones(len(columns), np.int32), columns, offsets), shape=(len(used), 2**31 - 1))
    one, other = places[: len(older)], places[len(older) :]
    shared = grams[one].multiply(grams[other]).sum(axis=1)
    similarity: Array = shared / (sizes[one] + sizes[other] - shared)
    return similarity


def _pairs(older: Any, newer: Any, similarity: Any) -> NearPairs:
    return NearPairs(np.asarray(older, np.int64), np.asarray(newer, np.int64), np.asarray(similarity, np.float64))
