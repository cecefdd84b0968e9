"""How large a ZIP would be, from its directory alone: the guard against bombs, before a byte is unpacked.

Python's zipfile never reads more of a member than the directory declares, so a directory that lies leads to an error
and not to memory.
"""

from __future__ import annotations

import zipfile
from typing import BinaryIO

from departments.documents.extracted import ExtractionFailed, Limits, Reason

ENCRYPTED_MEMBER = 0x1
# small files may pack very well and harm nobody
RATIO_FLOOR_BYTES = 10 << 20


def check_unpacked_size(file: BinaryIO, limits: Limits) -> None:
    """Raises ExtractionFailed if the archive is protected, damaged or too large. Leaves it at its beginning."""
    try:
        members = zipfile.ZipFile(file).infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise ExtractionFailed(Reason.CORRUPT) from error
    finally:
        file.seek(0)
    if any(member.flag_bits & ENCRYPTED_MEMBER for member in members):
        raise ExtractionFailed(Reason.ENCRYPTED)
    unpacked = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    is_dense = unpacked > RATIO_FLOOR_BYTES and unpacked > packed * limits.unpacked_ratio
    if unpacked > limits.unpacked_bytes or len(members) > limits.entries or is_dense:
        raise ExtractionFailed(Reason.TOO_LARGE)
