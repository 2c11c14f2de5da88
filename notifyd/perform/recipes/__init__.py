"""How each operation is done: which system call, with which places and arguments.

To add an operation, add its recipe to the table of its theme; the executor needs nothing else. A
recipe takes a draft and returns an order's call and arguments. What comes back goes to `finish`,
where a call fills memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from notifyd.perform.recipes import inodes, machine, naming
from notifyd.perform.recipes.recipe import Drawn, Recipe
from notifyd.policy.call import Call

__all__ = ["RECIPES", "Drawn", "Recipe"]

RECIPES: Mapping[type[Call], Recipe] = MappingProxyType(
    {**naming.RECIPES, **inodes.RECIPES, **machine.RECIPES}
)
