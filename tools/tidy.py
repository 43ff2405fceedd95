#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The part of docs/style.md that a program can check; runs as a test. Prints path:line: what is
wrong and why.

    tools/tidy.py [--files FILE...]     all files that git knows or would add, or only these
"""

import ast
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]

# ---- who may include whom: the first folder that fits a file's path decides ----------------------
# A folder may always include itself. An entry is a folder, or one header: an interface of values.
PURE_RUNTIME = ["runtime/assert.hpp", "runtime/backoff.hpp"]
MAY_INCLUDE = {
    "proto": [],
    "runtime": ["proto"],
    # store.hpp holds the verbs and values of the store, shim.hpp those of a shim: no socket.
    "broker/core": ["proto", "broker/store/store.hpp", *PURE_RUNTIME],
    "broker/store": ["proto", "runtime"],
    "broker": ["proto", "runtime"],
    "executor/core": ["proto", "shims/shim.hpp", *PURE_RUNTIME],
    "executor": ["proto", "runtime", "shims"],
    "shims": ["proto", "runtime"],
    "autoscaler/core": ["proto", *PURE_RUNTIME],
    "autoscaler/replay": ["proto", "autoscaler/core"],
    # It asks the broker as any client does.
    "autoscaler": ["proto", "runtime", "client/cpp/src/core"],
    "client/cpp/include": ["flame"],
    "client/cpp/src/core": ["proto", *PURE_RUNTIME],
    # A service is the other end of the native shim: one header says how both speak.
    "client": ["proto", "runtime", "flame", "shims/native_protocol.hpp", "autoscaler/replay"],
    "examples": ["flame", "shims/grpc/instance.pb.h"],
}
NEVER_INCLUDED = re.compile(r"(^|/)(app|main)\.hpp$")

# ---- a vendor's headers: these in one file of the tree, the others in one of a folder -
ONE_FILE = {
    "zmq": ["runtime/socket.cpp"],
    "hiredis": ["runtime/redis_connection.cpp"],
    "msgpack": ["proto/codec.cpp"],
    "spdlog": ["runtime/log.cpp"],
    "boost": ["runtime/options.cpp"],
    "curl": ["runtime/http_client.cpp"],
    # gRPC and protobuf: each file that includes one of them takes seconds to compile. The second
    # one is the other end: the service of flmping.
    "grpc": ["shims/grpc/client.cpp", "examples/services/grpc_service.cpp"],
    "grpcpp": [],
    "google": ["shims/grpc/client.cpp", "examples/services/grpc_service.cpp"],
}
ONE_PER_FOLDER = ["yaml-cpp", "nlohmann", "httplib", "prometheus"]
# What protoc generates includes google's.
VENDOR_INCLUDE = r'^#include (?:<([\w-]+)(?:/[^>]*|\.h(?:pp)?)>|"[^"]*\.pb\.h")'
VENDOR_EXCEPTIONS = {
    # The ready file and the HTTP answers: two threads, two shapes, three lines each.
    "broker/app.cpp": "nlohmann",
    # Manifests come in as YAML, rows go out as JSON; cluster.json is the supervisor's.
    "client/flmctl/output.cpp": "nlohmann",
}

# ---- time, chance and shells ---------------------------------------------------------------------
CLOCK = re.compile(
    r"_clock::now|\b(clock_gettime|gettimeofday|random_device|getrandom|s?rand)\b"
    r"|\btime\((nullptr|NULL|0)\)"
)
SLEEP = re.compile(r"\b(sleep_for|sleep_until|usleep|nanosleep)\b|(?<![\w.])sleep\(\w")
SHELL = re.compile(r"(?<![\w.>])(system|popen)\(")
CLOCK_EXCEPTIONS = {
    # A user's program, which says how long its own task took.
    "examples/services/ping.cpp",
    # Linked into programs of users, beside whatever loop they have: no turn of ours has a time.
    "client/cpp/src/service/connection.hpp",
    "client/cpp/src/service/connection.cpp",
    # A thread of the user's that waits with a time limit: condition variables take a time point.
    "client/cpp/src/future.cpp",
    "client/cpp/src/session.cpp",
}
SLEEP_EXCEPTIONS = {
    # Services whose tasks have a duration, and a disk that is slow: sleeping is their work.
    "examples/services/ping.cpp",
    "tests/kill/kill_service.cpp",
    "tests/kill/slow_fsync.cpp",
    "tests/unit/shims/odd_service.cpp",
    # The moment of a kill is what the test draws; it waits for nothing.
    "tests/contract/redis_failures_test.cpp",
}

# ---- sizes ---------------------------------------------------------------------------------------
LINES_MAX, TEST_LINES_MAX, MAIN_LINES_MAX = 800, 1200, 160
FUNCTION_LINES_MAX = 70
COLUMNS_MAX = 100
# Ratchet: a function that was longer when the check came. The number only goes down.
LONG_FUNCTIONS = {}

CPP, HPP = (".cpp",), (".hpp",)
problems = []


def report(path, line, text):
    problems.append(f"{path}:{line}: {text}")


def git_files():
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    out = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=True).stdout
    return [path for path in out.splitlines() if (ROOT / path).is_file()]


def code_of(text):
    """The text with comments and literals blanked, line numbers kept."""
    pattern = re.compile(
        r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"' r'|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.S
    )

    def blank(match):
        found = match[0]
        # 1'000 is a number, not the start of a literal.
        if found[0] == "'" and match.start() and text[match.start() - 1].isdigit():
            return found
        keep = '"' if found[0] in 'R"' else ""
        return keep + "\n" * found.count("\n") + keep

    return pattern.sub(blank, text)


def is_test(path):
    return path.startswith(("tests/", "bench/"))


# ---- checks of one file --------------------------------------------------------------------------


def check_text(path, text):
    lines = text.split("\n")
    limit = MAIN_LINES_MAX if path.endswith("main.cpp") else LINES_MAX
    limit = TEST_LINES_MAX if is_test(path) else limit
    if len(lines) > limit:
        report(path, limit, f"{len(lines)} lines, at most {limit}: split by noun")
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS_MAX:
            report(path, number, f"{len(line)} columns, at most {COLUMNS_MAX}")
        if line != line.rstrip():
            report(path, number, "space at the end")
        if "FIX" + "ME" in line:
            report(path, number, "FIX" + "ME: do it or delete it")
        if re.search(r"\bTODO\b(?!\((perf|safety|cleanup)\): )", line) and path != "tools/tidy.py":
            report(path, number, "write TODO(perf|safety|cleanup): sentence")
    start = 1 if text.startswith("#!") else 0
    marks = [line.lstrip("/# ") for line in lines[start : start + 2]]
    if marks != ["SPDX-License-Identifier: Apache-2.0", "Copyright The Flame Authors"]:
        report(path, 1, "the two-line SPDX header is missing")


def check_includes(path, text):
    includes = [
        (text[: m.start()].count("\n") + 1, m[1], m[2])
        for m in re.finditer(r'^#include ([<"])([^">]+)[">]', text, re.M)
    ]
    if path.endswith(HPP) and "#pragma once" not in text:
        report(path, 1, "#pragma once is missing")
    own = path[:-4] + ".hpp"
    if path.endswith(CPP) and (ROOT / own).exists() and includes:
        first = includes[0][2]
        if not own.endswith(first):
            report(path, includes[0][0], f"{own} comes first: it shows that it stands alone")
    rule = next(
        (
            folder
            for folder in sorted(MAY_INCLUDE, key=len, reverse=True)
            if path.startswith(folder + "/")
        ),
        None,
    )
    for line, mark, name in includes:
        if NEVER_INCLUDED.search(name) and pathlib.Path(path).parent != pathlib.Path(name).parent:
            report(path, line, f"{name}: nobody includes an app or a main")
        if rule and mark == '"' and not may_include(path, rule, name):
            report(path, line, f"{rule}/ may not include {name}")


def may_include(path, rule, name):
    # Inside a component a short path is fine: it cannot leave it.
    near = [ROOT / pathlib.Path(path).parent, ROOT / "client/cpp/src"]
    if any((folder / name).exists() for folder in near):
        return path.startswith("client/cpp/") or (ROOT / name).exists()
    if name.startswith(rule + "/"):
        return True
    return any(name == allowed or name.startswith(allowed + "/") for allowed in MAY_INCLUDE[rule])


def check_words(path, code):
    for number, line in enumerate(code.split("\n"), 1):
        if SHELL.search(line):
            report(path, number, "no shell: arguments from outside would be read by it")
        free = path.startswith("runtime/clock.") or path in CLOCK_EXCEPTIONS or is_test(path)
        if not free and CLOCK.search(line):
            report(path, number, "time and chance are arguments; only runtime/clock reads them")
        if SLEEP.search(line) and path not in SLEEP_EXCEPTIONS:
            report(path, number, "nothing sleeps: wait for a condition or a timer of the loop")


def functions_of(code):
    """(name, first line, last line) of each function body at namespace or class level."""
    stack, start, found = [], 0, []
    for match in re.finditer(r"[{};]", code):
        if match[0] == ";":
            if not any(kind == "function" for kind, _, _ in stack):
                start = match.end()
        elif match[0] == "{":
            head = code[start : match.start()]
            inside = any(kind == "function" for kind, _, _ in stack)
            kind = "block" if inside else kind_of(head)
            begin = start + len(head) - len(head.lstrip())
            stack.append((kind, begin, name_of(head) if kind == "function" else ""))
            if kind != "function" and not inside:
                start = match.end()
        elif stack:
            kind, begin, name = stack.pop()
            if kind == "function":
                last = code.count("\n", 0, match.end()) + 1
                found.append((name, code.count("\n", 0, begin) + 1, last))
            if not any(k == "function" for k, _, _ in stack):
                start = match.end()
    return found


def kind_of(head):
    head = re.sub(r"^\s*(#[^\n]*\n\s*)*", "", head)
    bare = re.sub(r"\b(TEST|TEST_F|TEST_P)\b", "", head)
    if re.search(r"\bnamespace\b|\bextern\s*$", head):
        return "space"
    named = re.match(r"(template\s*<.*>\s*)?(class|struct|union|enum)\b", bare, re.S)
    if named and not re.search(r"\)\s*(const)?\s*$", bare):
        return "type"
    return "function" if "(" in head and not re.search(r"=\s*$", head) else "data"


def name_of(head):
    found = re.search(r"([\w:~]+)\s*\(([^()]*)", head)
    if found and found[1].startswith("TEST"):
        return found[2].replace(", ", ".").strip()
    return found[1] if found else "?"


def check_functions(path, functions):
    for name, first, last in functions:
        size = last - first + 1
        limit = LONG_FUNCTIONS.get(f"{path}:{name}", FUNCTION_LINES_MAX)
        if size > limit:
            report(path, first, f"{name} has {size} lines, at most {limit}")


def python_functions(text):
    return [
        (node.name, node.lineno, node.end_lineno)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]


# ---- checks of the tree --------------------------------------------------------------------------


def check_vendors(sources):
    seen = {}
    for path, text in sources.items():
        if is_test(path):
            continue
        for match in re.finditer(VENDOR_INCLUDE, text, re.M):
            vendor = match[1] or "google"
            line = text[: match.start()].count("\n") + 1
            if vendor in ONE_FILE and path not in ONE_FILE[vendor]:
                files = ", ".join(ONE_FILE[vendor]) or "no file"
                report(path, line, f"<{vendor}> belongs to {files} alone")
            if vendor not in ONE_PER_FOLDER:
                continue
            if path.endswith(HPP):
                report(path, line, f"<{vendor}> in a header: everybody who includes it pays")
            if VENDOR_EXCEPTIONS.get(path) == vendor:
                continue
            other = seen.setdefault((vendor, str(pathlib.Path(path).parent)), path)
            if other != path:
                report(path, line, f"<{vendor}> is in {other} already: one file of a folder")


def check_cmake(sources):
    for path in sources:
        folder = pathlib.Path(path).parent
        lists = []
        while str(folder) != "." and not lists:
            lists = [*(ROOT / folder).glob("CMakeLists.txt"), *(ROOT / folder).glob("*.cmake")]
            if not lists:
                folder = folder.parent
        words = re.split(r"[\s()\"]+", " ".join(found.read_text() for found in lists))
        inside = str(pathlib.Path(path).relative_to(folder))
        known = any(fits(word, inside) for word in words)
        if lists and path.endswith(CPP) and not known:
            report(path, 1, f"not listed in {folder}/CMakeLists.txt: nobody builds it")


def fits(word, name):
    """`fuzz_${name}.cpp` stands for each of its loop."""
    if "$" not in word:
        return word == name
    return re.fullmatch(r".+".join(map(re.escape, re.split(r"\$\{\w+\}", word))), name)


def check_readme(files):
    readme = ROOT / "README.md"
    if not readme.exists():
        return
    folders = {path.split("/")[0] for path in files if "/" in path and not path.startswith(".")}
    listed = set(re.findall(r"^\| `([\w-]+)/` \|", readme.read_text(), re.M))
    for folder in sorted(folders - listed):
        report("README.md", 1, f"{folder}/ is missing in the folder table")
    for folder in sorted(listed - folders):
        report("README.md", 1, f"{folder}/ is in the folder table and not in the tree")


def main():
    files = git_files()
    chosen = set(sys.argv[2:]) if sys.argv[1:2] == ["--files"] else None
    sources = {path: (ROOT / path).read_text() for path in files if path.endswith(CPP + HPP)}
    for path, text in sources.items():
        code = code_of(text)
        check_text(path, text)
        check_includes(path, text)
        check_words(path, code)
        check_functions(path, functions_of(code))
    for path in files:
        text = (ROOT / path).read_text() if path.endswith(".py") else ""
        if text:
            check_text(path, text)
            check_functions(path, python_functions(text))
    check_vendors(sources)
    check_cmake(sources)
    check_readme(files)
    shown = [problem for problem in problems if chosen is None or problem.split(":")[0] in chosen]
    print("\n".join(shown) or f"{len(sources)} C++ files and the tree are tidy")
    return 1 if shown else 0


if __name__ == "__main__":
    sys.exit(main())
