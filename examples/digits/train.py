"""Make the model and the images of this example: train.py MODEL.onnx IMAGES_DIRECTORY

The data are the 1,797 handwritten digits that scikit-learn brings (UCI "Optical Recognition of Handwritten Digits"). The last 100
become the images; the model, two layers, sees only the others.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

HELD_BACK = 100
BRIGHTEST = 16  # of the dataset


def main(model: str, images: str) -> None:
    digits = load_digits()
    pixels = (digits.data / BRIGHTEST).astype(np.float32)
    trained = MLPClassifier((64,), alpha=1e-3, max_iter=400, random_state=1)
    trained.fit(pixels[:-HELD_BACK], digits.target[:-HELD_BACK])
    onnx.save(as_onnx(trained), model)
    folder = Path(images)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "labels.csv").open("w", newline="") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(("image", "digit"))
        for number in range(HELD_BACK):
            row = len(pixels) - HELD_BACK + number
            brightness = np.round(pixels[row].reshape(8, 8) * 255).astype(np.uint8)
            Image.fromarray(brightness).save(folder / f"{number:03}.png", optimize=True)
            table.writerow((f"{number:03}.png", digits.target[row]))
    print(f"right on {trained.score(pixels[-HELD_BACK:], digits.target[-HELD_BACK:]):.0%}")


def as_onnx(trained: MLPClassifier) -> onnx.ModelProto:
    """The same layers as a graph: pixels → hidden → probabilities."""
    (first, second), (first_bias, second_bias) = trained.coefs_, trained.intercepts_
    weights = {"w1": first, "b1": first_bias, "w2": second, "b2": second_bias}
    nodes = [
        helper.make_node("Gemm", ["pixels", "w1", "b1"], ["sums"]),
        helper.make_node("Relu", ["sums"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "w2", "b2"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(np.float32(value), name) for name, value in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return made


if __name__ == "__main__":
    main(*sys.argv[1:])
