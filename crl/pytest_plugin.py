"""The pytest plugin of crl."""
