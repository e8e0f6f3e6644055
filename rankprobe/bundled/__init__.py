"""Package data: the miniature tasks, in the layout of the official release, and our own little backbones.

What they are, how they were made and what they score: MODEL_CARD.md, beside this file.
"""

from pathlib import Path

FOLDER = Path(__file__).parent

BACKBONES = ("tiny", "mini")
"""Each is a folder here that `load_backbone` reads by its name."""
