"""Tests: `builders` make files from short literals; `oracle` compares with torch and safetensors; the rest needs neither."""

import os

os.environ["MSCOPE_TRACEBACK"] = "1"  # a mistake of ours is to fail the test that meets it
