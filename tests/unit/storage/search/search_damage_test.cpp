// search.db with an octet changed in every kind of page, cut anywhere, empty or gone: the store opens, a search finds
// what reading everything finds, and the file is built anew by the job alone.
#include <fstream>
#include <map>

#include "storage/search/examine.h"
#include "tests/unit/storage/search/search_store.h"

using namespace posthouse;
using namespace posthouse::storage;
using namespace posthouse::storage::search;
using test::build;
using test::SearchStore;

namespace {

constexpr int kMessages = 150;
constexpr std::size_t kPageOctets = 16384;
const char* const kAsked[] = {"exporter", "caf\xc3\xa9", "\xe4\xb8\xad", "number 11", "nothing of it"};

std::string read_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

/// The first octet of a b-tree page says its kind (SQLite file format 1.6); page 1 begins with the file's header.
std::string kind_of_page(const std::string& file, std::size_t page) {
    if (page == 0) return "first";
    switch (static_cast<unsigned char>(file[page * kPageOctets])) {
        case 2: return "index interior";
        case 5: return "table interior";
        case 10: return "index leaf";
        case 13: return "table leaf";
        default: return "overflow or free";
    }
}

class Damaged {
 public:
    Damaged() {
        {
            SearchIndex index(*store);
            build(index);
        }
        good = read_file(path);
        REQUIRE(good.size() % kPageOctets == 0);
        for (const char* needle : kAsked) expected.push_back(store.by_reading(needle));
    }
    /// Puts `octets` in the file's place, as if the server had been stopped meanwhile.
    void put(const std::string& octets) const {
        for (const char* ending : {"-wal", "-shm"}) std::filesystem::remove(path + ending);
        std::ofstream(path, std::ios::binary | std::ios::trunc) << octets;
    }
    std::vector<std::string> examined(Thoroughness how = Thoroughness::texts) {
        const auto faults = examine(*store, how, [] { return true; });
        REQUIRE(faults);
        return *faults;
    }
    /// Whether the answers are right at once; afterwards they are in any case.
    bool try_with(const std::string& octets) {
        put(octets);
        SearchIndex index(*store);
        const bool right = agrees(index);
        if (!right) CHECK(index.rebuild());  // posthouse search rebuild
        build(index);
        build(index);
        CHECK(index.status()->indexed == kMessages);
        CHECK(agrees(index));
        return right;
    }
    bool agrees(SearchIndex& index) {
        bool all = true;
        for (std::size_t i = 0; i < std::size(kAsked); ++i) {
            all = all && store.by_index(index, kAsked[i]) == expected[i];
        }
        return all;
    }

    SearchStore store{kMessages, 11};
    std::string path = store.path() + "/search.db";
    std::string good;
    std::vector<SearchStore::Ids> expected;
};

}  // namespace

TEST_CASE("search.db with octets changed in each kind of page") {
    Damaged d;
    std::map<std::string, std::vector<std::size_t>> pages;
    for (std::size_t page = 0; page * kPageOctets < d.good.size(); ++page) {
        pages[kind_of_page(d.good, page)].push_back(page);
    }
    std::map<std::string, int> wrong;
    for (const auto& [kind, all] : pages) {
        // One in the middle and the last of each kind; head, cell pointers, and content from its end.
        for (const std::size_t page : {all[all.size() / 2], all.back()}) {
            for (const std::size_t at : {0UL, 3UL, 9UL, 40UL, 8000UL, 12'000UL, 16'000UL, 16'380UL}) {
                std::string octets = d.good;
                octets[page * kPageOctets + at] = static_cast<char>(octets[page * kPageOctets + at] ^ 0x15);
                CAPTURE(kind);
                CAPTURE(page);
                CAPTURE(at);
                wrong[kind] += d.try_with(octets) ? 0 : 1;
            }
        }
    }
    CHECK(wrong.size() >= 4);
    // Within a list of messages a changed octet may have a meaning of its own: audits find it, in time.
    for (const auto& [kind, count] : wrong) {
        CAPTURE(kind);
        CHECK(count <= (kind == "table leaf" ? 4 : 0));
    }
}

TEST_CASE("search.db cut anywhere, empty, zeroed or gone") {
    Damaged d;
    CHECK(d.examined().empty());
    const std::size_t size = d.good.size();
    for (const std::size_t octets : {0UL, 1UL, 100UL, kPageOctets, kPageOctets + 1, size / 2, size - 1}) {
        CAPTURE(octets);
        d.put(d.good.substr(0, octets));
        CHECK_FALSE(d.examined().empty());
        CHECK(d.try_with(d.good.substr(0, octets)));
    }
    CHECK(d.try_with(std::string(size, '\0')));
    std::filesystem::remove(d.path);
    CHECK(d.examined().empty());  // nothing is there, nothing is wrong
    SearchIndex index(*d.store);
    CHECK(d.agrees(index));
    build(index);
    CHECK(index.status()->indexed == kMessages);
    CHECK(d.examined().empty());  // beside the process that writes, too
}

TEST_CASE("what is wrong with search.db is told in plain words") {
    Damaged d;
    SUBCASE("empty") {
        d.put("");
        CHECK(d.examined() == std::vector<std::string>{"search.db is empty"});
    }
    SUBCASE("no database") {
        d.put(std::string(kPageOctets, 'x'));
        CHECK(d.examined() == std::vector<std::string>{"search.db is damaged: file is not a database (26)"});
    }
    SUBCASE("a text") {
        auto db = Connection::open(d.path, Connection::Mode::write, 1 << 20);
        REQUIRE(db);
        REQUIRE((*db)->exec(
            "UPDATE texts SET header = zeroblob(length(header)), body = zeroblob(length(body)) WHERE message = 7"));
        REQUIRE((*db)->exec("DELETE FROM texts WHERE message = 9"));
        CHECK(d.examined() == std::vector<std::string>{
                                  "search.db: the text of message 7 in the search index is damaged",
                                  "search.db: message 9 has no text",
                              });
    }
    SUBCASE("terms") {
        auto db = Connection::open(d.path, Connection::Mode::write, 1 << 20);
        REQUIRE(db);
        sqlite3_db_config((*db)->handle(), SQLITE_DBCONFIG_DEFENSIVE, 0, nullptr);
        REQUIRE((*db)->exec("UPDATE body_words_data SET block = zeroblob(length(block)) WHERE id > 10"));
        CHECK(d.examined().empty());
        CHECK(d.examined(Thoroughness::words).size() > 1);
    }
    SUBCASE("of another store: sound") {
        auto db = Connection::open(d.path, Connection::Mode::write, 1 << 20);
        REQUIRE(db);
        REQUIRE((*db)->exec("UPDATE origin SET value = 'another' WHERE name = 'store'; DELETE FROM texts"));
        CHECK(d.examined().empty());
    }
}
