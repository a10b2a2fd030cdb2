#include "protocols/base/cursor.h"

#include <doctest/doctest.h>

using namespace posthouse;

TEST_CASE("a cursor only moves forward, and not at all where it says no") {
    Cursor in("MAIL FROM:<a@b> x");
    CHECK_FALSE(in.take("RCPT"));
    CHECK(in.position() == 0);
    CHECK(in.take_word("mail"));
    CHECK_FALSE(in.take('\t'));
    CHECK(in.take(' '));
    CHECK(in.take_until('<') == "FROM:");
    CHECK(in.take('<'));
    CHECK(in.peek() == 'a');
    CHECK(in.peek(100) == '\0');
    CHECK(in.take_while(ascii::is_alpha) == "a");
    CHECK(in.take_octets(3) == "@b>");
    in.skip_blanks();
    CHECK(in.rest() == "x");
    CHECK(in.take_octets(99) == "x");
    CHECK(in.at_end());
    CHECK_FALSE(in.take('x'));
    CHECK(in.take_until('q').empty());
}
