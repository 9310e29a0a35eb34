"""What safetensors writes is read as it reads it, and what it refuses is refused."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors")
pytest.importorskip("safetensors.torch")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

import modelscope_cli  # noqa: E402
from modelscope_cli.errors import ModelscopeError  # noqa: E402
from tests.builders.safetensors_file import entry, raw_bytes  # noqa: E402
from tests.builders.samples import SAMPLES  # noqa: E402
from tests.opened import opened  # noqa: E402
from tests.oracle.networks import PLAIN_DTYPES, Tied, zeros  # noqa: E402
from tests.test_safetensors import REFUSED, TEXT_REFUSED  # noqa: E402

# complex128 and complex32 are not in the format; a float4_e2m1fn_x2 is two elements of F4 there
OTHERS = (torch.complex128, torch.complex32, torch.float4_e2m1fn_x2)
SAVED_DTYPES = [dtype for dtype in PLAIN_DTYPES if dtype in safetensors.torch._SIZE and dtype not in OTHERS]


def assert_same(path) -> None:
    checkpoint = modelscope_cli.read(str(path))
    raw = path.read_bytes()
    with safetensors.safe_open(path, "pt") as reference:
        assert {t.name for t in checkpoint.tensors} == set(reference.keys())
        metadata = {**checkpoint.metadata, **checkpoint.aliases}
        assert metadata == (reference.metadata() or {})
        for info in checkpoint.tensors:
            tensor = reference.get_tensor(info.name)
            assert info.shape == tuple(tensor.shape)
            assert f"torch.{info.dtype.name}" == str(tensor.dtype)
            assert raw[info.start : info.stop] == bytes(tensor.untyped_storage().tolist())


def test_state_dict(tmp_path):
    path = tmp_path / "model.safetensors"
    state = {name: tensor.clone() for name, tensor in Tied().state_dict().items()}
    safetensors.torch.save_file(state, path, {"format": "pt", "note": "ä \u2028 \"'"})
    assert_same(path)


@pytest.mark.parametrize("dtype", SAVED_DTYPES, ids=str)
def test_dtypes(tmp_path, dtype):
    path = tmp_path / "model.safetensors"
    state = {"w": zeros((2, 3), dtype), "s": zeros((), dtype), "n": zeros((0, 2), dtype)}
    safetensors.torch.save_file(state, path)
    assert_same(path)


def test_save_model_keeps_the_names_it_drops(tmp_path):
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_model(Tied(), str(path))
    assert_same(path)
    aliases = modelscope_cli.read(str(path)).aliases
    assert aliases in ({"head.weight": "embed.weight"}, {"embed.weight": "head.weight"})


def reference_reads(data: bytes, path) -> bool:
    path.write_bytes(data)
    try:
        with safetensors.safe_open(path, "np") as reference:
            return reference.keys() is not None
    except (safetensors.SafetensorError, OSError, ValueError):
        return False


def we_read(data: bytes) -> bool:
    try:
        checkpoint = opened(data, "model.safetensors")
    except ModelscopeError:
        return False
    return not any(note.severity == "error" for note in checkpoint.notes)


# Refused by us although the reference lets them pass: of a name that stands twice one hides the other, and so on.
STRICTER = {"entry is a list", "duplicate name", "duplicate by escape", "metadata twice", "key twice in the metadata"}


@pytest.mark.parametrize("what", [what for what in REFUSED if what not in STRICTER])
def test_reference_refuses_it_too(tmp_path, what):
    header, data = REFUSED[what]
    assert not reference_reads(raw_bytes(header, data), tmp_path / "x.safetensors")


@pytest.mark.parametrize("what", [what for what in TEXT_REFUSED if what not in STRICTER])
def test_reference_refuses_the_text_too(tmp_path, what):
    assert not reference_reads(raw_bytes(TEXT_REFUSED[what], 1), tmp_path / "x.safetensors")


@settings(
    max_examples=250,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    position=st.integers(0, 1 << 10), byte=st.sampled_from(list(b'0123456789{}[]",: \\u-.eE\x00\xffUF')), cut=st.integers(0, 3)
)
def test_changed_files_are_judged_alike(tmp_path, position, byte, cut):
    data = bytearray(SAMPLES["plain.safetensors"])
    data[position % len(data)] = byte
    changed = bytes(data[: len(data) - cut])
    assert reference_reads(changed, tmp_path / "x.safetensors") == we_read(changed)


numbers = st.sampled_from([0, 1, 2, 3, 4, 8, 12, 16, -1, 1 << 63, (1 << 64) - 1, 1 << 64])
entries = st.builds(
    entry, st.sampled_from(["U8", "F32", "F4", "F6_E2M3", "BOOL", "NEW"]), st.lists(numbers, max_size=3), numbers, numbers
)


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(header=st.dictionaries(st.sampled_from("abc"), entries, max_size=3), size=st.integers(0, 16))
def test_headers_are_judged_alike(tmp_path, header, size):
    data = raw_bytes(header, size)
    assert reference_reads(data, tmp_path / "x.safetensors") == we_read(data)
