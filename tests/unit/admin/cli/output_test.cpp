#include "admin/cli/output.h"

#include <doctest/doctest.h>

#include <sstream>

#include "admin/cli/secret.h"

namespace posthouse::admin {

TEST_CASE("records become columns, or one JSON value; controls of others never reach a terminal") {
    std::vector<Record> rows{Record().add("name", "a\x1b[2J").add("next_attempt", std::int64_t{7}),
                             Record().add("name", "bb").add("next_attempt", true)};
    std::ostringstream text;
    Output(text, Format::text).table(rows, "none");
    CHECK(text.str().starts_with("NAME"));
    CHECK(text.str().find("NEXT ATTEMPT") != std::string::npos);
    CHECK(text.str().find('\x1b') == std::string::npos);
    std::ostringstream json;
    Output machine(json, Format::json);
    machine.say("for people");
    machine.table({}, "none");
    std::string octets = json.str();
    std::erase(octets, '\n');
    CHECK(octets == "[]");
    std::ostringstream empty;
    Output(empty, Format::text).table({}, "none");
    CHECK(empty.str() == "none\n");
}

TEST_CASE("sizes as people write them") {
    struct Case {
        std::string_view text;
        bool good;
        std::uint64_t octets;
    };
    constexpr Case cases[] = {{"1024", true, 1024},
                              {"5G", true, 5ULL << 30},
                              {"200m", true, 200ULL << 20},
                              {"none", true, 0},
                              {"", false, 0},
                              {"G", false, 0},
                              {"-1", false, 0},
                              {"1.5G", false, 0},
                              {"9999999T", false, 0},
                              {"18446744073709551616", false, 0}};
    for (const Case& c : cases) {
        CAPTURE(c.text);
        std::uint64_t octets = 0;
        CHECK(parse_octets(c.text, octets) == c.good);
        if (c.good) CHECK(octets == c.octets);
    }
}

TEST_CASE("a generated password has four groups and is never the same") {
    const std::string one = generate_password();
    CHECK(one.size() == 23);
    CHECK(one[5] == '-');
    CHECK(one != generate_password());
}

}  // namespace posthouse::admin
