#include "protocols/imap/modseq.h"

#include <doctest/doctest.h>

#include "protocols/imap/notify.h"

using namespace posthouse;
using namespace posthouse::imap;

TEST_CASE("mod-sequences are 63 bits wide") {
    const auto take = [](std::string_view text) {
        Cursor in(text);
        return take_modseq(in);
    };
    CHECK(take("0").value() == 0);
    CHECK(take("9223372036854775807").value() == 9'223'372'036'854'775'807ULL);
    CHECK_FALSE(take("9223372036854775808"));
    CHECK_FALSE(take("99999999999999999999999999"));
    CHECK_FALSE(take(""));
    CHECK_FALSE(take("-1"));
}

TEST_CASE("SELECT parameters: QRESYNC with all that it may hold") {
    const auto take = [](std::string_view text) {
        Cursor in(text);
        auto out = take_select_parameters(in);
        return in.at_end() ? std::move(out) : Result<SelectParameters>(Error(Errc::invalid, "something is left"));
    };
    CHECK_FALSE(take("").value().resync);
    CHECK(take(" (CONDSTORE)").value().condstore);
    const auto full =
        take(" (QRESYNC (67890007 90060115194045000 1:29997 (5000,7500,9990:9992 15000,22500,29970:29972)))");
    REQUIRE(full);
    CHECK(full->resync->uid_validity == 67890007);
    CHECK(full->resync->modseq == 90060115194045000);
    CHECK(full->resync->known_uids->ranges.size() == 1);
    REQUIRE(full->resync->matches.size() == 5);
    CHECK(full->resync->matches.back() == std::pair<std::uint32_t, std::uint32_t>(9992, 29972));
    CHECK(take(" (CONDSTORE QRESYNC (1 0))"));
    CHECK(take(" (QRESYNC (1 2 (1 1)))"));
    for (const std::string_view bad :
         {" (", " ()", " (CONDSTORE", " (QRESYNC)", " (QRESYNC (0 1))", " (QRESYNC (1 1 1:*))", " (QRESYNC (1 1) )",
          " (QRESYNC (1 1 (1 1:2)))", " (QRESYNC (1 1 (2:1 1:2)))", " (QRESYNC (1 1 (1:4000000000 1:4000000000)))",
          " (QRESYNC (1 1) QRESYNC (1 1))", " CONDSTORE", " (FOO)"}) {
        CAPTURE(bad);
        CHECK_FALSE(take(bad));
    }
}

TEST_CASE("FETCH and STORE modifiers") {
    const auto fetch = [](std::string_view text) {
        Cursor in(text);
        return take_fetch_modifiers(in);
    };
    CHECK(fetch(" (CHANGEDSINCE 12345 VANISHED)").value().vanished);
    CHECK(fetch(" (changedsince 0)").value().changed_since == 0U);
    CHECK_FALSE(fetch(" (VANISHED)"));
    CHECK_FALSE(fetch(" (CHANGEDSINCE 1 CHANGEDSINCE 2)"));
    CHECK_FALSE(fetch(" (CHANGEDSINCE)"));
    CHECK_FALSE(fetch(" CHANGEDSINCE 1"));
    const auto store = [](std::string_view text) {
        Cursor in(text);
        return take_store_modifiers(in);
    };
    CHECK_FALSE(store("+FLAGS").value());
    CHECK(store("(UNCHANGEDSINCE 320162338) +FLAGS").value() == 320162338U);
    CHECK_FALSE(store("(UNCHANGEDSINCE 1)+FLAGS"));
    CHECK_FALSE(store("(UNCHANGEDSINCE) +FLAGS"));
}

TEST_CASE("NOTIFY programs") {
    const auto take = [](std::string_view text) {
        Cursor in(text);
        return take_notify(in);
    };
    CHECK(take("NONE").value().groups.empty());
    // RFC 5465 3.1
    const auto program = take(
        "set status (selected MessageNew (uid body.peek[header.fields (from to subject)]) MessageExpunge) "
        "(subtree Lists (MessageNew messageexpunge))");
    REQUIRE(program);
    CHECK(program->status);
    REQUIRE(program->selected() != nullptr);
    CHECK(program->selected()->fetch->items.size() == 2);
    CHECK(program->groups[1].names.front() == "Lists");
    CHECK(take("SET (mailboxes (a \"b c\") (MailboxName))").value().groups[0].names.size() == 2);
    CHECK(take("SET (selected NONE)").value().selected() == nullptr);
    CHECK(take("SET (personal (AnnotationChange))").error().code == Errc::unsupported);
    for (const std::string_view bad :
         {"", "SET", "SET STATUS", "SET ()", "SET (personal)", "SET (personal ())", "SET (subtree (MessageNew))",
          "SET (selected (MessageNew)", "SET (personal (FlagChange))", "SET (selected (MailboxName))", "NONE x",
          "SET (mailboxes () (MailboxName))", "SET (personal NONE) x"}) {
        CAPTURE(bad);
        const auto got = take(bad);
        REQUIRE_FALSE(got);
        CHECK(got.error().code == Errc::invalid);
    }
}
