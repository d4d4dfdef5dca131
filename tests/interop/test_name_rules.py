import pytest

from jaxcnn.interop.name_rules import Rule, library_name
from jaxcnn.interop.name_tables import LIBRARIES
from jaxcnn.models import list_models


def name(key, path=r"stage(\d+)/block(\d+)"):
    return lambda *numbers: library_name((Rule(path, key),), "stage{}/block{}".format(*numbers))[0]


@pytest.mark.parametrize(
    ("key", "numbers", "expected"),
    [
        ("layer{0}.{1}", (2, 3), "layer2.3"),
        ("layer{0}.{1:0}", (2, 1), "layer2.0"),
        ("layer{0:0}.{1:0}", (10, 12), "layer9.11"),
        ("inception{0:3}{1:a}", (1, 1), "inception3a"),
        ("inception{0:3}{1:a}", (3, 2), "inception5b"),
        ("mixed_{1:b}{0:12}", (2, 4), "mixed_e13"),
        ("same", (7, 7), "same"),
        ("{1}.{0}.{1:0}", (1, 2), "2.1.1"),
    ],
)
def test_a_template_says_what_one_is_called(key, numbers, expected):
    assert name(key)(*numbers) == expected


def test_words_of_a_path_go_into_the_name_as_they_are():
    rules = (Rule(r"layer(\d)/(norm|conv)", "l{0:0}.{1}"),)
    assert library_name(rules, "layer1/norm")[0] == "l0.norm"


def test_the_first_rule_that_reads_the_whole_path_counts():
    rules = (Rule(r"stem/conv", "first"), Rule(r"stem/(\w+)", "second"), Rule(r"stem.*", "third"))
    assert library_name(rules, "stem/conv") == ("first", rules[0])
    assert library_name(rules, "stem/norm") == ("second", rules[1])
    assert library_name(rules, "stem/conv/conv") == ("third", rules[2])
    for path in ("a/stem/conv", "ste"):
        with pytest.raises(KeyError, match=path):
            library_name(rules, path)


def test_every_network_of_a_table_is_one_of_ours():
    assert {n.model for networks in LIBRARIES.values() for n in networks.values()} <= {
        *list_models()
    }
