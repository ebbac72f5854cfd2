"""`texts`: documents in, each as one text out that is read piece by piece, and counted meanwhile."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain

from nextword.data.documents import Document
from nextword.text.encode_pieces import short_parts


class Text:
    """The pieces of one document, to be read once; what they add up to is known at their end."""

    def __init__(self, first: Document, others: Iterator[Document]) -> None:
        self.place = first.place
        self.num_bytes = 0
        self.num_words = 1
        """One more than there are runs of spaces, as lm-eval counts them, empty words at the ends included."""
        self._pieces = chain([first], others)
        self._ends_in_space = False

    def __iter__(self) -> Iterator[str]:
        for part in short_parts(piece.text for piece in self._pieces):
            self.num_bytes += len(part.encode())
            goes_on = self._ends_in_space and part[0].isspace()
            self.num_words += len(re.findall(r"\s+", part)) - int(goes_on)
            self._ends_in_space = part[-1].isspace()
            yield part


def texts(documents: Iterable[Document]) -> Iterator[Text]:
    """A text for each document; it has to be read to its end before the next one is asked for."""
    coming = iter(documents)
    first = next(coming, None)
    while first is not None:
        following: list[Document] = []
        yield Text(first, _continuations(coming, following))
        first = following[0] if following else None


def _continuations(coming: Iterator[Document], following: list[Document]) -> Iterator[Document]:
    """The further pieces of a document; the one after them is put into `following`."""
    for document in coming:
        if not document.continues:
            following.append(document)
            return
        yield document
