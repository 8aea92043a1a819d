"""Choices that several commands offer."""

from deepkd.data import datasets

DEVICES = ("auto", "cpu", "cuda")
RUNTIMES = ("onnxruntime", "openvino")
LAYOUTS = ("auto", *datasets.LAYOUTS)
"""Layouts of source folders."""
