#include "server/imap/selected.h"

#include <doctest/doctest.h>

using namespace posthouse;
using namespace posthouse::server::imap;

namespace {

Entry entry(Uid uid, FlagBits flags = 0, std::uint32_t keyword_set = 0) {
    Entry out;
    out.uid = uid;
    out.flags = flags;
    out.keyword_set = keyword_set;
    return out;
}

Selected four() {
    OpenedMailbox opened;
    for (Uid uid = 10; uid <= 40; uid += 10) opened.entries.push_back(entry(uid));
    return {std::move(opened), Mode::read_write, 40};
}

}  // namespace

TEST_CASE("a message that another session expunged keeps its number until that is told, RFC 3501 7.4.1") {
    Selected box = four();
    MailboxNews news;
    news.expunged = {20, 30};
    CHECK_FALSE(box.apply(news));
    CHECK(box.exists() == 4);
    CHECK(box.number_of(40) == 4);
    CHECK(box.row(2).gone);
    std::string out;
    box.take_expunges(out);
    CHECK(out == "* 2 EXPUNGE\r\n* 2 EXPUNGE\r\n");
    CHECK(box.exists() == 2);
    CHECK(box.number_of(40) == 2);
    CHECK_FALSE(box.has_expunges());
}

TEST_CASE("new messages are announced before anything is said of them, RFC 3501 7.3.1") {
    Selected box = four();
    MailboxNews news;
    news.changed = {entry(10, 1), entry(50, 2, 7)};
    news.keyword_sets = {{7, {"$Work"}}};
    CHECK(box.apply(news));
    CHECK(box.exists() == 4);
    box.mark_recent(50);
    std::string out;
    box.take_news(out, NumbersAre::message_numbers);
    CHECK(out ==
          "* 5 EXISTS\r\n* 2 RECENT\r\n* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Work)\r\n"
          "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Work \\*)] Flags permitted\r\n"
          "* 1 FETCH (FLAGS (\\Seen))\r\n");
    CHECK_FALSE(box.has_news());
}

TEST_CASE("a message that came and went between two looks has never been") {
    Selected box = four();
    MailboxNews came;
    came.changed = {entry(50), entry(60)};
    CHECK(box.apply(came));
    MailboxNews went;
    went.expunged = {50, 60};
    box.apply(went);
    std::string out;
    box.take_expunges(out);
    box.take_news(out, NumbersAre::uids);
    CHECK(out.empty());
    CHECK(box.exists() == 4);
}

TEST_CASE("one of two new messages is gone already") {
    Selected box = four();
    MailboxNews news;
    news.changed = {entry(50), entry(60)};
    box.apply(news);
    MailboxNews went;
    went.expunged = {10, 50};
    box.apply(went);
    std::string out;
    box.take_expunges(out);
    CHECK(out == "* 1 EXPUNGE\r\n");
    box.take_news(out, NumbersAre::uids);
    CHECK(out == "* 1 EXPUNGE\r\n* 4 EXISTS\r\n* 1 RECENT\r\n");
    CHECK(box.uid_max() == 60);
}

TEST_CASE("what this session changed itself is not told twice") {
    Selected box = four();
    CHECK(box.apply_own(entry(10, 4)));
    CHECK_FALSE(box.apply_own(entry(10, 4, 9)));  // keywords that are not known yet
    MailboxNews news;
    news.changed = {entry(10, 4)};
    box.apply(news);
    CHECK_FALSE(box.has_news());
}
