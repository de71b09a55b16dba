"""Sessions as the server's commands see them."""

__all__: list[str] = []
