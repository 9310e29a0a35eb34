"""Several models of one folder together: components of a pipeline, a model and its adapter."""

from __future__ import annotations

from modelscope_cli.analysis.overview import Overview
from modelscope_cli.report.document import MACHINES, Bytes, Count, Fact, Facts


class Totals:
    """Adds up the models of a folder as they come. Those of one folder come one after another, and the last has its contents."""

    def __init__(self) -> None:
        self.folder = ""
        self.models = self.parameters = self.tensors = self.nbytes = 0

    def add(self, overview: Overview) -> None:
        """Take in a model; the sum is written into the last one of several."""
        checkpoint = overview.checkpoint
        folder = checkpoint.in_folder
        if folder is None or folder.path != self.folder:
            self.models = self.parameters = self.tensors = self.nbytes = 0
            self.folder = folder.path if folder is not None else ""
        if folder is None:
            return
        self.models += 1
        self.parameters += overview.parameters
        self.tensors += len(checkpoint.tensors)
        self.nbytes += checkpoint.nbytes
        if folder.entries:
            if self.models > 1:
                overview.together = self.facts()
            self.folder = ""

    def facts(self) -> Facts:
        """A line for people; each number for programs."""
        tensors = f"{self.tensors:,} {'tensor' if self.tensors == 1 else 'tensors'}"
        text = f"{self.parameters:,} parameters in {tensors}  ·  {self.nbytes:,} bytes"
        facts = [
            Fact("models", f"{self.models:,} models", Count(self.models), text),
            Fact("parameters", "Parameters", Count(self.parameters), audience=MACHINES),
            Fact("tensors", "Tensors", Count(self.tensors), audience=MACHINES),
            Fact("bytes", "Size", Bytes(self.nbytes), audience=MACHINES),
        ]
        return Facts("together", "Together", facts)
