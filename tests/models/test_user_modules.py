"""A network of the registry inside somebody else's module: a submodule as any other."""

from functools import partial

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from jaxcnn.errors import UserError
from jaxcnn.interop.exchange import create_library_model
from jaxcnn.models import MODELS, create_model
from jaxcnn.models.densenet import cifar_densenet
from jaxcnn.models.identity_mappings import cifar_resnet_v2
from jaxcnn.models.preact_resnet import PreActBasicBlock, cifar_preact_resnet
from jaxcnn.models.resnet import ResNet

IMAGES = jnp.linspace(-1, 1, 2 * 8 * 8 * 3).reshape(2, 8, 8, 3)
FIELDS = {"stage_sizes": (1,), "width": 4}


def network(**fields):
    return create_model("cifar_resnet20", 3, **FIELDS, **fields)


def twin(**fields):
    """The same network by its class."""
    given = {
        name: getattr(network(parent=None), name) for name in ("block", "cifar_stem", "shortcut")
    }
    return ResNet(num_classes=3, **FIELDS, **given, **fields)


class Compact(nn.Module):
    make: type = network

    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(2)(self.make(name="body")(x, train))


class Unnamed(nn.Module):
    make: type = network

    @nn.compact
    def __call__(self, x, train=False):
        return self.make()(x, train) + self.make()(x, train)


class SetUp(nn.Module):
    make: type = network

    def setup(self):
        self.body = self.make()
        self.several = [self.make(), self.make()]

    def __call__(self, x, train=False):
        return self.body(x, train) + self.several[1](x, train)


class Handed(nn.Module):
    """A network made outside is its submodule by the name of the field."""

    make: type = network
    body: nn.Module | None = None

    @nn.compact
    def __call__(self, x, train=False):
        body = self.make(parent=None) if self.body is None else self.body
        return body.clone(name="own", parent=self)(x, train)


class Nested(nn.Module):
    make: type = network

    @nn.compact
    def __call__(self, x, train=False):
        return Compact(self.make, name="inner")(x, train)


class Remat(nn.Module):
    make: type = network

    @nn.compact
    def __call__(self, x, train=False):
        return nn.remat(Compact, static_argnums=2)(self.make, name="inner")(x, train)


class Turn(nn.Module):
    make: type = network

    @nn.compact
    def __call__(self, carry, _):
        return carry + self.make(name="body")(carry).mean(), None


class Scan(nn.Module):
    make: type = network

    @nn.compact
    def __call__(self, x, train=False):
        axes = {"params": 0, "batch_stats": 0}
        loop = nn.scan(Turn, variable_axes=axes, split_rngs={"params": True}, length=2)
        return loop(self.make, name="loop")(x, None)[0]


@pytest.mark.parametrize("module", [Compact, Unnamed, SetUp, Handed, Nested, Remat, Scan])
def test_a_network_is_a_submodule_as_one_of_its_class(module):
    def run(make):
        variables = module(make).init(jax.random.key(0), IMAGES)

        def loss(params):
            applied = {**variables, "params": params}
            return jnp.sum(module(make).apply(applied, IMAGES, mutable=["batch_stats"])[0])

        return variables, jax.grad(loss)(variables["params"])

    assert jax.eval_shape(partial(run, network)) == jax.eval_shape(partial(run, twin))


def test_its_parameters_lie_under_its_name():
    shapes = jax.eval_shape(partial(Compact().init, jax.random.key(0)), IMAGES)
    assert set(shapes["params"]) == {"body", "Dense_0"}
    assert "stage1" in shapes["batch_stats"]["body"]
    assert create_model("resnet18", name="body").name == "body"
    assert create_library_model("timm", "resnet18", name="body").name == "body"


class FromLibrary(nn.Module):
    @nn.compact
    def __call__(self, x):
        return create_library_model("torchvision", "resnet18", 0, name="body", **FIELDS)(x)


