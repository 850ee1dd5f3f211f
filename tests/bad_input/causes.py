"""All causes, from the modules beside this one."""

from __future__ import annotations

from bad_input import (
    base_causes,
    bundle_causes,
    command_causes,
    environment_causes,
    params_causes,
    state_causes,
    table_causes,
)
from bad_input.cause import Cause

CAUSES: list[Cause] = [
    *params_causes.CAUSES,
    *command_causes.CAUSES,
    *environment_causes.CAUSES,
    *table_causes.CAUSES,
    *base_causes.CAUSES,
    *bundle_causes.CAUSES,
    *state_causes.CAUSES,
]
