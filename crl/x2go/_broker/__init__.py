"""The parts of a session broker's client: its address, its answers as values, and the two ways to ask it."""

__all__: list[str] = []
