"""The errors of the wire, on both ends.

They stand here, without crl's exception tree, because this folder also runs on the target. The controller wraps them
in errors that name the host. They promise plain texts without values of the peer beyond numbers.
"""


class ProtocolError(Exception):
    """The peer sent something that the protocol forbids."""


class NotTransferable(Exception):
    """A value cannot cross: its type is not in the codec, or it is too deep, cyclic or too large."""
