"""Commands of an X2Go server."""

__all__: list[str] = []
