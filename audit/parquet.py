"""Sealed events as Apache Parquet: for a data warehouse, and for the archive of a month that ends.

Rules:
- The columns are the record's fields after the event's number and its seal. Ids and JSON are text, JSON as PostgreSQL
  shows it, so that every leaf can be worked out from the file alone.
- A row group holds `GROUP` events, and no more than one is ever in memory.
- Reading is audit/verify_export.py's, as that of the other formats.
- PostgreSQL writes CSV and Arrow reads it: an event never becomes a Python object on its way into a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pyarrow
from psycopg import Connection, sql
from pyarrow import csv, parquet

from audit.leaves import FIELDS
from audit.rows import ISO, JOINED

GROUP = 20_000
TYPES = {
    "uuid": pyarrow.string(),
    "time": pyarrow.timestamp("us", tz="UTC"),
    "text": pyarrow.string(),
    "json": pyarrow.string(),
    "int8": pyarrow.int64(),
    "int4": pyarrow.int32(),
    "bool": pyarrow.bool_(),
    "decimal": pyarrow.decimal128(18, 8),
}
SCHEMA = pyarrow.schema(
    [
        ("seq", pyarrow.int64()),
        ("seal", pyarrow.int64()),
        *((name, TYPES[kind]) for name, kind in FIELDS.items()),
    ]
)
_CONVERT = csv.ConvertOptions(
    column_types=SCHEMA,
    # an absent value is nothing at all, an empty text two quotes
    null_values=[""],
    strings_can_be_null=True,
    quoted_strings_can_be_null=False,
    true_values=["t"],
    false_values=["f"],
    timestamp_parsers=[csv.ISO8601],
)
_PARSE = csv.ParseOptions(newlines_in_values=True)


def parquet_of(
    connection: Connection[Any], condition: sql.Composable, take: Callable[[int, int], None] = lambda seq, seal: None
) -> Iterator[bytes]:
    """A Parquet file of the sealed events, piece by piece; `condition` speaks of `e` and `l`.

    `take` is told the number and the seal of each event, in their order.
    """
    sink = _Sink()
    with parquet.ParquetWriter(sink, SCHEMA, compression="zstd") as writer:
        rows = _csv_rows(connection, condition, take)
        while group := b"".join(islice(rows, GROUP)):
            writer.write_table(_table(group), row_group_size=GROUP)
            yield sink.taken()
    yield sink.taken()


def _csv_rows(
    connection: Connection[Any], condition: sql.Composable, take: Callable[[int, int], None]
) -> Iterator[bytes]:
    query = sql.SQL("COPY (SELECT l.seq, l.seal, {} FROM {} WHERE {} ORDER BY l.seq) TO STDOUT (FORMAT csv)").format(
        sql.SQL(", ").join(map(_column, FIELDS)), JOINED, condition
    )
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        for data in copy:
            row = bytes(data)
            seq, seal, _ = row.split(b",", 2)
            take(int(seq), int(seal))
            yield row


def _column(name: str) -> sql.Composed:
    column = sql.Identifier("e", name)
    return sql.SQL(ISO).format(column) if name == "at" else sql.Composed([column])


def _table(rows: bytes) -> pyarrow.Table:
    # one block, whatever its size: a long event must not lie across two
    reading = csv.ReadOptions(column_names=SCHEMA.names, block_size=len(rows) + 1, use_threads=False)
    table = csv.read_csv(
        pyarrow.BufferReader(rows), read_options=reading, parse_options=_PARSE, convert_options=_CONVERT
    )
    return table.cast(SCHEMA)


class _Sink:
    """What Arrow writes to, and what is taken from it as it comes."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        self._size += len(self._parts[-1])
        return len(self._parts[-1])

    def tell(self) -> int:
        return self._size

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def flush(self) -> None:
        """Arrow asks for it; nothing waits anywhere."""

    def close(self) -> None:
        """The same."""

    def taken(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)
