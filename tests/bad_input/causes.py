"""All causes, from the modules beside this one."""

from __future__ import annotations

from bad_input import params_causes
from bad_input.cause import Cause

CAUSES: list[Cause] = [*params_causes.CAUSES]
