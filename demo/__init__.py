"""The demonstration behind `scripts/demo`: the whole main job, for real, with a report of pictures and timings.

It uses crl as any user does and is not installed with it. It promises exit status 0 only when every check held, and a
report in any case.
"""

__all__: list[str] = []
