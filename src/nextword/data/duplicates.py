"""Deduplication of texts: exact copies by a hash, near copies by MinHash and locality-sensitive hashing.

Memory grows with the number of texts kept, not with their length: some 100 bytes each for exact copies, 5 kB for near
ones. The same texts in the same order are kept on every machine.
"""

from __future__ import annotations

import hashlib
import re
import zlib

import numpy as np
import numpy.typing as npt

_SHINGLE_WORDS = 5
_NUM_HASHES = 128
_NUM_BANDS = 16
"""Bands of 8 hashes: two texts that share 80 % of their shingles agree in some band with probability 0.95."""
_LEAST_SIMILARITY = 0.8
"""Estimated Jaccard similarity of shingles from which a text counts as a copy."""
_CHUNK = 4096
"""Shingles hashed at once, which bounds the memory."""


class ExactDuplicates:
    """Set of the texts seen, as hashes of 128 bits."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def is_new(self, text: str) -> bool:
        """Return True the first time that a text is passed."""
        digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
        if digest in self._seen:
            return False
        self._seen.add(digest)
        return True


class NearDuplicates:
    """Set of the texts kept, as MinHash signatures that are looked up by bands of equal hashes."""

    def __init__(self) -> None:
        numbers = np.random.Philox(key=0).random_raw(2 * _NUM_HASHES)
        self._factors, self._terms = numbers[:_NUM_HASHES] | np.uint64(1), numbers[_NUM_HASHES:]
        self._signatures: list[npt.NDArray[np.uint32]] = []
        self._by_band: dict[tuple[int, bytes], list[int]] = {}

    def is_new(self, text: str) -> bool:
        """Return True, and keep the text, if it is similar to none kept before; all texts without words are similar."""
        signature = self._signature(text)
        bands = [(band, part.tobytes()) for band, part in enumerate(np.split(signature, _NUM_BANDS))]
        candidates = {number for band in bands for number in self._by_band.get(band, ())}
        if any(np.mean(self._signatures[number] == signature) >= _LEAST_SIMILARITY for number in candidates):
            return False
        for band in bands:
            self._by_band.setdefault(band, []).append(len(self._signatures))
        self._signatures.append(signature)
        return True

    def _signature(self, text: str) -> npt.NDArray[np.uint32]:
        """Compute the MinHash signature, (hashes,): for each hash function the least hash of any shingle."""
        shingles = _shingles(text)
        least = np.full(_NUM_HASHES, np.iinfo(np.uint64).max, np.uint64)
        for start in range(0, len(shingles), _CHUNK):
            hashes = shingles[start : start + _CHUNK, None] * self._factors + self._terms  # (shingles, hashes)
            least = np.minimum(least, hashes.min(axis=0))
        return (least >> np.uint64(32)).astype(np.uint32)


def _shingles(text: str) -> npt.NDArray[np.uint64]:
    """Hash each group of five successive words, in lower case without punctuation; (shingles,)."""
    words = re.findall(r"\w+", text.lower())
    groups = {" ".join(words[i : i + _SHINGLE_WORDS]) for i in range(max(len(words) - _SHINGLE_WORDS + 1, 1))}
    return np.array(sorted(zlib.crc32(group.encode()) for group in groups), np.uint64)
