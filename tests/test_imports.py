"""Who may import whom, read from the sources."""

import ast
import collections
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "jaxcnn"
FILES = sorted(PACKAGE.rglob("*.py"))

BASE = {"jaxcnn.errors", *sys.stdlib_module_names, "jax", "flax", "numpy"}
# Each room, or file, may import those above it in this list and itself.
ORDER = (
    "errors",
    "config.spec",  # declares a field of a section
    "io",
    "ops",
    "layers",
    "models",
    "analysis",
    "attribution",
    "interop.name_rules interop.name_tables interop.exchange interop.onnx interop.transfer"
    " interop.keras interop.keras_names interop.keras_tables",
    "figures",
    "data",
    "training.lengths training.fields training.schedules training.losses training.metrics"
    " training.optim training.state",
    "evaluation.multicrop evaluation.fields",  # an evaluation step takes the mean over views
    "training.steps",
    "run.preemption run.cli run.compiler_options run.program_cache run.distributed"
    " run.versions run.fields",
    "interop",
    "pretrained",
    "evaluation.report",
    "config",
    "training.averages training.initialize evaluation.evaluator training.selection",
    "run",
    "evaluation",
    "inspection",
    "reporting",
    "config.programs",
    "training",
    "ablation",
    "benchmark",
    "ablate doctor explain export features flow main predict preview probe report summary",
)
FIELDS_OF_MODELS = PACKAGE / "models" / "fields.py"
COMMANDS = ("data.prepare.__main__", "interop.convert", "benchmark.__main__")
TEXT_MODES = {repr(mode) for mode in ("r", "w", "a", "x", "a+", "r+", "w+")}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


@functools.cache
def nodes(path):
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


@functools.cache
def imports(path):
    """Full names of all that a file imports, anywhere in it: modules, or modules of the names."""
    found = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in MODULES else node.module)
    return found


def within(name, roots):
    return any(name == root or name.startswith(f"{root}.") for root in roots)


def offending(paths, allowed):
    return {
        f"{module_name(path)} imports {name}"
        for path in paths
        for name in imports(path)
        if not allowed(name)
    }


def test_the_reader_of_imports_reads_them(tmp_path):
    source = tmp_path / "x.py"
    source.write_text(
        "import a.b\ndef f():\n    from jaxcnn.training import steps\n    from c import d\n"
    )
    assert imports(source) == {"a.b", "jaxcnn.training.steps", "c"}
    assert len(FILES) > 20


@pytest.mark.parametrize(
    ("room", "below"),
    [
        ("ops", {"jaxcnn.ops"}),
        ("layers", {"jaxcnn.ops", "jaxcnn.layers"}),
        ("models", {"jaxcnn.ops", "jaxcnn.layers", "jaxcnn.models"}),
        ("analysis", {"jaxcnn.ops", "jaxcnn.layers", "jaxcnn.models", "jaxcnn.analysis"}),
        ("attribution", {"jaxcnn.ops", "jaxcnn.analysis", "jaxcnn.attribution", "optax"}),
    ],
)
def test_networks_import_only_downwards_and_only_jax_flax_numpy(room, below):
    files = set((PACKAGE / room).rglob("*.py")) - {FIELDS_OF_MODELS}
    assert files
    assert not offending(files, lambda name: within(name, BASE | below))


def test_the_fields_of_models_import_only_their_declaration():
    assert imports(FIELDS_OF_MODELS) - set(sys.stdlib_module_names) - {"collections.abc"} == {
        "jaxcnn.config.spec"
    }


def year(path):
    found = re.search(r"\b(?:19|20)\d\d\b", ast.get_docstring(ast.parse(path.read_text())) or "")
    return int(found[0]) if found else None


def test_a_paper_imports_no_later_one():
    papers = {
        name: year(path) for name, path in MODULES.items() if name.startswith("jaxcnn.models.")
    }
    assert papers["jaxcnn.models.lenet"] == 1998
    assert papers["jaxcnn.models.densenet"] == 2016
    later = {
        f"{name} ({own}) imports {other} ({papers[other]})"
        for name, own in papers.items()
        for other in imports(MODULES[name])
        if own and papers.get(other) and papers[other] > own
    }
    assert not later


