"""The most probable tokens of a distribution as rows, for tables and for JSON.

In: rows that `Distribution.table` computed. Out: a text table, or the rows themselves. Computes nothing.
"""

from __future__ import annotations

import dataclasses

from nextword.plain_text import count, text_table


@dataclasses.dataclass(frozen=True)
class TableRow:
    """One token of the table."""

    rank: int
    """1 for the most probable."""
    token_id: int
    """Id in the vocabulary."""
    text: str | None
    """Text of the token, if the distribution has a tokenizer."""
    probability: float
    """Probability, from 0 to 1."""
    log_prob: float
    """Natural logarithm of the probability."""
    cumulative: float
    """Probability mass of this token and those above it."""


@dataclasses.dataclass(frozen=True)
class DistributionTable:
    """Rows in order of rank; `str(table)` aligns them in columns."""

    rows: tuple[TableRow, ...]
    """The most probable tokens, in descending order."""
    num_tokens: int
    """Tokens of the whole distribution, of which the rows are the most probable."""

    def __repr__(self) -> str:
        return f"DistributionTable({count(len(self.rows), 'row')})"

    def __str__(self) -> str:
        has_text = any(row.text is not None for row in self.rows)
        head = ["rank", "token id", *(["token"] if has_text else []), "probability", "log-prob", "cumulative"]
        cells = [_cells(row, has_text=has_text) for row in self.rows]
        lines = [text_table(head, cells, left={2} if has_text else ())]
        left_out = self.num_tokens - len(self.rows)
        if left_out:
            lines.append(f"... and {left_out:,} more")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Return a bar for the probability of each row, and what the tokens after them have together."""
        from nextword.html.notebook import bar, block, code, line, small_table
        from nextword.html.page import escaped

        longest = max((row.probability for row in self.rows), default=1.0)
        cells = [
            (
                code(repr(row.text)) if row.text is not None else escaped(str(row.token_id)),
                bar(row.probability / longest),
                escaped(f"{row.probability:.1%}"),
            )
            for row in self.rows
        ]
        rest = max(0.0, 1.0 - self.rows[-1].cumulative) if self.rows else 1.0
        left_out = self.num_tokens - len(self.rows)
        more = [line(f"and {left_out:,} more tokens with {rest:.1%} together")] if left_out else []
        return block(small_table(("token", "probability", ""), cells, left=(0, 1)), *more)


def _cells(row: TableRow, *, has_text: bool) -> list[str]:
    numbers = [f"{row.probability:.6f}", f"{row.log_prob:.4f}", f"{row.cumulative:.6f}"]
    return [str(row.rank), str(row.token_id), *([repr(row.text)] if has_text else []), *numbers]
