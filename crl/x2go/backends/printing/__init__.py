"""Backends of that kind; one module each, as in python-x2go."""

__all__: list[str] = []