def place(name):
    """Position of a module in the order; the longest entry that fits counts."""
    names = {one: number for number, line in enumerate(ORDER) for one in line.split()}
    module = name.removeprefix("jaxcnn.")
    return names[max((one for one in names if within(module, [one])), key=len)]


@pytest.mark.slow
def test_imports_go_downwards():
    found = {
        f"{name} imports {other}".replace("jaxcnn.", "")
        for name, path in MODULES.items()
        for other in imports(path) & MODULES.keys() - {"jaxcnn"}
        if name != "jaxcnn"
        and name.removeprefix("jaxcnn.") not in COMMANDS
        and place(other) > place(name)
    }
    assert not found


def test_the_page_on_the_design_has_the_same_order_and_names_all_folders():
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    table = text[text.index("| from top to bottom") :].partition("\n\n")[0].splitlines()[2:]
    rows = []
    for line in table:
        first, second = (cell.strip() for cell in line.strip("|").split("|"))
        named = re.findall(r"`([^`]+)`", second if first == "commands" else first)
        rooms = [name.rstrip("/").replace("/", ".") for name in named]
        rows.append({one for room in rooms for one in expanded(room)})
    assert rows[::-1] == [set(entry.split()) for entry in ORDER]
    folders = {
        path.parent.relative_to(PACKAGE).parts[0] for path in FILES if path.parent != PACKAGE
    }
    assert {name for name in folders if f"`{name}/`" not in text.partition("## ")[0]} == set()
    named = set(re.findall(r"`([a-z_]+\.py)`", text))
    assert named - {path.name for path in FILES} - {"test_imports.py"} == set()


def test_no_folder_has_more_than_15_files():
    """Besides the papers: one file for each network, and one for its recipe."""
    counts = collections.Counter(path.parent.relative_to(PACKAGE).as_posix() for path in FILES)
    assert {folder for folder, count in counts.items() if count > 15} == {
        "models",
        "config/recipes",
    }


def expanded(room):
    """Returns "a.b", "a.c" of "a.{b,c}"."""
    start, brace, rest = room.partition("{")
    return [start + name for name in rest.rstrip("}").split(",")] if brace else [room]


def test_nothing_imports_the_command_line():
    assert not offending(FILES, lambda name: not within(name, ["jaxcnn.main"]))
    found = offending(FILES, lambda name: not within(name, ["jaxcnn.config.flags"]))
    assert found == {f"jaxcnn.{name} imports jaxcnn.config.flags" for name in ("main", "preview")}


def test_config_dicts_are_known_in_config_and_the_commands_only():
    known = {"config", "main"}
    rest = [
        path for path in FILES if path.relative_to(PACKAGE).parts[0].partition(".")[0] not in known
    ]
    assert not offending(rest, lambda name: not within(name, ["ml_collections"]))


def test_a_pure_step_knows_no_files_and_no_devices():
    known = {
        name for name in imports(MODULES["jaxcnn.training.steps"]) if not name.startswith("jaxcnn.")
    }
    pure = {"contextlib", "dataclasses", "collections.abc", "functools", "typing"}
    pure |= {"jax", "jax.numpy", "optax", "chex", "flax"}
    assert known <= pure


# What only `run.distributed` may ask or use.
OF_DEVICES = {
    f"jax.{name}"
    for name in (
        "default_backend",
        "device_count",
        "devices",
        "distributed",
        "local_device_count",
        "local_devices",
        "process_count",
        "process_index",
        "process_indices",
        "experimental.multihost_utils",
    )
}


def asks_devices(path):
    last = {name.rpartition(".")[2] for name in OF_DEVICES}
    used = {
        ast.unparse(node)
        for node in nodes(path)
        if isinstance(node, ast.Attribute) and node.attr in last
    }
    used |= {
        f"{node.module}.{alias.name}"
        for node in nodes(path)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    return bool(used & OF_DEVICES)


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("import jax\nx = jax.devices()[0]", True),
        ("from jax import devices", True),
        ("x = 1", False),
    ],
)
def test_what_asks_devices_is_seen(tmp_path, text, asks):
    (tmp_path / "x.py").write_text(text)
    assert asks_devices(tmp_path / "x.py") == asks


@pytest.mark.slow
def test_devices_and_processes_are_asked_in_one_file():
    files = [*FILES, *(ROOT / "launch").glob("*.py"), *(ROOT / "configs").rglob("*.py")]
    found = {path.relative_to(ROOT).as_posix() for path in files if asks_devices(path)}
    assert found == {"jaxcnn/run/distributed.py"}


