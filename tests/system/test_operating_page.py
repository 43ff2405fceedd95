# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""docs/operating.md names what there is: every option and every metric, and nothing more."""

import pathlib
import re
import urllib.request

import pytest

PAGE = (pathlib.Path(__file__).resolve().parents[2] / "docs/operating.md").read_text()


def options_in(help_text):
    return set(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", help_text, re.MULTILINE)) - {"--help"}


PROGRAMS = [["flame-broker"], ["flame-executor"], ["flame-autoscaler"], ["flmctl", "up"]]
PROGRAMS += [["flmping"], ["flmexec"]]
OF_EVERY_VERB = {"--output", "--endpoint", "--cluster", "--timeout"}
SELECTORS = {"--session", "--application", "--executor", "--task"}
ELSEWHERE = {"up", "down", "status", "scale"}  # sections of their own


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_option_stands_on_the_page(cluster, program):
    done = cluster.run(*program, "--help")
    found = options_in(done.out)
    assert len(found) >= 6, done
    assert {option for option in found if f"`{option}" not in PAGE} == set()
    assert all(len(line) <= 80 for line in done.out.splitlines()), done


def test_every_verb_stands_on_the_page_with_its_options(cluster):
    overview = cluster.flmctl("--help").out
    verbs = set(re.findall(r"^  ([a-z]+) {2,}\S", overview, re.MULTILINE))
    assert verbs >= {"list", "submit", "recover"} | ELSEWHERE, overview
    for verb in verbs - ELSEWHERE:
        rows = "\n".join(re.findall(rf"^\|[^\n]*`flmctl {verb}\b[^\n]*", PAGE, re.MULTILINE))
        found = options_in(cluster.flmctl(verb, "--help").out) - OF_EVERY_VERB - SELECTORS
        assert rows and {option for option in found if option not in rows} == set(), verb


def test_the_page_has_no_option_that_does_not_exist(cluster):
    known = set()
    for program in PROGRAMS:
        known |= options_in(cluster.run(*program, "--help").out)
    rows = re.findall(r"^\| (`--[^|]*)\|", PAGE, re.MULTILINE)
    named = set(re.findall(r"--[a-z-]+", " ".join(rows))) - {"--help", "--slots 5"}
    assert named - known == set()


def test_every_metric_stands_on_the_page_with_its_type(running):
    with urllib.request.urlopen(running.file["http"] + "/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = set(re.findall(r"^# TYPE (\w+) (\w+)", text, re.MULTILINE))
    on_page = set(re.findall(r"^\| `(flame_\w+)` \| (\w+)", PAGE, re.MULTILINE))
    assert found == on_page


def test_help_of_the_other_tools_fits_a_terminal(cluster):
    for program in (["flmctl"], ["flmping"], ["flmexec"]):
        text = cluster.run(*program, "--help").out
        assert text and all(len(line) <= 80 for line in text.splitlines()), text
