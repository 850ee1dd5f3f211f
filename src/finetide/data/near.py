"""Near duplicates: pairs of texts whose sets of character 5-grams overlap, found without comparing all with all.

MinHash signatures cut into bands (Broder, "On the resemblance and containment of documents", SEQUENCES 1997; banding
as in Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", section 3.4) propose pairs; each is then checked by
its exact Jaccard similarity. Whether a pair is proposed depends on its two texts, and in a crowded band on older
texts, never on younger ones: what is found today is found again when the data has grown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

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
CHUNK_CHARACTERS = 1 << 21
CHUNK_PAIRS = 1 << 14


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
        texts: normalised (`data.text.normalise`), each one once, oldest first.
        threshold: 0 to 1; a text of fewer than five characters is one gram.
    """
    if len(texts) < 2:
        return _pairs([], [], [])
    grams = _grams(texts)
    candidates = _candidates(_signatures(grams, *_banding(threshold)))
    return _verified(grams, candidates, threshold)


def _banding(threshold: float) -> tuple[int, int]:
    """(bands, hashes a band): the most selective bands that keep the promise of `MISS`."""
    for size in range(MAX_BAND, 1, -1):
        hit = threshold**size
        bands = MAX_HASHES if hit <= 0 else 1 if hit >= 1 else int(np.ceil(np.log(MISS) / np.log1p(-hit)))
        if bands * size <= MAX_HASHES // 2:
            return bands, size
    return MAX_HASHES, 1


def _grams(texts: Sequence[str]) -> sparse.csr_array:
    """One row a text, one column a gram (31 bits of its hash), a 1 where the text has it."""
    parts = [_chunk_grams(texts[start:stop]) for start, stop in _chunks(texts)]
    counts = np.concatenate([count for count, _ in parts])
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    columns = np.concatenate([column for _, column in parts])
    return sparse.csr_array((np.ones(len(columns), np.int32), columns, offsets), shape=(len(texts), 2**31 - 1))


def _chunks(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    start = size = 0
    for at, text in enumerate(texts):
        size += len(text)
        if size >= CHUNK_CHARACTERS:
            yield start, at + 1
            start, size = at + 1, 0
    if start < len(texts):
        yield start, len(texts)


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


def _signatures(grams: sparse.csr_array, bands: int, size: int) -> Array:
    """One 64-bit key a band and text, shape [bands, texts]: equal where the smallest hashes of the band are equal."""
    count = grams.shape[0]
    keys = np.zeros((bands, count), np.uint64)
    # The same hash functions for all data and every seed: pairs must not come and go.
    numbers = generator(0, "near-duplicates").integers(0, 2**63, size=(bands * size, 2), dtype=np.uint64)
    step = max(1, int(count * (1 << 20) / max(1, grams.nnz)))
    for start in range(0, count, step):
        stop = min(start + step, count)
        low, high = grams.indptr[start], grams.indptr[stop]
        values = _mix(grams.indices[low:high].astype(np.uint64))
        offsets = (grams.indptr[start:stop] - low).astype(np.int64)
        for index, (factor, addend) in enumerate(numbers):
            hashed = (values * ((factor << np.uint64(1)) | np.uint64(1)) + addend) >> np.uint64(32)
            smallest = np.minimum.reduceat(hashed, offsets)
            row = keys[index // size, start:stop]
            row[:] = _mix(row ^ smallest)
    return keys


def _candidates(keys: Array) -> Array:
    """Pairs that share a bucket in some band, as ``older * texts + newer``, ascending, each once."""
    count = keys.shape[1]
    found = np.empty(0, np.int64)
    for band in keys:
        order = np.argsort(band, kind="stable")
        ordered = band[order]
        starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        sizes = np.diff(np.append(starts, count))
        # The sort is stable: inside a bucket the oldest text comes first.
        first = np.repeat(starts, sizes)
        place = np.arange(count) - first
        fresh = [found]
        for back in range(1, min(CROWD, int(sizes.max()))):
            newer = np.flatnonzero((place >= back) & ((place < CROWD) | (back <= FEW)))
            fresh.append(order[newer - back] * count + order[newer])
        crowded = np.flatnonzero(place >= CROWD)
        fresh += [order[first[crowded] + old] * count + order[crowded] for old in range(FEW)]
        found = _distinct(np.concatenate(fresh))
    return found


def _verified(grams: sparse.csr_array, candidates: Array, threshold: float) -> NearPairs:
    count = grams.shape[0]
    sizes = np.diff(grams.indptr)
    older, newer = candidates // count, candidates % count
    # The Jaccard similarity of two sets is at most the ratio of their sizes.
    small, large = np.minimum(sizes[older], sizes[newer]), np.maximum(sizes[older], sizes[newer])
    possible = small >= threshold * large
    older, newer = older[possible], newer[possible]
    similarity = np.empty(len(older))
    for start in range(0, len(older), CHUNK_PAIRS):
        part = slice(start, start + CHUNK_PAIRS)
        shared = grams[older[part]].multiply(grams[newer[part]]).sum(axis=1)
        similarity[part] = shared / (sizes[older[part]] + sizes[newer[part]] - shared)
    near = similarity >= threshold
    return _pairs(older[near], newer[near], similarity[near])


def _pairs(older: Any, newer: Any, similarity: Any) -> NearPairs:
    return NearPairs(np.asarray(older, np.int64), np.asarray(newer, np.int64), np.asarray(similarity, np.float64))
