"""Extended JSON and BSON values: ``loads`` reads a request body, ``dumps`` and its kin write an answer.

Reading takes Extended JSON v2, relaxed and canonical, value by value, whatever the content type says, and never
guesses: a string of 24 hexadecimal digits stays a string. For the modes of writing see :class:`Mode`.
"""

from doorleaf.ejson.inserts import loads_insert, with_id
from doorleaf.ejson.modes import Mode, bare_mode_of, lines_of, lines_type, mode_of
from doorleaf.ejson.pieces import require_few
from doorleaf.ejson.read import loads, loads_bson, loads_documents, loads_rest
from doorleaf.ejson.write import (
    dumps,
    encode_document,
    encode_documents,
    encode_exactly,
    encode_lines,
    encode_pieces,
    encode_result,
)

__all__ = [
    "Mode",
    "bare_mode_of",
    "dumps",
    "encode_document",
    "encode_documents",
    "encode_exactly",
    "encode_lines",
    "encode_pieces",
    "encode_result",
    "lines_of",
    "lines_type",
    "loads",
    "loads_bson",
    "loads_documents",
    "loads_insert",
    "loads_rest",
    "mode_of",
    "require_few",
    "with_id",
]
