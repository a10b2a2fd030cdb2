#include "server/imap/selected.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <random>

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

storage::EntryFlags flags_of(const Entry& entry) {
    return {entry.uid, entry.flags, entry.keyword_set, entry.modseq};
}

EntryListPtr list_of(const std::vector<Entry>& entries) {
    EntryList::Builder out;
    for (const Entry& of : entries) out.add(Line(of));
    return out.finish();
}

Selected four() {
    std::vector<Entry> entries;
    for (Uid uid = 10; uid <= 40; uid += 10) entries.push_back(entry(uid));
    return {OpenedMailbox(Mailbox(), list_of(entries), {}), Mode::read_write, 40};
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
    CHECK(box.apply_own(std::vector{flags_of(entry(10, 4))}));
    CHECK_FALSE(box.apply_own(std::vector{flags_of(entry(10, 4, 9))}));  // keywords that are not known yet
    MailboxNews news;
    news.changed = {entry(10, 4)};
    box.apply(news);
    CHECK_FALSE(box.has_news());
}

TEST_CASE("an older answer to this session's own STORE does not undo what another session did since") {
    Selected box = four();
    MailboxNews news;
    news.changed = {entry(10, 2)};
    news.changed[0].modseq = 7;
    box.apply(news);
    Entry own = entry(10, 4);
    own.modseq = 6;
    CHECK(box.apply_own(std::vector{flags_of(own)}));
    CHECK(box.row(1).entry.flags == 2);
    std::string out;
    box.take_news(out, NumbersAre::message_numbers);
    CHECK(out == "* 1 FETCH (FLAGS (\\Answered))\r\n");
}

TEST_CASE("one session's changes are not seen through another's, though they share a list") {
    std::vector<Entry> entries;
    for (Uid uid = 1; uid <= 2000; ++uid) entries.push_back(entry(uid, 1));
    const EntryListPtr list = list_of(entries);
    Selected one(OpenedMailbox(Mailbox(), list, {}), Mode::read_write, 2001);
    Selected other(OpenedMailbox(Mailbox(), list, {}), Mode::read_only, 2001);
    CHECK(one.apply_own(std::vector{flags_of(entry(700, 9))}));
    MailboxNews news;
    news.expunged = {5, 1999};
    one.apply(news);
    std::string out;
    one.take_expunges(out);
    CHECK(out == "* 5 EXPUNGE\r\n* 1998 EXPUNGE\r\n");
    CHECK(one.exists() == 1998);
    CHECK(one.row(699).entry.flags == 9);
    CHECK(other.exists() == 2000);
    CHECK(other.row(700).entry.flags == 1);
    CHECK(other.number_of(5) == 5);
    CHECK(list->size() == 2000);
}

TEST_CASE("UIDs up to the highest there can be") {
    constexpr Uid kMost = std::numeric_limits<Uid>::max();
    Selected box(OpenedMailbox(Mailbox(), list_of({entry(1), entry(kMost)}), {}), Mode::read_write, kMost);
    CHECK(box.recent() == 1);
    CHECK(box.row(2).recent);
    CHECK(box.number_of(kMost) == 2);
    posthouse::imap::SequenceSet all;
    all.ranges.push_back({1, kMost});
    CHECK(box.numbers(all, NumbersAre::uids)->size() == 2);
}

namespace {

// What Selected promises, done the slow way: every row with its marks.
struct Model {
    struct Row {
        Entry entry;
        bool recent = false;
        bool gone = false;
    };
    std::vector<Row> rows;
    std::size_t told = 0;

