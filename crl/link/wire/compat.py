"""What differs between the Pythons of the two ends, or costs a needless import.

Everybody who needs one of these takes it from here.
"""

MYPY = False
if MYPY:
    from collections import deque
else:
    # Its module, not `collections`, which is the largest import of the start.
    from _collections import deque

__all__ = ["deque"]
