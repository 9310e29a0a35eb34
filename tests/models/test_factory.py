"""What --model names is found, called and checked; what goes wrong on the way is one sentence of ours."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

import pytest
from torch import nn

from modelscope_cli.bridges.models.factory import call_factory, find_factory, importable
from modelscope_cli.bridges.models.quiet import quiet
from modelscope_cli.errors import DrawingError

CODE = '''
import os
from torch import nn

class Net(nn.Module):
    """A class."""
    def __init__(self, width=3):
        super().__init__()
        self.fc = nn.Linear(width, 2)

    @classmethod
    def wide(cls):
        return cls(100)

    class Inner(nn.Identity):
        pass

class Shop:
    best = Net(7)

def build(width=4):
    return Net(width)

def other_file():
    from beside import BESIDE
    return BESIDE

instance = Net(5)
number = 42
text = "Net"
nothing = None

def returns_a_string(): return "a module"
def returns_an_int(): return 1
def returns_nothing(): pass
def returns_the_class(): return Net
def needs(width): return Net(width)
def raises(): raise ValueError("first line\\nsecond line")
def raises_silently(): raise KeyError
def raises_long(): raise RuntimeError("x" * 10_000)
def leaves(): raise SystemExit(5)
def recurses(): return recurses()
class Odd(BaseException): pass
def raises_base(): raise Odd("base")
def prints():
    print("a word")
    return Net()
def interrupted(): raise KeyboardInterrupt
'''
PLACES = ("nets", "nets.py", "package.nets", "package/nets.py")


@pytest.fixture
def folder(tmp_path, monkeypatch, forgotten):
    """The current folder, with nets.py and package/nets.py in it."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "beside.py").write_text("from nets import Net\nBESIDE = Net(11)\n")
    for place in (tmp_path, tmp_path / "package"):
        (place / "nets.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(text: str, settings: dict | None = None) -> nn.Module:
    with quiet():
        return call_factory(text, find_factory(text), settings)


def refused(text: str, settings: dict | None = None) -> str:
    with pytest.raises(DrawingError) as told:
        made(text, settings)
    said = f"{told.value.message} - {told.value.hint or ''}"
    assert "\n" not in said
    assert len(said) < 1_000
    return said


# What is found and made ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("name", "width"), [("Net", 3), ("build", 4), ("instance", 5), ("Shop.best", 7), ("Net.wide", 100), ("Shop.best.fc", 7)]
)
def test_what_is_named_is_made(folder, place, name, width):
    module = made(f"{place}:{name}")
    assert isinstance(module, nn.Module)
    assert getattr(module, "fc", module).in_features == width


@pytest.mark.parametrize("name", ["Net", "build", "needs"])
def test_settings_are_arguments(folder, name):
    assert made(f"nets:{name}", {"width": 9}).fc.in_features == 9


def test_a_file_by_its_full_path_from_elsewhere(folder, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert made(f"{folder / 'nets.py'}:Net").fc.in_features == 3


def test_a_file_with_a_colon_and_a_space_in_its_name(folder):
    (folder / "my: nets.py").write_text(CODE)
    assert made("my: nets.py:Net").fc.in_features == 3


def test_a_file_imports_what_is_beside_it(folder):
    (folder / "package" / "uses.py").write_text("import neighbour\nNet = neighbour.Net\n")
    (folder / "package" / "neighbour.py").write_text(CODE)
    assert made("package/uses.py:Net").fc.in_features == 3


@pytest.mark.parametrize("place", ["nets", "nets.py"])
def test_a_factory_imports_what_is_beside_it_when_it_is_called(folder, place):
    assert made(f"{place}:other_file").fc.in_features == 11


def test_classes_of_a_file_find_their_module(folder):
    assert sys.modules[type(made("nets.py:Net")).__module__].Net is type(sys.modules["nets"].instance)


# What is not -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", ":", "nets", "nets:", ":Net", "nets.py"])
def test_no_name_after_a_colon(folder, text):
    assert "no name after a colon" in refused(text)
    assert "package.module:name" in refused(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gone:Net", "there is no module gone"),
        ("gone.inner:Net", "there is no module gone"),
        ("package.gone:Net", "there is no module package.gone"),
        ("nets.inner:Net", "there is no module nets.inner"),
        ("gone.py:Net", "there is no file gone.py"),
        ("package/gone.py:Net", "there is no file package/gone.py"),
        ("nets:Nett", "did you mean Net?"),
        ("nets.py:buildd", "nets.py has no buildd - did you mean build?"),
        ("nets:Net.narrow", "has no narrow"),
        ("nets:qqqqqq", "it has Net, Shop, build"),
        ("nets:Net..wide", "has no"),
        ("nets:number", "is an int, which cannot be called"),
        ("nets:text", "is a str, which cannot be called"),
        ("nets:nothing", "is a NoneType, which cannot be called"),
        ("nets:returns_a_string", "made a str, not a torch.nn.Module"),
        ("nets:returns_an_int", "made an int, not a torch.nn.Module"),
        ("nets:returns_nothing", "made a NoneType, not a torch.nn.Module"),
        ("nets:returns_the_class", "not a torch.nn.Module"),
        ("nets:raises", "raises() raised ValueError: first line"),
        ("nets:raises_silently", "raised KeyError"),
        ("nets:raises_long", "raised RuntimeError: xxx"),
        ("nets:leaves", "raised SystemExit: 5"),
        ("nets:raises_base", "raised Odd: base"),
        ("nets:recurses", "raised RecursionError"),
        ("nets:needs", "missing 1 required positional argument: 'width'"),
    ],
)
def test_what_cannot_be_found_or_made(folder, text, said):
    assert said in refused(text)