    std::string take_expunges() {
        std::string out;
        for (std::size_t i = 0; i < rows.size();) {
            if (!rows[i].gone) {
                ++i;
                continue;
            }
            if (i < told) {
                out += "* " + std::to_string(i + 1) + " EXPUNGE\r\n";
                --told;
            }
            rows.erase(rows.begin() + static_cast<std::ptrdiff_t>(i));
        }
        return out;
    }
};

void check_same(const Selected& box, const Model& model) {
    REQUIRE(box.exists() == model.told);
    std::uint32_t recent = 0;
    std::uint32_t first_unseen = 0;
    for (std::size_t i = 0; i < model.rows.size(); ++i) {
        const Model::Row& want = model.rows[i];
        const auto number = static_cast<std::uint32_t>(i + 1);
        recent += want.recent ? 1 : 0;
        if (first_unseen == 0 && (want.entry.flags & 1) == 0) first_unseen = number;
        REQUIRE(box.number_of(want.entry.uid) == number);
        const Selected::Row got = box.row(number);
        REQUIRE(got.entry == Line(want.entry));
        REQUIRE(got.recent == want.recent);
        REQUIRE(got.gone == want.gone);
    }
    REQUIRE(box.recent() == recent);
    REQUIRE(box.first_unseen() == first_unseen);
    REQUIRE(box.uid_max() == (model.told == 0 ? 0 : model.rows[model.told - 1].entry.uid));
}

// One look at a store that changed at random: flags, new messages, expunged ones.
MailboxNews random_news(std::mt19937& random, std::map<Uid, Entry>& store, Uid& next_uid, ModSeq& modseq) {
    MailboxNews news;
    std::map<Uid, Entry> changed;
    for (int i = static_cast<int>(random() % 6); i > 0; --i) {
        Entry fresh = entry(next_uid, static_cast<FlagBits>(random() % 32));
        next_uid += 1 + random() % 3;
        fresh.modseq = ++modseq;
        store[fresh.uid] = changed[fresh.uid] = fresh;
    }
    for (int i = static_cast<int>(random() % 6); i > 0 && !store.empty(); --i) {
        Entry& old = std::next(store.begin(), static_cast<std::ptrdiff_t>(random() % store.size()))->second;
        old.flags = static_cast<FlagBits>(random() % 32);
        old.modseq = ++modseq;
        changed[old.uid] = old;
    }
    for (int i = static_cast<int>(random() % 5); i > 0 && !store.empty(); --i) {
        const auto at = std::next(store.begin(), static_cast<std::ptrdiff_t>(random() % store.size()));
        news.expunged.push_back(at->first);
        changed.erase(at->first);
        store.erase(at);
    }
    std::ranges::sort(news.expunged);
    for (const auto& [uid, of] : changed) news.changed.push_back(of);
    news.mailbox.highest_modseq = modseq;
    // Now and then the cache has nothing to share.
    if (random() % 3 != 0) {
        std::vector<Entry> all;
        for (const auto& [uid, of] : store) all.push_back(of);
        news.entries = list_of(all);
    }
    return news;
}

bool apply_to_model(Model& model, const MailboxNews& news) {
    const Uid last = model.rows.empty() ? 0 : model.rows.back().entry.uid;
    bool grew = false;
    for (const Entry& changed : news.changed) {
        const auto at = std::ranges::find(model.rows, changed.uid, [](const auto& row) { return row.entry.uid; });
        if (at != model.rows.end()) at->entry = changed;
        if (at == model.rows.end() && changed.uid > last) {
            model.rows.push_back({changed});
            grew = true;
        }
    }
    for (Model::Row& row : model.rows) {
        if (std::ranges::binary_search(news.expunged, row.entry.uid)) row.gone = true;
    }
    while (model.rows.size() > model.told && model.rows.back().gone) model.rows.pop_back();
    return grew;
}

}  // namespace

TEST_CASE("a session's view is what a simple one would be, whatever comes and in whatever order it is told") {
    for (unsigned seed = 1; seed <= 12; ++seed) {
        CAPTURE(seed);
        std::mt19937 random(seed);
        std::map<Uid, Entry> store;
        Uid next_uid = 1;
        ModSeq modseq = 1;
        for (std::size_t count = random() % 1500; store.size() < count; next_uid += 1 + random() % 2) {
            store[next_uid] = entry(next_uid, static_cast<FlagBits>(random() % 32));
        }
        Model model;
        std::vector<Entry> all;
        const Uid recent_from = next_uid > 5 ? next_uid - 5 : 1;
        for (const auto& [uid, of] : store) {
            all.push_back(of);
            model.rows.push_back({of, uid >= recent_from});
        }
        model.told = model.rows.size();
        Selected box(OpenedMailbox(Mailbox(), list_of(all), {}), Mode::read_write, recent_from);
        for (int step = 0; step < 60; ++step) {
            const Uid before = next_uid;
            const MailboxNews news = random_news(random, store, next_uid, modseq);
            REQUIRE(box.apply(news) == apply_to_model(model, news));
            if (random() % 2 == 0) {
                box.mark_recent(before);
                for (Model::Row& row : model.rows) row.recent = row.recent || row.entry.uid >= before;
            }
            if (!store.empty() && random() % 2 == 0) {  // a STORE of its own
                Entry& own = std::next(store.begin(), static_cast<std::ptrdiff_t>(random() % store.size()))->second;
                own.flags = static_cast<FlagBits>(random() % 32);
                own.modseq = ++modseq;
                REQUIRE(box.apply_own(std::vector{flags_of(own)}));
                for (Model::Row& row : model.rows) {
                    if (row.entry.uid == own.uid) row.entry = own;
                }
            }
            std::string out;
            if (random() % 2 == 0) {
                box.take_expunges(out);
                REQUIRE(out == model.take_expunges());
            }
            if (random() % 2 == 0) {
                box.take_news(out, NumbersAre::message_numbers);
                if (box.exists() > model.told) model.told = model.rows.size();
            }
            check_same(box, model);
        }
    }
}
