#!/usr/bin/env python3
"""The style of the house as a test: layers, owners of libraries, lengths, coroutine rules, transcripts, RFC table.

    tidy.py [--root DIR]              checks everything; prints "file:line: sentence" for each sin; exit 1 on any
    tidy.py --write-readme            writes the table of RFCs in protocols/README.md anew, then checks

Heuristics on text, not a compiler: comments and literals are blanked out first. selftest.py plants one sin for each
check and fails where it is not seen.
"""
import argparse
import fnmatch
import os
import re
import sys

import standard

PRODUCT = ("protocols", "storage", "server", "relay", "admin")
CPP_LINES_MAX = 600
HEADER_LINES_MAX = 250
FUNCTION_LINES_MAX = 70
COLUMNS_MAX = 120
# Paths that exist on one machine only. Spelled in two halves so that this file may be checked too.
MACHINE_PATHS = re.compile("/" + "work/(?:main|shared)|/tmp/" + "build-|/" + r"root/|\.pyenv" + "/shims")
README_START = "<!-- table of RFCs: written by tests/tidy/tidy.py --write-readme -->"
README_INTRO = """# protocols

The languages of mail and the means to speak them. Nothing here opens a file or a database or knows of accounts.
Each room's main header says what it does, which RFCs it obeys, and what it leaves to others.

The table names, for each RFC, the files of the whole program that cite it beside the code that obeys it.

"""


INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">\n]+)[">]', re.M)


class Source:
    """One file: its text, the text without comments, and the text without comments and literals."""

    def __init__(self, root, path):
        self.path = path
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as handle:
            self.text = handle.read()
        self.lines = self.text.split("\n")
        self.is_cpp = path.endswith((".h", ".cpp"))
        self.code, self.bare = strip(self.text) if self.is_cpp else (self.text, self.text)

    def line_of(self, position):
        return self.text.count("\n", 0, position) + 1


LEXEME = re.compile(
    r"""//[^\n]*|/\*.*?\*/|(?:u8|u|U|L)?R"(?P<d>[^()\s\\]{0,16})\(.*?\)(?P=d)"|"(?:\\.|[^"\\\n])*"|"""
    r"""(?<![0-9A-Fa-f])'(?:\\.|[^'\\\n])*'""", re.S)


def strip(text):
    """(without comments, without comments and literals); both keep every position and line."""
    def blank(piece):
        return re.sub(r"[^\n]", " ", piece)

    def no_comment(match):
        return blank(match.group()) if match.group().startswith(("//", "/*")) else match.group()

    def no_literal(match):
        piece = match.group()
        if piece.startswith(("//", "/*")):
            return blank(piece)
        return piece[0] + blank(piece[1:-1]) + piece[-1]

    return LEXEME.sub(no_comment, text), LEXEME.sub(no_literal, text)


def find_files(root, tops, endings):
    for top in tops:
        for folder, folders, names in os.walk(os.path.join(root, top)):
            folders[:] = sorted(f for f in folders if f not in ("build", "corpus", "crashes", "__pycache__"))
            for name in sorted(names):
                if name.endswith(endings):
                    yield os.path.relpath(os.path.join(folder, name), root)


