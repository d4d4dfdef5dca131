"""Reads the network and the weights of an ONNX file, and compares it with ours."""
