// The arguments of LIST and STATUS, RFC 5258 6 and RFC 3501 9.
#include "protocols/imap/list.h"

#include <doctest/doctest.h>

using namespace posthouse;
using namespace posthouse::imap;

namespace {

Result<ListProgram> parse(std::string_view text) {
    Cursor in(text);
    return take_list(in);
}

}  // namespace

TEST_CASE("LIST: which forms are extended and what they ask for, RFC 5258 6") {
    struct Case {
        std::string_view text;
        bool extended;
        unsigned select;
        unsigned returns;
        std::size_t patterns;
    };
    const Case cases[] = {
        {"\"\" *", false, 0, 0, 1},
        {"\"\" \"\" ", false, 0, 0, 1},
        {"() \"\" *", true, 0, 0, 1},
        {"\"\" (a b%)", true, 0, 0, 2},
        {"a \"b c\" RETURN ()", true, 0, 0, 1},
        {"(SUBSCRIBED) \"\" *", true, kSelectSubscribed, kReturnSubscribed, 1},
        {"(remote RecursiveMatch special-use) \"\" *", true, kSelectRemote | kSelectRecursive | kSelectSpecialUse,
         kReturnSpecialUse, 1},
        {"\"\" * RETURN (CHILDREN SUBSCRIBED)", true, 0, kReturnChildren | kReturnSubscribed, 1},
        {"\"\" * return (status (messages unseen) children)", true, 0, kReturnStatus | kReturnChildren, 1},
    };
    for (const Case& c : cases) {
        CAPTURE(c.text);
        const auto program = parse(c.text);
        REQUIRE(program);
        CHECK(program->extended == c.extended);
        CHECK(program->select == c.select);
        CHECK(program->returns == c.returns);
        CHECK(program->patterns.size() == c.patterns);
    }
}

TEST_CASE("LIST: what is refused") {
    for (const std::string_view text :
         {"", "\"\"", "\"\" ", "\"\" * x", "\"\" * RETURN", "\"\" * RETURN (", "\"\" * RETURN (X)", "\"\" ()",
          "\"\" (a", "(SUBSCRIBED \"\" *", "(X) \"\" *", "(RECURSIVEMATCH) \"\" *", "(RECURSIVEMATCH REMOTE) \"\" *",
          "\"\" * RETURN (STATUS)", "\"\" * RETURN (STATUS ())", "\"\" * RETURN (CHILDREN) x", "(SUBSCRIBED)\"\" *"}) {
        CAPTURE(text);
        const auto program = parse(text);
        REQUIRE_FALSE(program);
        CHECK(program.error().code == Errc::invalid);
    }
}

TEST_CASE("LIST: patterns and status items are bounded") {
    const Limits limits;
    std::string patterns = "\"\" (a";
    for (std::size_t i = 0; i < limits.list_patterns_max; ++i) patterns += " a";
    CHECK_FALSE(parse(patterns + ")"));
    std::string items = "(A";
    for (std::size_t i = 0; i < limits.status_items_max; ++i) items += " A";
    items += ")";
    Cursor in(items);
    CHECK_FALSE(take_status_names(in));
}

TEST_CASE("CHILDINFO names the criteria, RFC 5258 3.5") {
    CHECK(format_criteria(kSelectSubscribed | kSelectRecursive | kSelectRemote) == "\"SUBSCRIBED\"");
    CHECK(format_criteria(kSelectSubscribed | kSelectSpecialUse) == "\"SUBSCRIBED\" \"SPECIAL-USE\"");
}
