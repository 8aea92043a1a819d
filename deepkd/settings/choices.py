"""Choices that several commands offer."""

DEVICES = ("auto", "cpu", "cuda")
RUNTIMES = ("onnxruntime", "openvino")
LAYOUTS = ("auto", "faceforensics", "celeb-df", "dfdc", "folder")
