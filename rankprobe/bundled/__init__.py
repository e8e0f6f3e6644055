"""Package data: the miniature tasks, in the layout of the official release, and small pretrained backbones.

MODEL_CARD.md in this folder describes how they were made and what they score. output.schema.json describes
the documents of `--json`.
"""

from pathlib import Path

FOLDER = Path(__file__).parent

BACKBONES = ("tiny", "mini")
"""Names that `load_backbone` accepts; each is a subfolder."""
