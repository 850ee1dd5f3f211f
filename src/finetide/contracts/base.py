"""What every JSON file between stages has in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from finetide.errors import IntegrityError
from finetide.files import read_json, write_json


class Contract(BaseModel):
    """A JSON file with a known shape. Written canonically, so that equal content means equal bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def write(self, path: Path) -> None:
        write_json(path, self.model_dump(mode="json"))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises: IntegrityError when the file does not have this shape."""
        try:
            return cls.model_validate(read_json(path))
        except ValidationError as error:
            problem: Any = error.errors(include_url=False)[0]
            # pydantic names the member of a union too; it is no key of the file.
            keys = [str(part) for part in problem["loc"] if not str(part).startswith("literal[")]
            dotted = ".".join(keys) or "the file"
            found = problem["input"]  # a mapping, or a list, would be the file once more
            raise IntegrityError(
                f"{dotted}: {problem['msg'].removeprefix('Value error, ')}",
                where=str(path),
                found=found if isinstance(found, (str, int, float)) else None,
                fix="restore the file or run its stage again",
            ) from error
