"""Tell the digit in each image: classify.py MODEL IMAGES_DIRECTORY OUTPUT.csv

Images are read in the order of their names, any size, dark background. Exit codes: 0 done, 64 wrong arguments, 65 a file is no
image, 66 there are no images, 74 the output cannot be written.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, UnidentifiedImageError

SIDE = 8
BATCH = 256
# A job has the CPUs it asked for; more threads than that only wait for each other.
THREADS = 1
# Larger ones are not photographs of a digit but attempts to fill the memory.
Image.MAX_IMAGE_PIXELS = 1 << 24


class NotAnImage(ValueError):
    """A file that Pillow cannot read."""


def main(model: str, images: str, output: str) -> int:
    files = sorted(path for path in Path(images).rglob("*.png") if path.is_file())
    if not files:
        print(f"{images} holds no PNG images", file=sys.stderr)
        return 66
    session = open_model(model)
    counts: Counter[int] = Counter()
    try:
        with Path(output).open("w", newline="") as out:
            table = csv.writer(out, lineterminator="\n")
            table.writerow(("image", "digit", "probability"))
            for start in range(0, len(files), BATCH):
                batch = files[start : start + BATCH]
                for path, (digit, probability) in zip(batch, classify(session, batch), strict=True):
                    table.writerow((path.relative_to(images), digit, f"{probability:.3f}"))
                    counts[digit] += 1
    except NotAnImage as error:
        print(error, file=sys.stderr)
        return 65
    except OSError as error:
        print(f"{output}: {error.strerror}", file=sys.stderr)
        return 74
    print(f"{len(files)} images:", " ".join(f"{digit}×{counts[digit]}" for digit in sorted(counts)))
    return 0


def open_model(path: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = THREADS
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def classify(session: onnxruntime.InferenceSession, files: list[Path]) -> list[tuple[int, float]]:
    """Digit and probability of each image."""
    pixels = np.stack([pixels_of(path) for path in files])
    (probabilities,) = session.run(["probabilities"], {"pixels": pixels})
    digits = probabilities.argmax(axis=1)
    return [
        (int(digit), float(row[digit])) for digit, row in zip(digits, probabilities, strict=True)
    ]


def pixels_of(path: Path) -> np.ndarray:
    """64 brightnesses from 0 to 1, row by row."""
    try:
        with Image.open(path) as image:
            small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise NotAnImage(f"{path}: no image: {error}") from error
    return np.asarray(small, dtype=np.float32).reshape(SIDE * SIDE) / 255


if __name__ == "__main__":
    if len(sys.argv) != 4:
        print(__doc__.splitlines()[0], file=sys.stderr)
        sys.exit(64)
    sys.exit(main(*sys.argv[1:]))
