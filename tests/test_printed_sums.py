"""What is printed adds up: rows to the total, rows inside to the row above them, shares to a hundred."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from tests.command import mscope
from tests.printed import PrintedRow, blocks, rows
from tests.snapshots.checkpoints import CHECKPOINTS

KEYS = (
    "module", "kind", "dtype", "role", "layer", "shard", "storage", "tensor", "section",
    "role,dtype", "dtype,layer", "shard,module", "section,kind", "layer,tensor", "storage,section", "kind,role,dtype",
)  # fmt: skip
ALL = ("-d", "0", "-n", "0")


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gallery")
    return {name: folder / make(folder) for name, make in CHECKPOINTS.items()}


def printed(path, *options: str) -> list[list[str]]:
    done = mscope("inspect", path, "--unit", "bytes", *options, columns=160)
    assert (done.code, done.err) == (0, "")
    return blocks(done.out)


def inside(table: Sequence[PrintedRow]) -> Iterator[tuple[PrintedRow, list[PrintedRow]]]:
    """Each row with the rows directly under it."""
    for position, row in enumerate(table):
        below = []
        for later in table[position + 1 :]:
            if later.level <= row.level:
                break
            if later.level == row.level + 1:
                below.append(later)
        yield row, below


def check(table: Sequence[PrintedRow], size: int) -> None:
    """All that can be added up in a table that ends with TOTAL."""
    *body, total = table
    top = [row for row in body if row.level == 0]
    assert total.label == "TOTAL"
    assert total.nbytes == size == sum(row.nbytes for row in top)
    assert total.parameters == sum(row.parameters or 0 for row in top)
    for row, below in inside(body):
        if below:
            assert row.nbytes == sum(child.nbytes for child in below), row
            assert (row.parameters or 0) == sum(child.parameters or 0 for child in below), row
    assert sum(row.file_share for row in top) == pytest.approx(100, abs=0.05 * len(top))
    assert sum(row.parameter_share or 0 for row in top) == pytest.approx(100, abs=0.05 * len(top))
    for row in body:
        assert row.file_share == pytest.approx(row.nbytes / size * 100, abs=0.051), row
        if row.parameter_share is not None:
            assert row.parameter_share == pytest.approx((row.parameters or 0) / total.parameters * 100, abs=0.051), row


def size_of(path) -> int:
    """What the file system says: of the file, or of all weights and indexes of a folder."""
    return sum(file.stat().st_size for file in path.iterdir()) if path.is_dir() else path.stat().st_size


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_every_row_under_every_key(gallery, name, key):
    _, table, *_ = printed(gallery[name], "--by", key, *ALL)
    check(rows(table), size_of(gallery[name]))


@pytest.mark.parametrize("options", [(), ("-d", "1"), ("-d", "2"), ("-n", "1"), ("-n", "3"), ("--no-fold",)], ids=" ".join)
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_rows_that_were_cut_or_unfolded(gallery, name, options):
    _, table, *_ = printed(gallery[name], *options)
    check(rows(table), size_of(gallery[name]))


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_what_a_filter_leaves_out_is_still_counted(gallery, name):
    for options in (("--include", "weight"), ("--exclude", "0|1"), ("--include", "no such name")):
        for key in ("module", "dtype", "tensor"):
            _, table, *_ = printed(gallery[name], "--by", key, *options, *ALL)
            check(rows(table), size_of(gallery[name]))


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_the_small_tables_agree_with_the_large_one(gallery, name):
    _, main, kinds, roles, *_ = printed(gallery[name])
    total = rows(main)[-1]
    outside = sum(row.nbytes for row in rows(main) if row.label.startswith("[") and row.label.endswith("]") and not row.level)
    assert sum(row.parameters or 0 for row in rows(kinds)) == total.parameters
    assert sum(row.nbytes for row in rows(kinds)) == total.nbytes - outside
    assert sum(row.parameters or 0 for row in rows(roles)) == total.parameters
    assert sum(row.nbytes for row in rows(roles)) == total.nbytes


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_by_kind_and_the_table_of_kinds_say_the_same(gallery, name):
    """Two tables with one heading must not give one name two figures."""
    _, _, kinds, *_ = printed(gallery[name])
    _, by_kind, *_ = printed(gallery[name], "--by", "kind")

    def figures(lines: list[str]) -> dict[str, tuple[int | None, int]]:
        found = [row for row in rows(lines) if row.label != "TOTAL" and not row.label.startswith("[")]
        return {row.label.removeprefix("~"): (row.parameters, row.nbytes) for row in found}

    assert figures(by_kind) == figures(kinds)


def test_the_shards_add_up_with_their_index(gallery):
    page = printed(gallery["sharded"], "--by", "shard", "-n", "0")
    by_name = {row.label: row.nbytes for row in rows(page[1]) if row.level == 0 and row.label != "TOTAL"}
    assert by_name == {file.name: file.stat().st_size for file in gallery["sharded"].iterdir()}
