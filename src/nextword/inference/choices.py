"""What one may choose about how a model is computed. Importing this imports no backend."""

from typing import Literal

BackendName = Literal["auto", "native", "torch"]
"""Our own C++ or PyTorch; "auto": the first where it was built, else the second."""

Weights = Literal["auto", "f32", "bf16", "q8", "q4"]
"""What to compute with: the file's own values ("auto"), floats, or blocks of 32 with 8 or 4 bits for each value."""
