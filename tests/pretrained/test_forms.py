"""A small member of each family and each form of file: downloaded, verified, converted."""

import dataclasses

import jax
import numpy as np
import pytest

import jaxcnn
from jaxcnn.errors import UserError
from jaxcnn.pretrained import download
from tests.marks import slow
from tests.pretrained.server import COMMIT, REPOSITORY
from tests.pretrained.small import FAMILIES, make

constants = pytest.importorskip("huggingface_hub.constants")
FORMS = {"resnet50_v2", "resnet18", "resnet50", "resnet34"}  # timm, torchvision, Keras, ONNX


@pytest.mark.slow
@pytest.mark.parametrize("network", [one if one in FORMS else slow(one) for one in FAMILIES])
def test_a_name_becomes_its_network(network, server, table, tmp_path, monkeypatch):
    made = make(network, tmp_path / "made")
    content = (tmp_path / "made" / made.name / made.info.file).read_bytes()
    server.content, server.etag, server.linked = content, '"e"', made.info.sha256
    where = {"url": f"{server.address}/files/{made.info.file}"}
    if made.info.library == "timm":  # by the hub's own client
        where = {"url": "", "repository": REPOSITORY, "revision": COMMIT}
    info = dataclasses.replace(made.info, bytes=len(content), **where)
    table(info)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(download, "PAUSE", 0.0)
    monkeypatch.setenv("JAXCNN_CACHE", str(tmp_path / "cache"))

    _, variables = jaxcnn.create_pretrained(info.name, allow_noncommercial=True)
    jax.tree.map(np.testing.assert_array_equal, variables, made.variables)
    count = len(server.requests)
    jaxcnn.create_pretrained(info.name, allow_noncommercial=True)
    assert len(server.requests) == count

    changed = bytearray(content)
    changed[len(content) // 2] ^= 1
    server.content = bytes(changed)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "other hub"))
    monkeypatch.setenv("JAXCNN_CACHE", str(tmp_path / "other"))
    with pytest.raises(UserError, match="SHA-256"):
        jaxcnn.create_pretrained(info.name, allow_noncommercial=True)
    assert not list((tmp_path / "other").rglob(info.file))
