"""Writes `onnx_references/`: files that torch exported, and the logits of their networks.

Run by hand, with torch, torchvision, timm, onnx and onnxscript (the files there are of torch 2.14.1
and torchvision 0.29.1):

  python -m tests.interop.make_onnx_references [NAME…]

The small networks are torchvision's own classes with fewer features. Each is exported three times:
"folded" and "kept" by the exporter of TorchScript (without and with BatchNorm), "dynamo" by that of
torch.export. The large ones are torchvision's and timm's networks as they are. Of their files only
the graph is stored, without the numbers.
"""

import copy
import lzma
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import timm
import torch
import torchvision
from torch import nn
from torchvision.models import densenet, resnet, vgg
from torchvision.models.googlenet import GoogLeNet, Inception

FOLDER = Path(__file__).parent / "onnx_references"
EXPORTS = {
    "folded": {"dynamo": False},
    "kept": {"dynamo": False, "training": torch.onnx.TrainingMode.TRAINING},
    "dynamo": {"dynamo": True, "external_data": False},
}


class SmallResNet(resnet.ResNet):
    """torchvision's, with fewer features, which double from stage to stage."""

    def __init__(self, block, stage_sizes, width, groups=1):
        super().__init__(block, [1, 1, 1, 1], 10, groups=groups)
        self.inplanes = width
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        for i, size in enumerate(stage_sizes):
            stage = self._make_layer(block, width * 2**i, size, stride=1 if i == 0 else 2)
            setattr(self, f"layer{i + 1}", stage)
        self.fc = nn.Linear(8 * width * block.expansion, 10)


def small_vgg():
    layers = vgg.make_layers([4, "M", 8, 8, "M"], batch_norm=True)
    net = vgg.VGG(layers, num_classes=10)
    net.avgpool = nn.AdaptiveAvgPool2d((2, 2))
    net.classifier[0], net.classifier[3] = nn.Linear(8 * 2 * 2, 16), nn.Linear(16, 12)
    net.classifier[6] = nn.Linear(12, 10)
    return net


def small_alexnet():
    net = torchvision.models.alexnet(num_classes=10)
    sizes = {0: (3, 8, 11, 4, 2), 3: (8, 12, 5, 1, 2), 6: (12, 16, 3, 1, 1), 8: (16, 12, 3, 1, 1)}
    for number, size in (*sizes.items(), (10, (12, 8, 3, 1, 1))):
        net.features[number] = nn.Conv2d(*size)
    net.avgpool = nn.AdaptiveAvgPool2d((2, 2))
    net.classifier[1], net.classifier[4] = nn.Linear(8 * 2 * 2, 16), nn.Linear(16, 12)
    net.classifier[6] = nn.Linear(12, 10)
    return net


def small_googlenet():
    net = GoogLeNet(10, aux_logits=False, transform_input=True, init_weights=False)
    channels = 192
    for name, _ in list(net.named_children()):
        if name.startswith("inception"):
            setattr(net, name, Inception(channels, 4, 2, 4, 2, 4, 4))
            channels = 16
    net.fc = nn.Linear(channels, 10)
    for parameter in net.parameters():  # few different values: the file can be compressed
        parameter.data = torch.round(parameter.data * 16) / 16
    return net


SMALL = {
    "resnet": (lambda: SmallResNet(resnet.BasicBlock, [1, 2, 1, 1], 4), 64),
    "resnext": (lambda: SmallResNet(resnet.Bottleneck, [1, 1, 1, 1], 2, groups=2), 64),
    "densenet": (lambda: densenet.DenseNet(4, (2, 2), 8, num_classes=10), 64),
    "vgg": (small_vgg, 16),
    "alexnet": (small_alexnet, 95),
    "googlenet": (small_googlenet, 64),
}
LARGE = {
    "resnet50": (lambda: torchvision.models.resnet50(), 64),
    "densenet121": (lambda: torchvision.models.densenet121(), 64),
    "vgg16_bn": (lambda: torchvision.models.vgg16_bn(), 224),
    "alexnet_torchvision": (lambda: torchvision.models.alexnet(), 224),
    "googlenet_torchvision": (
        lambda: torchvision.models.googlenet(aux_logits=False, init_weights=False),
        64,
    ),
    "inception_v3": (
        lambda: torchvision.models.inception_v3(aux_logits=False, init_weights=False),
        96,
    ),
    "mobilenetv1_100": (lambda: timm.create_model("mobilenetv1_100"), 64),
    "resnetv2_50": (lambda: timm.create_model("resnetv2_50"), 64),
    "inception_v4": (lambda: timm.create_model("inception_v4"), 96),
    "inception_resnet_v2": (lambda: timm.create_model("inception_resnet_v2"), 96),
}


def images(size):
    """Two images, whose pixels times 32 are small whole numbers."""
    noise = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    return torch.round(32 * noise).clip(-127, 127) / 32


def with_statistics(net):
    """The network with random BatchNorm, which the export in training mode does not change."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0
            with torch.no_grad():
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return net


def exported(net, given, options):
    """The bytes of a network's file, without notes of the exporter."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.onnx"
        torch.onnx.export(copy.deepcopy(net).eval(), (given,), path, **options)
        model = onnx.load(path)
    graph = model.graph
    del model.metadata_props[:], graph.metadata_props[:], graph.value_info[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer):  # stack traces
        del part.metadata_props[:]
        part.doc_string = ""
    return model.SerializeToString()


def without_numbers(data):
    """A file whose large initialisers have shapes and types alone."""
    model = onnx.ModelProto.FromString(data)
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) > 256:
            tensor.ClearField("raw_data")
    return model.SerializeToString()


def write(name, data):
    path = FOLDER / name
    path.write_bytes(lzma.compress(data, preset=9))
    print(path.name, path.stat().st_size)


def main(names):
    warnings.simplefilter("ignore")
    FOLDER.mkdir(exist_ok=True)
    for name, (make, size) in SMALL.items():
        if names and name not in names:
            continue
        torch.manual_seed(0)
        net, given = with_statistics(make()).eval(), images(size)
        with torch.no_grad():
            logits = net(given).numpy()
        pixels = (32 * given).numpy().astype(np.int8).transpose(0, 2, 3, 1)
        np.savez_compressed(FOLDER / f"{name}.npz", pixels=pixels, logits=logits)
        for kind, options in EXPORTS.items():
            if kind == "kept" and name in ("alexnet", "googlenet"):
                continue  # without BatchNorm; in training mode its graph has other layers
            write(f"{name}-{kind}.onnx.xz", exported(net, given, options))
    for name, (make, size) in LARGE.items():
        if names and name not in names:
            continue
        for kind in ("folded", "dynamo"):
            data = exported(with_statistics(make()), images(size), EXPORTS[kind])
            write(f"{name}-{kind}.graph.xz", without_numbers(data))


if __name__ == "__main__":
    main(sys.argv[1:])
