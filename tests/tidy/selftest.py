#!/usr/bin/env python3
"""Plants one sin for each check of tidy.py in a small house and fails where it is not seen, or where a clean one is."""
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tidy  # noqa: E402

LAYERS = """protocols/base:
protocols/net: protocols/base
protocols/mime: protocols/base
storage: protocols/base
storage/await.h: storage protocols/base protocols/net
server/smtp: protocols/base
server/imap: protocols/base
relay: protocols/base storage
<boost/asio/awaitable.hpp> protocols/net
<boost/> protocols/net/*.cpp
<sqlite3> storage
<spdlog/> protocols/base/log.cpp
"""

CLEAN = {
    "tests/tidy/layers.txt": LAYERS,
    "protocols/base/ascii.h": "#pragma once\n/// RFC 5321 2.4\nint f(int a = 1);  // a detached remark, 'tis no sin\n",
    "protocols/net/task.h": "#pragma once\n#include <boost/asio/awaitable.hpp>\n#include \"protocols/base/ascii.h\"\n",
    "protocols/net/tcp.cpp": "#include <boost/asio/ip/tcp.hpp>\nTask<void> f() {\n    auto r = co_await g(a, other::move(b), "
                             "Type(1));\n    if (co_await h()) { use(r ? 1 : 2); }\n    s(\"co_await {?}\");\n}\n",
    "storage/await.h": "#pragma once\n#include \"protocols/net/task.h\"\n",
    "storage/d.h": "#pragma once\n#include <string>\n#include <vector>\n",
    "storage/sql.cpp": "#include <sqlite3.h>\nvoid f() { db.exec(\"A + B\"); q = db.query(kSelect); }\n",
    "server/smtp/commands.cpp": "constexpr Command kMail{.verb = \"MAIL\", .rfc = \"5321 4.1.1.2\"};\n",
    "server/imap/commands.cpp": "const Row k[] = {\n    {\"UID FETCH\", kSelected, Expunges::told, \"\", f},\n};\n",
    "tests/transcripts/smtp/mail.txt": "S: 220 *\nC: mail FROM:<a@b.test>\n",
    "tests/transcripts/imap/fetch.txt": "C: a1 UID FETCH 1 FLAGS\n",
    "tests/unit/protocols_mime.cmake": "posthouse_unit_test(NAME protocols_mime ONE_THREAD\n  SOURCES a.cpp)\n",
    "protocols/README.md": None,  # written by tidy
}

