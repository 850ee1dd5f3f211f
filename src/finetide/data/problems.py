"""Many faults of one file in one error: the first twenty by line, and how many there are."""

from __future__ import annotations

from dataclasses import dataclass, field

from finetide.errors import DataError

SHOWN_ROWS = 20


@dataclass
class Problems:
    """Collects what is wrong with lines, or members, of ``file``; ``what`` completes the sentence that begins with
    its name."""

    file: str
    what: str
    fix: str
    count: int = 0
    lines: list[str] = field(default_factory=list)

    @property
    def full(self) -> bool:
        return len(self.lines) >= SHOWN_ROWS

    def add(self, line: int | None, message: str) -> None:
        """Args: line: None where the message names the place, e.g. a member of a folder, which has no lines."""
        self.count += 1
        if not self.full:
            self.lines.append(message if line is None else f"line {line}: {message}")

    def error(self) -> DataError:
        more = f"\n  … and {self.count - len(self.lines)} more" if self.count > len(self.lines) else ""
        listed = "".join(f"\n  {line}" for line in self.lines)
        return DataError(f"{self.what}:{listed}{more}", where=self.file, fix=self.fix)

    def raise_if_any(self) -> None:
        if self.count:
            raise self.error()
