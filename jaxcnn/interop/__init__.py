"""Imports and exports weights of other libraries."""

from jaxcnn.interop.exchange import from_torch, to_torch
from jaxcnn.interop.keras import from_keras
from jaxcnn.interop.onnx_weights import from_onnx
from jaxcnn.interop.weight_files import read_weights, write_weights

__all__ = ["from_keras", "from_onnx", "from_torch", "read_weights", "to_torch", "write_weights"]