# (what is planted, in which file, what tidy must say, at which line)
SINS = [
    ("unlisted edge", "protocols/base/a.h", "#pragma once\n#include \"protocols/net/task.h\"\n", "may not include", 2),
    ("a thread where there is one", "protocols/mime/a.cpp", "\n#include <mutex>\n", "ONE_THREAD", 2),
    ("sibling", "relay/a.cpp", "#include \"server/smtp/x.h\"\n", "may not include", 1),
    ("exception for one file only", "storage/b.h", "#pragma once\n#include \"protocols/net/task.h\"\n", "may not", 2),
    ("relative include", "protocols/net/a.cpp", "#include \"task.h\"\n", "not a rooted include", 1),
    ("dotted include", "protocols/net/a.cpp", "#include \"../base/ascii.h\"\n", "not a rooted include", 1),
    ("room without a line", "relay/report/a.cpp", "int a;\n", "no line in tests/tidy/layers.txt", 1),
    ("library owner", "relay/a.cpp", "\n#include <sqlite3.h>\n", "is only for storage", 2),
    ("library owner by file", "protocols/base/a.cpp", "#include <spdlog/spdlog.h>\n", "is only for", 1),
    ("Asio in a header of net", "protocols/net/a.h", "#pragma once\n#include <boost/asio/ip/tcp.hpp>\n", "only for", 2),
    ("forgotten header", "relay/a.cpp", "\nstd::vector<int> a;\n", "what is in <vector>", 2),
    ("header of the tests forgotten", "tests/unit/a.cpp", "\n\nint a = std::ranges::find(b, c);\n", "<algorithm>", 3),
    ("forgotten fmt", "relay/a.cpp", "auto a = fmt::format(b);\n", "what is in <fmt/format.h>", 1),
    ("no pragma", "relay/a.h", "int a;\n", "#pragma once", 1),
    ("long file", "relay/a.cpp", "int a;\n" * 601, "601 lines", 601),
    ("long header", "relay/a.h", "#pragma once\n" + "int f();\n" * 250, "251 lines", 251),
    ("long function", "relay/a.cpp", "namespace x {\nint f(int a) {\n" + "    a();\n" * 70 + "}\n}\n", "72 lines", 2),
    ("long member", "relay/a.cpp", "class X {\n    int f() const {\n" + "a();\n" * 70 + "}\n};\n", "72 lines", 2),
    ("long line", "relay/a.cpp", "// " + "x" * 118 + "\n", "121 columns", 1),
    ("braces", "relay/a.cpp", "auto r = co_await f(Options{.a = 1});\n", "Braces inside", 1),
    ("braces over lines", "relay/a.cpp", "CO_TRY_VOID(\n    co_await f(\n        {1}));\n", "Braces inside", 2),
    ("question mark", "relay/a.cpp", "co_await f(a ? b : c);\n", "?: inside", 1),
    ("lambda", "relay/a.cpp", "co_await f([x] { return x; });\n", "A lambda inside", 1),
    ("lambda with arguments", "relay/a.cpp", "co_await f([this](int a) mutable { g(a); });\n", "A lambda inside", 1),
    ("structured binding", "relay/a.cpp", "auto [a, b] = co_await f();\n", "structured binding", 1),
    ("detached", "relay/a.cpp", "co_spawn(ex, f(), asio::detached);\n", "detached is banned", 1),
    ("regex", "relay/a.cpp", "std::regex r(\"a\");\n", "std::regex is banned", 1),
    ("regex header", "relay/a.cpp", "#include <regex>\n", "std::regex is banned", 1),
    ("using namespace", "relay/a.h", "#pragma once\nusing namespace std;\n", "no using namespace", 2),
    ("open end", "relay/a.cpp", "// TO" "DO: later\n", "names its issue", 1),
    ("machine path", "relay/a.cpp", "// see /wo" "rk/shared/x\n", "one machine", 1),
    ("machine path in a script", "tests/interop/a.py", "X = '/tmp/bu" "ild-x'\n", "one machine", 1),
    ("joined SQL", "storage/a.cpp", "auto r = db.query(\"SELECT \" + name);\n", "never put together", 1),
    ("formatted SQL", "storage/a.cpp", "db.exec(\n    fmt::format(\"DROP {}\", t).c_str());\n", "never put together", 1),
    ("SMTP row without dialogue", "server/smtp/a.cpp", "\nconstexpr Command k{.verb = \"RCPT\"};\n", "command RCPT", 2),
    ("IMAP row without dialogue", "server/imap/a.cpp", "{\"FETCH\", kSelected, Expunges::held, f},\n", "command FETCH", 1),
    ("stale table", "relay/a.cpp", "// RFC 9999 1\n", "is stale", 1),
    ("unlisted in comment is fine", "protocols/base/a.cpp", "// #include \"relay/x.h\"\n", None, 0),
    ("header through the program is fine", "storage/c.cpp",
     "#include \"storage/d.h\"\nstd::vector<int> a;\nstd::string_view b;\n", None, 0),
    ("raw string is fine", "relay/a.cpp", "auto s = R\"(co_await f({}) ? \" detached)\";\n", None, 0),
    ("digit separators are fine", "relay/a.cpp", "int a = 1'000'000; int b = 2'0;\n", None, 0),
]


def write(root, path, text):
    full = os.path.join(root, path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "w", encoding="utf-8") as handle:
        handle.write(text)


def build(root):
    for path, text in CLEAN.items():
        if text is not None:
            write(root, path, text)
    return tidy.Tidy(root).run(write_readme=True)


def main():
    failures = 0
    with tempfile.TemporaryDirectory() as root:
        for sin in build(root):
            print("FAILED: the clean house has a sin: %s" % sin)
            failures += 1
    for name, path, text, sentence, line in SINS:
        with tempfile.TemporaryDirectory() as root:
            build(root)
            write(root, path, text)
            sins = tidy.Tidy(root).run(write_readme=False)
        if sentence is None:
            good = not sins
        else:
            where = "protocols/README.md:1: " if sentence == "is stale" else "%s:%d: " % (path, line)
            good = any(s.startswith(where) and sentence in s for s in sins)
        if not good:
            print("FAILED: %s: wanted \"%s\" at %s:%d, tidy said %s" % (name, sentence, path, line, sins))
            failures += 1
    print("selftest: %d sins planted, %d failures" % (len(SINS), failures))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
