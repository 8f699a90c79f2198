"""What a scheme carries from one block to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from ..fields import FieldError
from ..program.step import State
from .module_state import version


@dataclass
class Session:
    """Between two blocks: the state, what else the scheme carries, how often these were written to, the last block."""

    u: Tensor | None
    carried: State
    versions: tuple[int, ...]
    index: int


class History:
    """Carried values by the state that they belong to, so that two passes, also of two threads, do not meet.

    Args:
        names: paths of the blocks of a chain.
        scheme: name of the scheme.
    """

    def __init__(self, names: Sequence[str], scheme: str) -> None:
        self.names, self.scheme = tuple(name or "the model" for name in names), scheme
        self.sessions = WeakTensorKeyDictionary()
        #: the one that there is while torch.compile traces
        self.session: Session | None = None

    def __getstate__(self) -> tuple[Sequence[str], str]:
        """Copies and pickles are without what passes under way have left."""
        return self.names, self.scheme

    def __setstate__(self, state: tuple[Sequence[str], str]) -> None:
        """With nothing carried."""
        self.__init__(*state)  # type: ignore[misc]

    def take(self, index: int, x: Tensor) -> State:
        """What is carried beside x, the input of block ``index``. It can be had once.

        Raises:
            FieldError: x is not what a block before has returned, or something was written to since.
        """
        if torch.compiler.is_compiling():
            session = self._compiled(x)
        else:
            session = self.sessions.pop(x, None) or self._compiled(x)
        if session is None or session.index != index - 1:
            raise FieldError(
                f"{self.names[index]}: got an input that is not what {self.names[index - 1]} returned, which "
                f"{self.scheme} goes on from; expected the blocks of the chain one after the other, with nothing "
                "between them (no dropout, no layer drop, no activation checkpointing around one of them), and all or "
                "none of them compiled (compile the model)"
            )
        if session.versions != versions((x, *session.carried)):
            raise FieldError(
                f"{self.names[index]}: got a state that was written to after {self.names[index - 1]} had returned it, "
                f"or one before it that {self.scheme} goes on from, expected none of these changed; write to a copy"
            )
        return session.carried

    def _compiled(self, x: Tensor) -> Session | None:
        """What a compiled block has left, if it has returned x."""
        return self.session if self.session is not None and self.session.u is x else None

    def keep(self, index: int, u: Tensor, carried: State, before: tuple[int, ...]) -> None:
        """Keep what belongs to u, which block ``index`` returns; ``before``: versions of it after the step."""
        last = index == len(self.names) - 1
        if carried and not last:
            self.check(index, carried, before)
        if not carried or last:
            self.session = None
        elif torch.compiler.is_compiling():
            self.session = Session(u, carried, versions((u, *carried)), index)
        else:
            # Without u, or the entry would keep it alive.
            self.sessions[u] = Session(None, carried, versions((u, *carried)), index)

    def check(self, index: int, carried: State, before: tuple[int, ...]) -> None:
        """See that nothing in block ``index`` has written to what is carried since ``before``."""
        if versions(carried) != before:
            raise FieldError(
                f"{self.names[index]}: got a block that writes to what it added, or to a state before, which "
                f"{self.scheme} goes on from, expected none of these changed after the sum; write to a copy"
            )


def versions(tensors: Sequence[Tensor]) -> tuple[int, ...]:
    """How often each has been written to."""
    return tuple(version(x) for x in tensors)
