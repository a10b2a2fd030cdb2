// schema.sql is documentation too: every column says what it holds.
#include "storage/schema.h"

#include <doctest/doctest.h>

#include <string_view>

using namespace posthouse::storage;

TEST_CASE("every column of the schema has its comment, every table a key") {
    std::string_view rest = kSchemaSql;
    bool inside = false;
    bool keyed = false;
    int columns = 0;
    while (!rest.empty()) {
        const std::string_view line = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(line.size() < rest.size() ? line.size() + 1 : line.size());
        CAPTURE(line);
        if (line.starts_with("CREATE TABLE")) {
            inside = true;
            keyed = false;
            continue;
        }
        if (line.starts_with(")")) {
            if (inside) CHECK(keyed);
            inside = false;
        }
        if (!inside) continue;
        if (line.find("PRIMARY KEY") != std::string_view::npos) keyed = true;
        const bool constraint = line.starts_with("    PRIMARY KEY") || line.starts_with("    UNIQUE");
        if (constraint) continue;
        ++columns;
        CHECK(line.find("  -- ") != std::string_view::npos);
    }
    CHECK(columns > 100);
}
