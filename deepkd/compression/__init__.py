"""Making a trained model smaller, and writing it as ONNX."""
