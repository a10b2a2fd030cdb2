// Records as they pass by: the same findings whatever the pieces.
#include "storage/backup/records.h"

#include <doctest/doctest.h>
#include <zlib.h>

using namespace posthouse;
using namespace posthouse::storage;
using namespace posthouse::storage::backup;

namespace {

std::string record(std::int64_t message, const std::string& payload) {
    RecordHeader header;
    header.message = static_cast<MessageId>(message);
    header.payload_octets = payload.size();
    header.payload_crc =
        static_cast<std::uint32_t>(crc32_z(0, reinterpret_cast<const unsigned char*>(payload.data()), payload.size()));
    return format_record_header(header) + payload;
}

/// Three records: at 16, 16 + 32 + 100 = 148, and 148 + 32 + 200 = 380.
std::string segment() {
    return format_file_header(1) + record(1, std::string(100, 'P')) + record(2, std::string(200, 'b')) +
           record(3, std::string(50, 'c'));
}

std::vector<std::string> walk(const std::string& octets, std::size_t piece) {
    std::vector<std::string> out;
    RecordWalk walk("segments/000001.seg", 1, [&](std::string sentence) { out.push_back(std::move(sentence)); });
    for (std::size_t at = 0; at < octets.size(); at += piece) walk.feed(std::string_view(octets).substr(at, piece));
    walk.end();
    return out;
}

std::vector<std::int64_t> check(const std::string& octets, std::size_t piece, std::vector<Place> rows,
                                std::pair<std::size_t, std::size_t> lost = {0, 0}) {
    std::vector<std::int64_t> told;
    std::size_t next = 0;
    PlaceCheck places(
        [&]() -> Result<std::optional<Place>> {
            return next < rows.size() ? std::optional<Place>(rows[next++]) : std::nullopt;
        },
        [&](const Place& place, std::string_view) { told.push_back(place.message); });
    REQUIRE(places.begin(1));
    for (std::size_t at = 0; at < octets.size(); at += piece) {
        const std::string_view part = std::string_view(octets).substr(at, piece);
        const bool gone = at < lost.second && at + part.size() > lost.first;
        REQUIRE((gone ? places.skip(part.size()) : places.feed(part)));
    }
    REQUIRE(places.end());
    REQUIRE(places.finish());
    return told;
}

const std::vector<Place> kRows = {{1, 1, 16, 100}, {2, 1, 148, 200}, {3, 1, 380, 50}};
constexpr std::size_t kPieces[] = {1, 7, 32, 100, 10'000};

}  // namespace

TEST_CASE("a whole segment has nothing to tell") {
    for (const std::size_t piece : kPieces) {
        CAPTURE(piece);
        CHECK(walk(segment(), piece).empty());
        CHECK(check(segment(), piece, kRows).empty());
        CHECK(check(segment(), piece, {kRows[1]}).empty());
        CHECK(check(segment(), piece, {}).empty());
    }
}

TEST_CASE("a damaged payload is named, and the records behind it are found") {
    std::string octets = segment();
    octets[200] = 'x';
    for (const std::size_t piece : kPieces) {
        CAPTURE(piece);
        const auto told = walk(octets, piece);
        REQUIRE(told.size() == 1);
        CHECK(told[0] == "segments/000001.seg: message 2 at 148 does not match its checksum");
        CHECK(check(octets, piece, kRows) == std::vector<std::int64_t>{2});
    }
}

TEST_CASE("behind a damaged header the next record is found") {
    std::string octets = segment();
    octets[20] = static_cast<char>(octets[20] ^ 1);
    octets[400] = 'x';  // the third one's header
    for (const std::size_t piece : kPieces) {
        CAPTURE(piece);
        const auto told = walk(octets, piece);
        REQUIRE(told.size() == 2);
        CHECK(told[0].starts_with("segments/000001.seg: the record at 16 is damaged"));
        CHECK(told[1].starts_with("segments/000001.seg: the record at 380 is damaged"));
        CHECK(check(octets, piece, kRows) == std::vector<std::int64_t>{1, 3});
    }
}

TEST_CASE("a segment that ends too soon, or begins wrong, is named") {
    for (const std::size_t piece : kPieces) {
        CAPTURE(piece);
        CHECK(walk(segment().substr(0, 300), piece).size() == 1);
        CHECK(walk(segment().substr(0, 390), piece).size() == 1);
        CHECK(check(segment().substr(0, 300), piece, kRows) == std::vector<std::int64_t>{2, 3});
        CHECK(walk("x" + segment().substr(1), piece).size() == 1);
    }
}

TEST_CASE("rows that point elsewhere are told, the others are checked") {
    for (const std::size_t piece : kPieces) {
        CAPTURE(piece);
        const std::vector<Place> rows = {{8, 0, 16, 100},  {1, 1, 16, 100}, {9, 1, 17, 5},
                                         {7, 1, 148, 200}, {3, 1, 380, 50}, {4, 2, 16, 10}};
        CHECK(check(segment(), piece, rows) == std::vector<std::int64_t>{8, 9, 7, 4});
    }
}

TEST_CASE("what cannot be read costs only the messages in it") {
    CHECK(check(segment(), 10, kRows, {150, 160}) == std::vector<std::int64_t>{2});
    CHECK(check(segment(), 10, kRows, {0, 10}).empty());
    CHECK(check(segment(), 10, kRows, {140, 160}) == std::vector<std::int64_t>{1, 2});
}
