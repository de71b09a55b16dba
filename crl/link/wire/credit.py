"""Credit: how many bytes of a stream may be under way before their receiver has used some.

It follows the delay of the way, so that a long one is filled and a short one needs little memory. The receiver decides
and the sender is told absolute numbers; both ends of a link count with this.
"""
# ruff: noqa: F401 - names in type comments look unused.

from crl.link.wire.messages import STREAM_CREDIT

MOST_CREDIT = 4 * 1024 * 1024
# A way of 50 ms gets all of it; one of 6 ms and less no more than what every stream has to begin with.
BYTES_A_SECOND = 80000000


def credit_for(delay):
    # type: (float | None) -> int
    """How many bytes may be under way when there and back takes so many seconds; None is not known yet."""
    return min(MOST_CREDIT, max(STREAM_CREDIT, int((delay or 0.0) * BYTES_A_SECOND)))


class Credit(object):
    """What the receiver of one stream has allowed.

    Attributes:
        used: How many bytes have been used.
        limit: How many may be sent in all.
    """

    __slots__ = ("used", "limit")

    def __init__(self):
        # type: () -> None
        self.used = 0
        self.limit = STREAM_CREDIT

    def use(self, count, delay):
        # type: (int, float | None) -> int
        """Some bytes were used: the limit that the sender is to be told now, or 0.

        A grant costs as much as a small piece, so that it waits for a quarter of the credit.
        """
        self.used += count
        size = credit_for(delay)
        if self.used + size - self.limit < size >> 2:
            return 0
        self.limit = self.used + size
        return self.limit


def install(_program):
    # type: (object) -> None
    """Called when this piece arrives: other pieces import it, and that is all."""
