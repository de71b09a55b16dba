"""What servers tell about sessions."""

__all__: list[str] = []
