"""`streamed_documents`: records in; out, each document as one text that is read in pieces and counted meanwhile."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain

from nextword.data.documents import Document
from nextword.text.borders import short_parts


class StreamedDocument:
    """The text of one document in pieces, to be read once; its counts are complete at its end."""

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


def streamed_documents(documents: Iterable[Document]) -> Iterator[StreamedDocument]:
    """Join the pieces of each document; each must be read to its end before the next is requested."""
    coming = iter(documents)
    first = next(coming, None)
    while first is not None:
        following: list[Document] = []
        yield StreamedDocument(first, _continuations(coming, following))
        first = following[0] if following else None


def _continuations(coming: Iterator[Document], following: list[Document]) -> Iterator[Document]:
    """Yield the further pieces of a document; put the document after it into `following`."""
    for document in coming:
        if not document.continues:
            following.append(document)
            return
        yield document
