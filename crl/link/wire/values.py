"""The value codec: a closed set of types as bytes, and back.

Only what `encode` can write does `decode` make. The halves are in `writing` and `reading`, what they share in `tags`,
and the records that they know by name in `records`.
"""

from crl.link.wire.reading import decode
from crl.link.wire.tags import MAX_DEPTH, MAX_ITEMS, VERSION, Expression, Pickled, long_type, text_type
from crl.link.wire.writing import encode

__all__ = ["MAX_DEPTH", "MAX_ITEMS", "VERSION", "Expression", "Pickled", "decode", "encode", "long_type", "text_type"]
