"""A zstd decompressor: Python's own from 3.14 on, before that the package backports.zstd (the extra [zstd]), which is the same."""

from __future__ import annotations

from typing import Any

from modelscope_cli.containers.compressed import MOST_MEMORY, Engine
from modelscope_cli.errors import MissingExtraError


def zstd_engine() -> Engine:
    """A decompressor of one frame. Raises MissingExtraError."""
    zstd: Any
    try:
        from compression import zstd  # type: ignore[import-not-found, no-redef, unused-ignore]
    except ImportError:
        try:
            from backports import zstd  # type: ignore[no-redef, unused-ignore]
        except ImportError:
            raise MissingExtraError("zstd", "zstd-compressed data, before Python 3.14,") from None
    made: Engine = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: MOST_MEMORY.bit_length() - 1})
    return made
