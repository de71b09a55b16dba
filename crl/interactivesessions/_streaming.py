"""A large value of the target in pieces: as many as a caller takes, some of them under way ahead.

It knows terminals only by their calls. It promises that never more than a few pieces are in memory, and that what has a
length is read by position, so that nothing is lost or doubled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from crl.deadlines import Deadline
from crl.errors import WrongArgument

if TYPE_CHECKING:
    from crl.interactivesessions.runnerterminal import RunnerTerminal

__all__ = ["pieces_of"]

AHEAD: Final = 3
# Whether a value has positions; a function for one piece of such a value, and one for the next items of any other.
HAS_POSITIONS: Final = (
    "(lambda o: hasattr(type(o), '__getitem__') and hasattr(type(o), '__len__') and not hasattr(type(o), 'keys'))"
)
SLICES: Final = "(lambda o, n: lambda i: o[i * n:(i + 1) * n])"
ITEMS: Final = (
    "(lambda o, n: (lambda it, islice: lambda i: list(islice(it, n)))(iter(o), __import__('itertools').islice))"
)


def pieces_of(terminal: RunnerTerminal, value: Any, size: int, timeout: float | None) -> Iterator[Any]:
    """The pieces of a value.

    Args:
        terminal: Where it is.
        value: A proxy, or an expression.
        size: Bytes, characters or items of a piece.
        timeout: Seconds for each piece; None means the terminal's default.
    """
    if size < 1:
        raise WrongArgument(f"a piece cannot have the size {size}", doing="stream_python", advice="give 1 or more")
    held = value if terminal.isproxy(value) else terminal.get_proxy_object_from_call(f"(lambda: ({value}\n))")
    has_positions = terminal.run_python_call(HAS_POSITIONS, held)
    reader = terminal.get_proxy_object_from_call(SLICES if has_positions else ITEMS, held, size)
    # Calls may overtake each other, which a slice does not mind.
    ahead = AHEAD if has_positions else 1
    seconds = terminal.seconds_of(timeout)
    number = 0
    under_way: deque[Any] = deque()
    while True:
        while len(under_way) < ahead:
            submit, needs = terminal.invocation(str(reader.get_proxy_handle()), (number,), {})
            under_way.append(terminal.start(submit, needs=(reader, held, needs)))
            number += 1
        deadline = Deadline.after(seconds)
        piece = terminal.value_of(terminal.answer(under_way.popleft(), deadline.remaining()))
        if not piece:
            return
        yield piece
