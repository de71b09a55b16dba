"""The graphics proxies of the client's side."""

__all__: list[str] = []