class Tidy:
    def __init__(self, root):
        self.root = root
        self.sins = []
        self.sources = [Source(root, p) for p in find_files(root, PRODUCT + ("tests",), (".h", ".cpp"))]
        self.product = [s for s in self.sources if s.path.split("/")[0] in PRODUCT]

    def sin(self, path, line, sentence):
        self.sins.append("%s:%d: %s" % (path, line, sentence))

    # --- layers and owners ---

    def load_layers(self):
        layers, owners = {}, []
        path = os.path.join(self.root, "tests/tidy/layers.txt")
        with open(path, encoding="utf-8") as handle:
            for number, line in enumerate(handle, 1):
                line = line.strip()
                if not line or line.startswith("#"):
                    continue
                if line.startswith("<"):
                    prefix, _, rest = line[1:].partition(">")
                    owners.append((prefix, rest.split()))
                    continue
                room, colon, rest = line.partition(":")
                if not colon:
                    self.sin("tests/tidy/layers.txt", number, "A line needs the form \"room: rooms\".")
                layers[room.strip()] = rest.split()
        return layers, owners

    def check_includes(self):
        layers, owners = self.load_layers()
        for source in self.product:
            room = os.path.dirname(source.path)
            allowed = layers.get(source.path, layers.get(room))
            if allowed is None:
                self.sin(source.path, 1, "The room %s has no line in tests/tidy/layers.txt." % room)
                allowed = []
            for match in INCLUDE.finditer(source.code):
                line = source.line_of(match.start(2))
                if match.group(1) == '"':
                    self.check_edge(source, line, room, allowed, match.group(2))
                else:
                    self.check_owner(source, line, owners, match.group(2))

    def check_edge(self, source, line, room, allowed, target):
        if "/" not in target or target.startswith(".") or target.split("/")[0] not in PRODUCT:
            self.sin(source.path, line, "\"%s\" is not a rooted include of the program." % target)
            return
        to = os.path.dirname(target)
        if to != room and to not in allowed and target not in allowed and "*" not in allowed:
            self.sin(source.path, line, "%s may not include %s (tests/tidy/layers.txt)." % (room, target))

    def check_owner(self, source, line, owners, header):
        for prefix, places in owners:  # the first prefix that fits decides
            if not header.startswith(prefix):
                continue
            if not any(source.path.startswith(p + "/") or fnmatch.fnmatch(source.path, p)
                       or os.path.splitext(source.path)[0] == p for p in places):
                self.sin(source.path, line, "<%s> is only for %s." % (header, ", ".join(places)))
            return

    def check_standard(self):
        by_path = {s.path: [m.group(2) for m in INCLUDE.finditer(s.code)] for s in self.sources}
        for source in self.sources:
            outside, seen, open_ends = set(), {source.path}, [source.path]
            while open_ends:
                for name in by_path[open_ends.pop()]:
                    if name not in by_path:
                        outside.add(name)
                    elif name not in seen:
                        seen.add(name)
                        open_ends.append(name)
            for place, header in standard.missing(source.bare, outside):
                self.sin(source.path, source.line_of(place), "It names what is in <%s> and does not include it." % header)

    # --- shape of files and functions ---

    def check_shape(self):
        for source in self.sources:
            header = source.path.endswith(".h")
            count = len(source.lines) - (source.lines[-1] == "")
            limit = HEADER_LINES_MAX if header else CPP_LINES_MAX
            if count > limit:
                self.sin(source.path, count, "The file has %d lines, at most %d are allowed." % (count, limit))
            if header and not re.search(r"^#pragma once$", source.text, re.M):
                self.sin(source.path, 1, "A header starts with #pragma once.")
            for number, line in enumerate(source.lines, 1):
                if len(line) > COLUMNS_MAX:
                    self.sin(source.path, number, "The line has %d columns, at most %d are allowed."
                             % (len(line), COLUMNS_MAX))
            self.check_functions(source)

    def check_functions(self, source):
        depth_of_function, start, stack, head_from = None, 0, 0, 0
        for match in re.finditer(r"[{};]", source.bare):
            at, mark = match.start(), match.group()
            if mark == "{":
                head = source.bare[head_from:at].strip()
                if depth_of_function is None and is_function_head(head):
                    depth_of_function = stack
                    start = source.line_of(at - len(source.bare[head_from:at].lstrip()))
                stack += 1
            elif mark == "}":
                stack -= 1
                if depth_of_function == stack:
                    depth_of_function = None
                    length = source.line_of(at) - start + 1
                    if length > FUNCTION_LINES_MAX:
                        self.sin(source.path, start, "The function has %d lines, at most %d are allowed."
                                 % (length, FUNCTION_LINES_MAX))
            head_from = at + 1

    # --- rules a search can see ---

    def check_words(self):
        rules = [
            (r"\bdetached\b", "detached is banned: spawn into a TaskGroup (STYLE 1.3).", lambda s: True),
            (r"\bstd::(?:basic_)?w?regex\b|#\s*include\s*<regex>", "std::regex is banned (STYLE 1.5).", lambda s: True),
            (r"\busing\s+namespace\b", "A header has no using namespace.", lambda s: s.path.endswith(".h")),
        ]
        for source in self.sources:
            for pattern, sentence, applies in rules:
                if applies(source):
                    for match in re.finditer(pattern, source.bare):
                        self.sin(source.path, source.line_of(match.start()), sentence)
            for number, line in enumerate(source.lines, 1):
                if re.search(r"\b(?:TODO|FIXME|XXX)\b(?!\(#\d+\))", line):
                    self.sin(source.path, number, "An open end names its issue: TODO(#12).")
        kinds = (".h", ".cpp", ".py", ".txt", ".cmake", ".md", ".sh", ".toml", ".sql", ".json")
        for path in list(find_files(self.root, PRODUCT + ("tests", "deploy"), kinds)) + ["README.md", "CMakeLists.txt"]:
            if not os.path.exists(os.path.join(self.root, path)):
                continue
            with open(os.path.join(self.root, path), encoding="utf-8", errors="replace") as handle:
                for number, line in enumerate(handle, 1):
                    if MACHINE_PATHS.search(line):
                        self.sin(path, number, "A path of one machine does not belong into the project.")

    def check_coroutines(self):
        for source in self.sources:
            for match in re.finditer(r"\bco_await\b", source.bare):
                operand = take_operand(source.bare, match.end())
                line = source.line_of(match.start())
                if re.search(r"\[[^\[\]]*\]\s*(?:\([^()]*\))?[^;{]*\{", operand):
                    self.sin(source.path, line, "A lambda inside a co_await operand: name it first (STYLE 1.3).")
                elif "{" in operand:
                    self.sin(source.path, line, "Braces inside a co_await operand: name the value first (STYLE 1.3).")
                if "?" in operand:
                    self.sin(source.path, line, "?: inside a co_await operand: name the value first (STYLE 1.3).")
            for match in re.finditer(r"\bauto\s*(?:const\s*)?&{0,2}\s*\[[^\]]*\]\s*=\s*co_await\b", source.bare):
                self.sin(source.path, source.line_of(match.start()),
                         "No structured binding of a co_await: name the result first (STYLE 1.3).")

    def check_sql(self):
        call = re.compile(r"\b(?:prepare|exec|exec_text|query|sqlite3_prepare_v[23]|sqlite3_exec)\s*\(")
        for source in self.product:
            if not source.path.startswith("storage/"):
                continue
            for match in call.finditer(source.bare):
                operand = take_operand(source.bare, match.end())
                if re.search(r"(?<!\+)\+(?!\+)|\bformat\s*\(|\bappend\s*\(", operand):
                    self.sin(source.path, source.line_of(match.start()),
                             "SQL is never put together from pieces: bind parameters.")

    # --- rooms that say they have one thread ---

    def check_threads(self):
        said = set()
        for path in find_files(self.root, ("tests/unit",), (".cmake",)):
            with open(os.path.join(self.root, path), encoding="utf-8") as handle:
                said.update(re.findall(r"posthouse_unit_test\(NAME protocols_(\w+) ONE_THREAD\b", handle.read()))
        threads = re.compile(r"#\s*include\s*(?:<(?:thread|mutex|atomic|shared_mutex|condition_variable|future)>|"
                             r"\"protocols/net/offload\.h\")")
        for source in self.sources:
            room = re.match(r"(?:tests/unit/)?protocols/(\w+)/", source.path)
            if not room or room[1] not in said:
                continue
            for match in threads.finditer(source.text):
                self.sin(source.path, source.line_of(match.start()),
                         "A room whose tests are ONE_THREAD has no threads: ThreadSanitizer does not see it.")

    # --- transcripts ---

    def check_transcripts(self):
        tables = [("server/smtp", "smtp", r"\.verb\s*=\s*\"([^\"]+)\""),
                  ("server/imap", "imap", r"\{\s*\"([A-Z][A-Z ]*)\",\s*k\w+,\s*Expunges::")]
        for room, kind, row in tables:
            named = self.transcript_names(kind)
            for source in self.product:
                if not source.path.startswith(room + "/"):
                    continue
                for match in re.finditer(row, source.code):
                    if match.group(1).upper() not in named:
                        self.sin(source.path, source.line_of(match.start()), "No dialogue in tests/transcripts/%s "
                                 "has the command %s." % (kind, match.group(1)))

    def transcript_names(self, kind):
        """Commands that a client's line starts with: "C: MAIL ..." or "C: tag UID FETCH ..." (also "C1:")."""
        names = set()
        for path in find_files(self.root, ("tests/transcripts/" + kind,), (".txt",)):
            with open(os.path.join(self.root, path), encoding="utf-8", errors="replace") as handle:
                for line in handle:
                    match = re.match(r"C\d*:\s*(\S.*)", line)
                    if not match:
                        continue
                    words = re.split(r"[ \t]+", match.group(1).upper().strip())
                    words = words[1:] if kind == "imap" else words
                    names.update([words[0], " ".join(words[:2])] if words else [])
        return names

    # --- the table of RFCs ---

    def rfc_table(self):
        cited = {}
        for source in self.product:
            numbers = re.findall(r"\bRFCs?\s?(\d{3,5})\b", source.text)
            numbers += [n for row in re.findall(r'\.rfc\s*=\s*"([^"]*)"', source.text)
                        for n in re.findall(r"\b(\d{3,5}) \d", row)]
            for number in numbers:
                cited.setdefault(int(number), set()).add(source.path)
        lines = ["| RFC | files that cite it |", "| --- | --- |"]
        for number in sorted(cited):
            lines.append("| %d | %s |" % (number, ", ".join(sorted(cited[number]))))
        return README_START + "\n" + "\n".join(lines) + "\n"

    def check_readme(self, write):
        path = os.path.join(self.root, "protocols/README.md")
        text = ""
        if os.path.exists(path):
            with open(path, encoding="utf-8") as handle:
                text = handle.read()
        intro, mark, _ = text.partition(README_START)
        wanted = (intro if mark else README_INTRO) + self.rfc_table()
        if write and text != wanted:
            with open(path, "w", encoding="utf-8") as handle:
                handle.write(wanted)
        elif text != wanted:
            self.sin("protocols/README.md", 1, "The table of RFCs is stale: run tests/tidy/tidy.py --write-readme.")

    def run(self, write_readme):
        self.check_includes()
        self.check_standard()
        self.check_shape()
        self.check_words()
        self.check_coroutines()
        self.check_sql()
        self.check_threads()
        self.check_transcripts()
        self.check_readme(write_readme)
        return self.sins


def is_function_head(head):
    """Whether a brace after this text opens a function body."""
    head = re.sub(r"^\s*#[^\n]*$", "", head, flags=re.M).strip()
    if "(" not in head or head.endswith(("=", ",", "(")) or re.search(r"(?<![=!<>])=\s*[^=;]*$", head.split("(")[0]):
        return False
    return not re.match(r"(?:inline\s+)?(?:namespace|class|struct|enum|union|extern|export)\b", head)


def take_operand(text, start):
    """From `start` to the end of the expression: a semicolon, a comma or a closing bracket of the outside."""
    depth = 0
    for at in range(start, len(text)):
        char = text[at]
        if char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
            if depth < 0:
                return text[start:at]
        elif char in ";," and depth == 0:
            return text[start:at]
    return text[start:]


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default=os.path.dirname(os.path.dirname(here)))
    parser.add_argument("--write-readme", action="store_true")
    args = parser.parse_args()
    sins = Tidy(args.root).run(args.write_readme)
    for sin in sins:
        print(sin)
    print("tidy: %s" % ("%d sins" % len(sins) if sins else "clean"))
    return 1 if sins else 0


if __name__ == "__main__":
    sys.exit(main())
