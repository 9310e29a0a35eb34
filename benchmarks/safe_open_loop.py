"""What a script with safetensors does: the shape and dtype of every tensor in every file. Prints how many there were.

python safe_open_loop.py FILE...
"""

import sys

from safetensors import safe_open

count = 0
for path in sys.argv[1:]:
    with safe_open(path, framework="np") as file:
        for name in file.keys():  # noqa: SIM118 (not a mapping)
            tensor = file.get_slice(name)
            tensor.get_shape()
            tensor.get_dtype()
            count += 1
print(count)
