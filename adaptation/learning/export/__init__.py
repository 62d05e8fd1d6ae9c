"""Releases for serving: ONNX, OpenVINO, TensorRT or TorchScript engines, checked against the network."""
