// Words, phrases, and the waits that a text asks for.
#include "protocols/bounce/reply_text.h"

#include <doctest/doctest.h>

#include "protocols/bounce/reply_class.h"
#include "protocols/bounce/reply_hint.h"

using namespace posthouse;
using namespace posthouse::bounce;

TEST_CASE("words: lower case, dots only between digits, no apostrophes") {
    CHECK(words_of("550-5.7.1 [192.0.2.1] Block-listed, see http://www.spamhaus.org") ==
          " 550 5.7.1 192.0.2.1 block listed see http www spamhaus org ");
    CHECK(words_of("doesn't exist.") == " doesnt exist ");
    CHECK(words_of("") == " ");
    CHECK(words_of(std::string(10'000, 'a')).size() == kReplyTextMax + 2);
}

TEST_CASE("phrases: whole words, or the beginning of one") {
    PhraseIndex index;
    const auto spam = index.add("spam");
    const auto grey = index.add("greylist*");
    const auto user = index.add("user unknown");
    const auto tag = index.add("rl0000*");
    CHECK(index.add("spam") == spam);
    const auto in = [&](std::string_view text, std::uint16_t number) {
        return bool(index.find(words_of(text))[number]);
    };
    CHECK(in("this is SPAM!", spam));
    CHECK_FALSE(in("see spamhaus", spam));
    CHECK(in("Greylisting in action", grey));
    CHECK_FALSE(in("a greyhound", grey));
    CHECK(in("x: User unknown", user));
    CHECK_FALSE(in("user unknowns", user));
    CHECK_FALSE(in("user", user));
    CHECK(in("[RL000001]", tag));
}

TEST_CASE("the text says how long to wait") {
    struct Case {
        std::string_view text;
        std::int64_t seconds;  // 0: no hint
    };
    constexpr Case cases[] = {
        {"Greylisted, please try again in 300 seconds", 300},
        {"4.7.1 Greylisting in action, please come back in 00:04:58", 298},
        {"Recipient address rejected: Greylisted for 5 minutes", 300},
        {"try again in 5 min", 300},
        {"Please retry after 1800s", 1800},
        {"temporarily deferred, wait 2 hours", 7200},
        {"Please wait at least 60 seconds", 60},
        {"too many messages, 10 per 60 seconds, try again later", 0},
        {"You sent 50 mails in 60 seconds", 0},
        {"retry in 0 seconds", 0},
        {"retry in 40 days", 0},
        {"retry in 99999999999999999999 seconds", 0},
        {"try again in 72 hours", 0},
        {"try again later", 0},
        {"", 0},
    };
    for (const Case& c : cases) {
        CAPTURE(c.text);
        const auto found = find_wait(c.text);
        CHECK((found ? found->count() / 1000 : 0) == c.seconds);
    }
}
