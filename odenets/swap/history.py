"""What a scheme carries from one step to the next, by the state that it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from ..fields import FieldError
from ..program.step import State
from .calls import version


@dataclass(frozen=True)
class Session:
    """Between two steps: the number of the one before, what is carried, and the state where nothing else holds it."""

    index: int
    carried: State
    versions: tuple[int, ...]
    u: Tensor | None = None


class History:
    """Carried values of a chain; two passes, also of two threads, do not meet.

    An entry is kept for as long as its state is: activation checkpointing comes back to it. ``names`` say where the
    sums of the chain are.
    """

    def __init__(self, names: Sequence[str], scheme: str) -> None:
        self.names, self.scheme = tuple(names), scheme
        self.sessions = WeakTensorKeyDictionary()
        #: those that there are while torch.compile traces
        self.traced: list[Session] = []

    def __getstate__(self) -> tuple[Sequence[str], str]:
        """Copies and pickles are without what passes under way have left."""
        return self.names, self.scheme

    def __setstate__(self, state: tuple[Sequence[str], str]) -> None:
        """With nothing carried."""
        self.__init__(*state)  # type: ignore[misc]

    def find(self, u: Tensor) -> Session | None:
        """What belongs to u, if anything does."""
        if not torch.compiler.is_compiling() and (found := self.sessions.get(u)) is not None:
            session: Session = found
            return session
        return next((session for session in self.traced if session.u is u), None)

    def carried(self, session: Session, u: Tensor) -> State:
        """What is carried into the step after a session's, whose state is u.

        Raises:
            FieldError: it, or u, was written to since.
        """
        n = session.index + 1
        if session.carried and session.versions != _versions((u, *session.carried)):
            raise FieldError(
                f"{self.names[n]}: got a state that was written to after {self.names[n - 1]} had returned it, or one "
                f"before it that {self.scheme} goes on from, or what was added to it, which {self.scheme} goes on "
                "from, expected none of these changed; write to a copy"
            )
        return session.carried

    def broken(self, n: int) -> FieldError:
        """The error for a state that no step before step n has made."""
        return FieldError(
            f"{self.names[n]}: got an input that is not what {self.names[n - 1]} returned, which {self.scheme} goes on "
            "from; expected the steps of the chain one after the other, with nothing between them but what was there "
            "at the example (no dropout, no layer drop, no reentrant activation checkpointing around one of them), and "
            "all or none of them compiled (compile the model)"
        )

    def keep(self, n: int, u: Tensor, carried: State) -> None:
        """Keep what step n has left for the next, whose state is u."""
        if n == len(self.names) - 1:
            self.traced = []
        elif torch.compiler.is_compiling():
            # Of the steps before, nobody asks any more.
            own = Session(n, carried, _versions((u, *carried)), u)
            self.traced = [*(session for session in self.traced if session.index == n), own]
        else:  # without u, or the entry would keep it alive
            self.sessions[u] = Session(n, carried, _versions((u, *carried)))

    def follow(self, session: Session, u: Tensor, move: Callable[[Tensor], Tensor] | None) -> None:
        """The state has become u: carried values are moved as it was, and activations are not applied to them."""
        self.keep(session.index, u, session.carried if move is None else tuple(map(move, session.carried)))


def _versions(tensors: Sequence[Tensor]) -> tuple[int, ...]:
    return tuple(version(x) for x in tensors)
