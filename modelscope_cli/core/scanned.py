"""What a scan found in a file before anybody judged it: pickle streams, odd signs, texts, and what was not looked at."""

from __future__ import annotations

from typing import NamedTuple

from modelscope_cli.core.checkpoint import PickleTrace
from modelscope_cli.errors import ModelscopeError


class Stream(NamedTuple):
    """One pickle. `where` is the path of the member it stands in, "" for the file itself; offsets count from its first byte.

    `base` is added to the offsets of the trace. `loader` says who would unpickle it: torch, python, or nobody (the bytes of a
    storage that happen to read as a pickle).
    """

    where: str
    trace: PickleTrace
    loader: str = "python"
    base: int = 0


TORCH, PYTHON, NOBODY = "torch", "python", "nobody"


class Sign(NamedTuple):
    """Something odd about the container, or code in it. `code` is a row of the table that says how grave it is."""

    code: str
    where: str
    message: str
    offset: int | None = None


def limit_in(said: str) -> str:
    """The limit that a sentence says to raise at its end, "" where it says nothing of that."""
    head, _, end = said.rpartition("(--limit ")
    return end.removesuffix("=N)") if head and end.endswith("=N)") else ""


class Unseen(NamedTuple):
    """A part that was not looked at, and why. `minor` ones are what nothing is known to run, or `source`: code that nothing loads."""

    where: str
    why: str
    minor: bool = False
    source: bool = False

    @property
    def limit(self) -> str:
        """The limit that kept it from being looked at, "" where it was something else."""
        return limit_in(self.why)


class LeftOut(NamedTuple):
    """What a walk through folders passes over, and why. `what` it is in a word; "" where nothing of it was missed after all."""

    place: str
    why: str
    what: str = ""


FOLDER, LINK = "folder", "link to a folder"
UNTOLD = "(not told)"


class Operator(NamedTuple):
    """A kind of operator in a model's graph: so many `nodes`, the first at `offset` and called `node`.

    `library` is the domain or the framework that says what the name means. `detail` are the values of the attribute that decides what it
    does, UNTOLD among them where not all could be told.
    `own`: the model brings a graph that defines it. `guess`: found by walking the file as what it does not seem to be.
    """

    where: str
    library: str
    name: str
    offset: int
    nodes: int
    node: str = ""
    detail: tuple[str, ...] = ()
    own: bool = False
    guess: bool = False


KERAS = "keras"
SENTENCES = "sentence-transformers"
SERVED = "TorchServe"
BESIDE_PARAMS = "target beside params"


class Target(NamedTuple):
    """A name in a configuration that a program looks up: by the key `_target_`, by a `tag` of YAML, or for a library.

    The tag then is KERAS, SENTENCES or SERVED, BESIDE_PARAMS for the key `target` of programs of latent diffusion, or one of calling_keys.
    """

    where: str
    name: str
    tag: str = ""


class Scanned:
    """Everything found in one file. `problem` is what kept it from being read as the model it seems to be."""

    def __init__(self, path: str, nbytes: int = 0):
        self.path = path
        self.nbytes = nbytes
        self.kind: str | None = None  # its format, where a reader takes it
        self.streams: list[Stream] = []
        self.signs: list[Sign] = []
        self.texts: list[tuple[str, str]] = []  # (where, chat template or other program in text form)
        self.operators: list[Operator] = []
        self.targets: list[Target] = []
        self.packaged: set[str] = set()  # modules of a torch.package whose source stands in it
        self.scripted: set[str] = (
            set()
        )  # prefixes of archives of TorchScript: torch's own compiler makes the classes of their pickles
        self.unseen: list[Unseen] = []
        self.problem: ModelscopeError | None = None
        self.begins = ""  # "pickle" or "tar", where the file itself is one from its first byte
        self.looked = False  # whether the walk knew its kind and went through all of it, reader or not

    @property
    def has_something(self) -> bool:
        """Whether anything was found that is judged, and so counts whatever kept the rest from being looked at."""
        certain = any(not operator.guess for operator in self.operators)
        return bool(self.streams or self.signs or self.texts or certain or self.targets)
