#include "protocols/crypto/stream_seal.h"

#include <doctest/doctest.h>

#include "protocols/crypto/crypto.h"

using namespace posthouse;

namespace {

std::string text_of(std::size_t octets) {
    std::string out(octets, '\0');
    for (std::size_t i = 0; i < octets; ++i) out[i] = static_cast<char>(i * 31 + i / 997);
    return out;
}

}  // namespace

TEST_CASE("a sealed stream opens with its key and purpose, whatever its length") {
    REQUIRE(crypto::init());
    const std::string key = crypto::random_octets(crypto::kStreamKeyOctets);
    constexpr std::size_t kPiece = crypto::kStreamPieceOctets;
    for (const std::size_t octets : {std::size_t{0}, std::size_t{1}, kPiece - 1, kPiece, kPiece + 1, 3 * kPiece}) {
        CAPTURE(octets);
        const std::string text = text_of(octets);
        const std::string box = crypto::seal_stream(key, "object", text);
        CHECK(box.size() == crypto::sealed_stream_octets(octets));
        const auto opened = crypto::open_stream(key, "object", box);
        REQUIRE(opened);
        CHECK(*opened == text);
        CHECK(crypto::open_stream(key, "manifest", box).error().code == Errc::corrupt);
        CHECK(crypto::open_stream(crypto::random_octets(32), "object", box).error().code == Errc::corrupt);
        CHECK(crypto::open_stream("short", "object", box).error().code == Errc::invalid);
        CHECK(crypto::open_stream(key, "object", box + "x").error().code == Errc::corrupt);
    }
}

TEST_CASE("a sealed stream that was cut does not open, at the edge of a piece neither") {
    REQUIRE(crypto::init());
    const std::string key = crypto::random_octets(crypto::kStreamKeyOctets);
    const std::string box = crypto::seal_stream(key, "object", text_of(2 * crypto::kStreamPieceOctets + 100));
    const std::size_t first_edge = 24 + crypto::kStreamPieceOctets + 17;
    for (const std::size_t length : {std::size_t{0}, std::size_t{10}, std::size_t{24}, std::size_t{41}, first_edge,
                                     first_edge + 5, first_edge + crypto::kStreamPieceOctets + 17, box.size() - 1}) {
        CAPTURE(length);
        CHECK(crypto::open_stream(key, "object", std::string_view(box).substr(0, length)).error().code ==
              Errc::corrupt);
    }
}

TEST_CASE("no octet of a sealed stream can be changed, and its pieces cannot change places") {
    REQUIRE(crypto::init());
    const std::string key = crypto::random_octets(crypto::kStreamKeyOctets);
    const std::string small = crypto::seal_stream(key, "object", "some octets");
    for (std::size_t i = 0; i < small.size(); ++i) {
        CAPTURE(i);
        std::string changed = small;
        changed[i] = static_cast<char>(changed[i] ^ 1);
        CHECK(crypto::open_stream(key, "object", changed).error().code == Errc::corrupt);
    }
    const std::size_t piece = crypto::kStreamPieceOctets + 17;
    const std::string box = crypto::seal_stream(key, "object", text_of(3 * crypto::kStreamPieceOctets));
    const std::string swapped =
        box.substr(0, 24) + box.substr(24 + piece, piece) + box.substr(24, piece) + box.substr(24 + 2 * piece);
    REQUIRE(swapped.size() == box.size());
    CHECK(crypto::open_stream(key, "object", swapped).error().code == Errc::corrupt);
}
