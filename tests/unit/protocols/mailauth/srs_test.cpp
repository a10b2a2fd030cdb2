// Reverse-paths of forwarded mail, and the way back.
#include "protocols/mailauth/srs.h"

#include <doctest/doctest.h>

#include "protocols/base/ascii.h"

using namespace posthouse;
using namespace posthouse::mailauth;

namespace {

const SrsKeys kKeys = {"the key of today", "the key of before"};
const Time kNow = from_unix_ms(1'780'000'000'000);
constexpr std::chrono::days kDay{1};

}  // namespace

TEST_CASE("what was made comes back, in any case of letters") {
    for (const SrsMailbox& sender : {SrsMailbox{"bob", "b.example"}, SrsMailbox{"Bob.B+tag", "Mail.B.Example"},
                                     SrsMailbox{"a=b==c", "b.example"}, SrsMailbox{"with space", "b.example"},
                                     SrsMailbox{"SRS1-b", "b.example"}, SrsMailbox{"srs0=x", "b.example"}}) {
        CAPTURE(sender.local);
        const auto made = srs_forward(kKeys, sender, kNow);
        REQUIRE(made);
        CHECK(is_srs(*made));
        const auto back = srs_reverse(kKeys, *made, kNow);
        REQUIRE(back);
        CHECK(*back == sender);
        const auto lower = srs_reverse(kKeys, ascii::to_lower(*made), kNow);
        REQUIRE(lower);
        CHECK(lower->local == ascii::to_lower(sender.local));
    }
}

TEST_CASE("every changed octet makes it another's") {
    const std::string made = *srs_forward(kKeys, {"bob", "b.example"}, kNow);
    for (std::size_t i = 5; i < made.size(); ++i) {
        CAPTURE(i);
        std::string changed = made;
        changed[i] = changed[i] == 'x' ? 'y' : 'x';
        const auto back = srs_reverse(kKeys, changed, kNow);
        REQUIRE_FALSE(back);
        CHECK(back.error().code == Errc::denied);
    }
    CHECK_FALSE(srs_reverse({"another key"}, made, kNow));
    CHECK(srs_reverse(kKeys, "bob", kNow).error().code == Errc::invalid);
    for (const char* text : {"SRS0=", "SRS0==", "SRS0=aaaaaaa", "SRS1=aaaaaaa==", "SRS0=aaaaaaa=aa=b.example=bob"}) {
        CAPTURE(text);
        CHECK_FALSE(srs_reverse(kKeys, text, kNow));
    }
}

TEST_CASE("good for its days and no longer; the days go round") {
    for (const Time start : {kNow, Time(std::chrono::days(20 * 1024 - 3))}) {
        const std::string made = *srs_forward(kKeys, {"bob", "b.example"}, start);
        CHECK(srs_reverse(kKeys, made, start + kSrsDaysMax * kDay));
        const auto late = srs_reverse(kKeys, made, start + (kSrsDaysMax + 1) * kDay);
        REQUIRE_FALSE(late);
        CHECK(late.error().code == Errc::timeout);
        CHECK(srs_reverse(kKeys, made, start - kDay));  // a clock that was set back
        CHECK_FALSE(srs_reverse(kKeys, made, start - 2 * kDay));
    }
}

TEST_CASE("an old key still checks") {
    const std::string made = *srs_forward({kKeys[1]}, {"bob", "b.example"}, kNow);
    CHECK(srs_reverse(kKeys, made, kNow));
}

TEST_CASE("behind another forwarder the way back leads to the first") {
    // SRS0+ is the form of those who use another separator.
    for (const char* first : {"SRS0=abcd=ab=b.example=bob", "SRS0+abcd=ab=b.example=bob"}) {
        const auto second = srs_forward(kKeys, {first, "first.example"}, kNow);
        REQUIRE(second);
        CHECK(second->starts_with("SRS1="));
        const auto back = srs_reverse(kKeys, *second, kNow);
        REQUIRE(back);
        CHECK(*back == SrsMailbox{first, "first.example"});
        // A third one replaces the second.
        const SrsKeys other = {"the key of the third"};
        const auto third = srs_forward(other, {*second, "second.example"}, kNow);
        REQUIRE(third);
        CHECK(third->size() == second->size());
        const auto straight = srs_reverse(other, *third, kNow);
        REQUIRE(straight);
        CHECK(*straight == SrsMailbox{first, "first.example"});
    }
}

TEST_CASE("too long for a local part: none") {
    CHECK_FALSE(srs_forward(kKeys, {std::string(50, 'a'), "b.example"}, kNow));
    CHECK_FALSE(srs_forward(kKeys, {"", ""}, kNow));
    CHECK_FALSE(srs_forward({}, {"bob", "b.example"}, kNow));
}
