"""The exchangeable parts of the X2Go client, in python-x2go's places."""

__all__: list[str] = []
