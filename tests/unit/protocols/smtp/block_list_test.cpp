// Lists of addresses in the DNS: how they are asked, what an answer means, which are dead.
#include "protocols/smtp/block_list.h"

#include <doctest/doctest.h>

#include "protocols/net/address.h"

namespace posthouse::smtp {

namespace {
net::IpAddress ip(std::string_view text) { return net::IpAddress::parse(text).value(); }
}  // namespace

TEST_CASE("the question: RFC 5782 2.1 and 2.4") {
    CHECK(reversed(ip("192.0.2.99")) == "99.2.0.192");
    CHECK(reversed(ip("2001:db8:1:2:3:4:567:89ab")) ==
          "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2");
    CHECK(spamhaus_zone("abc123") == "abc123.zen.dq.spamhaus.net");
}

TEST_CASE("an answer: only a list's own codes list; words for \"you may not ask\" never do") {
    struct Case {
        std::string_view list;
        std::string_view answer;
        BlockAnswer meaning;
    };
    constexpr Case cases[] = {
        {"zen.spamhaus.org", "127.0.0.2", BlockAnswer::listed},
        {"zen.spamhaus.org", "127.0.0.11", BlockAnswer::listed},
        {"zen.spamhaus.org", "127.0.0.12", BlockAnswer::clear},
        {"zen.spamhaus.org", "127.255.255.254", BlockAnswer::refused},
        {"zen.spamhaus.org", "127.255.255.252", BlockAnswer::refused},
        {"zen.spamhaus.org", "127.255.255.255", BlockAnswer::refused},
        {"bl.spamcop.net", "127.0.0.2", BlockAnswer::listed},
        {"bl.spamcop.net", "127.0.0.1", BlockAnswer::refused},
        {"rep.mailspike.net", "127.0.0.10", BlockAnswer::listed},
        {"rep.mailspike.net", "127.0.0.18", BlockAnswer::clear},  // a good name
        {"bl.spamcop.net", "203.0.113.9", BlockAnswer::refused},  // the zone is somebody else's now
        {"a.list.example", "127.0.0.4", BlockAnswer::listed},
        {"a.list.example", "127.0.0.255", BlockAnswer::refused},
        {"a.list.example", "127.0.1.2", BlockAnswer::refused},
    };
    for (const Case& c : cases) {
        CAPTURE(c.list);
        CAPTURE(c.answer);
        CHECK(judge_block_answer(c.list, ip(c.answer)) == c.meaning);
    }
}

TEST_CASE("dead lists are refused by name, and so is Spamhaus without its key") {
    CHECK(judge_block_lists("bl.spamcop.net  bl.blocklist.de") == std::nullopt);
    CHECK(judge_block_lists("") == std::nullopt);
    CHECK(judge_block_lists("b.barracudacentral.org list.example") == std::nullopt);
    for (const std::string_view dead : {"dnsbl.sorbs.net", "spam.dnsbl.sorbs.net", "ix.dnsbl.manitu.net", "SORBS.net",
                                        "ubl.unsubscore.com", "cbl.abuseat.org", "dnsbl.njabl.org", "dnsbl.ahbl.org"}) {
        CAPTURE(dead);
        CHECK(judge_block_lists("bl.spamcop.net " + std::string(dead)).value_or("").starts_with(dead));
    }
    CHECK(judge_block_lists("zen.spamhaus.org").value_or("").contains("dnsbl.spamhaus_key"));
    CHECK(judge_block_lists("nonsense").value_or("").contains("not the zone"));
    for (const BlockList& one : block_lists()) {
        CHECK(find_block_list(one.zone) == &one);
        CHECK(why_dead(one.zone) == std::nullopt);
    }
}

}  // namespace posthouse::smtp