def test_arguments_that_do_not_fit_are_told_with_what_they_were(folder):
    assert "Net(depth=2) raised TypeError" in refused("nets:Net", {"depth": 2})
    assert "--config" in refused("nets:Net", {"depth": 2})
    assert "--config" in refused("nets:needs")
    assert "is a module already, so --config means nothing to it" in refused("nets:instance", {"width": 2})
    assert refused("nets:Net", {"width": "x" * 10_000})


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import missing_package", "it imports missing_package, which is not installed"),
        ("from missing_package.inner import thing", "it imports missing_package, which is not installed"),
        ("from nets import gone", "raised ImportError: cannot import name 'gone'"),
        ("raise SystemExit('bye')", "raised SystemExit: bye"),
        ("import sys; sys.exit(0)", "raised SystemExit: 0"),
        ("1/0", "raised ZeroDivisionError: division by zero"),
        ("def broken(:", "raised SyntaxError"),
        ("'a\0b'", "raised SyntaxError"),
        ("open('/no/such/file')", "No such file or directory"),
        ("class Odd(BaseException): pass\nraise Odd('odd')", "raised Odd: odd"),
    ],
)
@pytest.mark.parametrize("place", ["broken", "broken.py"])
def test_a_module_that_cannot_be_imported(folder, place, code, told):
    (folder / "broken.py").write_text(code)
    before = set(sys.modules)
    assert told in refused(f"{place}:Net")
    assert "broken" not in set(sys.modules) - before


def test_bytes_that_are_no_code(folder):
    (folder / "broken.py").write_bytes(b"\xff\xfe\x00\x80")
    assert "raised SyntaxError" in refused("broken.py:Net")
    (folder / "folder.py").mkdir()
    assert "there is no file folder.py" in refused("folder.py:Net")


@pytest.mark.parametrize("place", ["nets", "nets.py"])
def test_an_interrupt_is_nobodys_mistake(folder, place):
    with pytest.raises(KeyboardInterrupt):
        made(f"{place}:interrupted")


# What is left behind ---------------------------------------------------------------------------------------------------


def test_what_it_prints_goes_to_stderr(folder, capsys):
    (folder / "loud.py").write_text("print('imported')\nfrom nets import *\n")
    made("loud:prints")
    caught = capsys.readouterr()
    assert caught.out == ""
    assert "imported" in caught.err
    assert "a word" in caught.err


@pytest.mark.parametrize("text", ["nets:Net", "nets.py:Net", "package/nets.py:Net", "gone:Net", "gone.py:Net", "nets:leaves"])
def test_the_path_of_imports_is_as_before(folder, text):
    before = list(sys.path)
    with suppress(DrawingError):
        made(text)
    assert sys.path == before


def test_what_is_imported_may_change_the_path_of_imports(folder):
    (folder / "changes.py").write_text("import sys\nsys.path.insert(0, 'mine')\nfrom nets import Net\n")
    before = list(sys.path)
    assert made("changes:Net").fc.in_features == 3
    assert sys.path == ["mine", *before]
    with importable(os.getcwd()):
        sys.path.clear()
    assert sys.path == []


def test_a_failed_file_does_not_take_the_place_of_a_module(folder):
    import json

    (folder / "json.py").write_text("1/0")
    assert "raised ZeroDivisionError" in refused("json.py:Net")
    assert sys.modules["json"] is json


def test_a_file_is_read_anew_each_time(folder):
    assert made("nets.py:Net").fc.in_features == 3
    (folder / "nets.py").write_text(CODE.replace("width=3", "width=33"))
    os.utime(folder / "nets.py", (1, 1))
    assert made("nets.py:Net").fc.in_features == 33


def test_a_file_called_like_a_module_of_the_tool_does_not_replace_it(folder):
    import json

    (folder / "json.py").write_text(CODE)
    assert made("json.py:Net").fc.in_features == 3
    assert sys.modules["json"] is json