def test_a_library_s_network_is_a_submodule_too():
    shapes = jax.eval_shape(partial(FromLibrary().init, jax.random.key(0)), IMAGES)
    assert set(shapes["params"]) == {"body"}


@pytest.mark.parametrize(
    ("name", "fields", "derived"),
    [
        ("densenet_40_12", {"bottleneck": True}, {"stage_sizes": (6, 6, 6), "stem_features": 16}),
        ("densenet_40_12", {"bc": True}, {"stage_sizes": (6, 6, 6), "compression": 0.5}),
        ("densenet_bc_100_12", {"bottleneck": False}, {"stage_sizes": (32, 32, 32)}),
        ("densenet_40_12", {"depth": 100, "growth_rate": 24}, {"stage_sizes": (32, 32, 32)}),
        ("densenet121", {"depth": 161}, {"growth_rate": 48, "stage_sizes": (6, 12, 36, 24)}),
        ("cifar_resnet20", {"depth": 110}, {"stage_sizes": (18, 18, 18)}),
        ("cifar_resnet110_sd", {"depth": 20}, {"stage_sizes": (3, 3, 3), "shortcut": "average"}),
        ("cifar_resnet110_v2", {"bottleneck": True}, {"stage_sizes": (12,) * 3, "shortcut": "B"}),
        ("wrn_28_10", {"width_multiplier": 4}, {"width": 64}),
        ("wide_resnet50_2", {"width_multiplier": 3}, {"base_width": 192}),
        ("resnext50_32x4d", {"cardinality": 2, "base_width": 40}, {"cardinality": 2}),
        ("resnet50", {"depth": 18}, {"stage_sizes": (2, 2, 2, 2)}),
        ("resnet18_v2", {"depth": 200}, {"stage_sizes": (3, 24, 36, 3)}),
        ("vgg11", {"depth": 19}, {"stage_sizes": (2, 2, 4, 4, 4)}),
        ("dfn_fuse3_d20", {"depth": 26}, {"bases": ((8, 8, 8), (1, 1, 1))}),
        ("highway_mnist_w16", {"width": 5}, {"stage_features": (5, 5, 5)}),
        ("fractalnet_narrow_c1", {"stage_features": (8, 8)}, {"dropout_rates": (0.0, 0.0)}),
        ("fractalnet34", {"stage_features": (8, 8)}, {"dropout_rates": (0.0, 0.0)}),
        ("resnet50_v1", {"zero_init_last": True}, {"stage_sizes": (3, 4, 6, 3)}),
    ],
)
def test_what_follows_from_a_field_follows(name, fields, derived):
    model = create_model(name, **fields)
    assert {field: getattr(model, field) for field in derived} == derived


def test_overrides_are_those_of_the_family_s_constructor():
    assert create_model("densenet_40_12", bottleneck=True) == cifar_densenet(
        40, 12, bottleneck=True
    )
    v2 = create_model("cifar_resnet110_v2", block=PreActBasicBlock, bottleneck=True)
    assert v2 == cifar_preact_resnet(110, True, block=PreActBasicBlock)
    variant = create_model("cifar_resnet110_v2", ordering="original", gate="shortcut")
    assert variant == cifar_resnet_v2(110, ordering="original", gate="shortcut")
    with pytest.raises(UserError, match=r"PreActResNet.* has no field 'gate'"):
        create_model("cifar_resnet110_v2", gate="shortcut")


@pytest.mark.parametrize("name", MODELS)
def test_every_field_can_be_set_to_what_it_is(name):
    """A row that gives a field by position would take it twice."""
    plain = create_model(name, parent=None)
    fields = {field: getattr(plain, field) for field in plain.__dataclass_fields__}
    assert create_model(name, **fields) == plain


def test_a_depth_that_does_not_go_with_a_field_is_said():
    with pytest.raises(UserError, match=r"6n\+4"):
        create_model("densenet_40_12", depth=43, bottleneck=True)
