"""`Lookup`: drafts from a known text. Where the last tokens of a sequence occur in it, the tokens that follow there.

The known text is the sequence itself (prompt lookup, Saxena 2023: answers quote, edits repeat), or a prediction of the
completion that the caller has. It needs no model and almost no time.
"""

from __future__ import annotations

from collections.abc import Sequence

from nextword.inference.drafts import MOST_AGREED, MOST_DRAFTED, NOTHING, Outlook

_SIZES = (8, 3)
"""Numbers of last tokens that are looked up, the most telling first."""
_LONGEST_SHIFT = 4
"""Tokens by which the known text may be shifted after a difference, such as a longer word in place of a shorter one."""
_MOST_MISSED = 4
"""Tokens in a row that may differ before the place is left."""


class Lookup:
    """Follows a place in the known text, and finds another where the sequence leaves it. A `DraftSource`."""

    def __init__(self, known: Sequence[int], *, is_prediction: bool) -> None:
        """Start with a prompt, which grows as the sequence does, or with a prediction of what follows the prompt."""
        self._known = list(known)
        self._is_prediction = is_prediction
        self._recent: list[int] = [] if is_prediction else self._known[-MOST_AGREED:]
        self._place = 0 if is_prediction else None
        """Place in the known text of the token that is expected next; None: nowhere."""
        self._num_missed = 0
        """Number of last tokens that were not the expected ones."""
        self._agreed = MOST_AGREED if is_prediction else 0
        """Number of last tokens in which sequence and known text agree before that place."""
        self._places: dict[int, int] = {}
        """Hash of some tokens of the known text -> the place after their last occurrence."""
        for place in range(1, len(self._known)):
            self._index(place)

    def append(self, token_id: int) -> None:
        """Append the next token of the sequence."""
        self._follow(token_id)
        self._recent = [*self._recent, token_id][-MOST_AGREED:]
        if not self._is_prediction:
            self._known.append(token_id)
            self._index(len(self._known) - 1)

    def outlook(self, limit: int) -> Outlook:
        """Return how many tokens of the known text may follow, and how many speak for them."""
        self._move()
        if self._place is None or self._place >= len(self._known):
            return NOTHING
        return Outlook(min(limit, MOST_DRAFTED, len(self._known) - self._place), self._agreed)

    def propose(self, num_tokens: int) -> Sequence[int]:
        """Return the tokens of the known text that may follow."""
        assert self._place is not None, "nothing was in sight"
        return self._known[self._place : self._place + num_tokens]

    def close(self) -> None:
        """Nothing is held but memory of Python."""

    def _follow(self, token_id: int) -> None:
        """Move on by one token, and leave the place after too many that were not expected."""
        if self._place is None:
            return
        is_expected = self._place < len(self._known) and self._known[self._place] == token_id
        self._agreed = min(self._agreed + 1, MOST_AGREED) if is_expected else 0
        self._num_missed = 0 if is_expected else self._num_missed + 1
        self._place = self._place + 1 if self._num_missed <= _MOST_MISSED else None

    def _index(self, place: int) -> None:
        """Remember the tokens before a place whose own token is known."""
        for size in _SIZES:
            if place >= size:
                self._places[hash((*self._known[place - size : place],))] = place

    def _move(self) -> None:
        """Move to the place that agrees with the most last tokens; after a difference, to one nearby."""
        for size in _SIZES:
            if self._agreed < size <= len(self._recent):
                place = self._places.get(hash((*self._recent[-size:],)))
                if place is not None and (agreed := self._agreement(place)) >= size:
                    self._place, self._agreed, self._num_missed = place, agreed, 0
                    return
        if self._place is not None and self._agreed == 0:
            self._realign(self._place)

    def _realign(self, expected: int) -> None:
        """Find the nearest place after the last token; if there is none, stay: one token was replaced."""
        for shift in sorted(range(-_LONGEST_SHIFT, _LONGEST_SHIFT + 1), key=abs):
            place = expected + shift
            if 0 < place < len(self._known) and self._recent and self._known[place - 1] == self._recent[-1]:
                self._place, self._agreed = place, self._agreement(place)
                return

    def _agreement(self, place: int) -> int:
        """Return the number of last tokens of the sequence that stand before a place of the known text."""
        agreed = 0
        while agreed < min(place, len(self._recent)) and self._known[place - 1 - agreed] == self._recent[-1 - agreed]:
            agreed += 1
        return agreed