def test_files_are_replaced_in_one_place():
    """By `io.atomic`, or by what has a reason of its own to rename."""
    renames = {
        path.relative_to(PACKAGE).as_posix()
        for path in FILES
        for node in nodes(path)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and (
            node.func.attr in ("rename", "renames")
            or ast.unparse(node.func) in ("os.replace", "shutil.move", "partial.replace")
        )
    }
    shards = "data/prepare/workspace.py"  # of array_record, which opens a file by its name
    orbax = {f"run/checkpoint/{name}.py" for name in ("checkpoints", "retention")}  # its folders
    downloads = "pretrained/fetch.py"  # a partial file that another process may continue
    assert renames == {"io/atomic.py", shards, downloads, *orbax}


def test_tensorflow_torch_and_pickle_are_never_imported():
    never = ("tensorflow", "torch", "pickle", "cloudpickle", "dill")
    files = [*FILES, *(ROOT / "configs").rglob("*.py")]
    # The exceptions read torch's own files, with torch's own safe reader, and measure beside it.
    readers = ("interop.weight_files", "benchmark.feed", "benchmark.operations", "benchmark.peers")
    found = offending(files, lambda name: not within(name, never))
    # A process sends its own workers what they shall do; nothing of that comes from a file.
    own = {"jaxcnn.data.worker imports cloudpickle"}
    assert found == own | {f"jaxcnn.{module} imports torch" for module in readers}
    reader = MODULES["jaxcnn.interop.weight_files"].read_text()
    assert reader.count("torch.load(") == reader.count("weights_only=True") == 1


def test_text_files_have_an_encoding_of_their_own():
    """Whatever the locale is: a file is read on another machine."""
    methods = ("read_text", "write_text")
    lacking = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in [*FILES, *(ROOT / "launch").glob("*.py")]
        for node in nodes(path)
        if isinstance(node, ast.Call)
        and (isinstance(node.func, ast.Attribute) and node.func.attr in (*methods, "open"))
        and (node.func.attr in methods or any(ast.unparse(one) in TEXT_MODES for one in node.args))
        and ast.unparse(node.func.value)
        not in ("os", "gzip", "lzma", "tarfile", "archive", "safe_files")
        and "encoding" not in {keyword.arg for keyword in node.keywords}
    ]
    assert not lacking


def test_a_config_file_needs_the_package_only():
    files = sorted((ROOT / "configs").rglob("*.py"))
    assert files
    allowed = {*sys.stdlib_module_names, "jaxcnn", "ml_collections"}
    assert not offending(files, lambda name: within(name, allowed))


def modules_after(*statements):
    program = "; ".join(["import sys", *statements, "print(*sorted(sys.modules))"])
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    return set(done.stdout.split())


@pytest.mark.slow
def test_importing_the_package_costs_jax_and_flax():
    loaded = modules_after("import jaxcnn", "jaxcnn.create_model('densenet121')")
    assert "jaxcnn.models.densenet" in loaded
    never = "optax", "orbax", "ml_collections", "absl.app", "PIL", "sklearn", "grain"
    for name in (*never, "tensorflow_datasets", "tensorflow", "torch"):
        assert name not in loaded


@pytest.mark.slow
def test_training_never_loads_tensorflow_or_torch():
    loaded = modules_after("import jaxcnn.training.train, jaxcnn.evaluation.evaluate, jaxcnn.main")
    for name in ("tensorflow", "torch", "tensorflow_datasets", "grain", "sklearn", "matplotlib"):
        assert name not in loaded


@pytest.mark.slow
def test_importing_a_module_defines_no_flags():
    names = sorted(name for name in MODULES if not name.endswith("__main__"))
    program = (
        "import importlib, sys\n"
        "from absl import app, flags\n"
        "from ml_collections import config_flags\n"
        "import jax, orbax.checkpoint\n"
        "before = set(flags.FLAGS)\n"
        f"for name in {names}:\n"
        "    importlib.import_module(name)\n"
        "print(*(flag for flag in flags.FLAGS if any('jaxcnn' in module for module, defined in"
        " flags.FLAGS.flags_by_module_dict().items() if flag in {one.name for one in defined})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    assert not done.stdout.split()
