"""What a script with torch does: load, and add up the elements. Prints their number and the seconds that torch.load took.

python torch_walk.py [--no-mmap] PATH
"""

import sys
import time

import torch

start = time.perf_counter()
state_dict = torch.load(sys.argv[-1], map_location="cpu", mmap="--no-mmap" not in sys.argv, weights_only=True)
seconds = time.perf_counter() - start
print(sum(tensor.numel() for tensor in state_dict.values()), seconds)
