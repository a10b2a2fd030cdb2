#include "protocols/net/deflate.h"

#include "tests/unit/protocols/net/pair.h"

using namespace posthouse;
using namespace posthouse::net;

namespace {

struct Fixture {
    Fixture() {
        MemoryPair pair = make_memory_pair(loop, loopback(143), loopback(4711));
        one = deflated(std::move(pair.first));
        raw = pair.second.get();
        two = deflated(std::move(pair.second));
    }
    std::string read(Stream& from, std::size_t octets, std::size_t step) {
        std::string out;
        std::string piece(step, '\0');
        while (out.size() < octets) {
            const auto got = run_task(loop, from.read_some(std::span<char>(piece)));
            REQUIRE(got);
            out.append(piece, 0, *got);
        }
        return out;
    }

    Loop loop;
    std::unique_ptr<DeflatedStream> one;
    std::unique_ptr<DeflatedStream> two;
    Stream* raw = nullptr;  // beneath `two`
};

}  // namespace

TEST_CASE("what is written on one side is read on the other, whatever the pieces") {
    Fixture f;
    std::string text;
    for (int i = 0; i < 60'000; ++i) text += static_cast<char>(i * 31 >> 4);
    for (const std::size_t step : {1UL, 7UL, 4096UL, 100'000UL}) {
        REQUIRE(run_task(f.loop, f.one->write_all(text)));
        REQUIRE(run_task(f.loop, f.two->wait_readable()));
        CHECK(f.read(*f.two, text.size(), step) == text);
        REQUIRE(run_task(f.loop, f.two->write_all("answer")));
        CHECK(f.read(*f.one, 6, step) == "answer");
    }
}

TEST_CASE("what was written before anything was read is all there: each flush leaves a block without content") {
    Fixture f;
    const std::string pieces[] = {"a6 NO", "OP\r\n", "a7 NOOP\r\n", std::string(100, 'x'), "a8 NOOP\r\n"};
    std::string text;
    for (const std::string& piece : pieces) {
        REQUIRE(run_task(f.loop, f.one->write_all(piece)));
        text += piece;
    }
    CHECK(f.read(*f.two, text.size(), 65'536) == text);
}

TEST_CASE("a bomb is inflated only as fast as it is read") {
    Fixture f;
    const std::string zeros(20UL * 1024 * 1024, '\0');
    REQUIRE(run_task(f.loop, f.one->write_all(zeros)));
    const std::string first = f.read(*f.two, 1000, 1000);
    CHECK(first.size() == 1000);
    CHECK(f.read(*f.two, zeros.size() - first.size(), 64UL * 1024).size() == zeros.size() - first.size());
}

TEST_CASE("damaged input and the end of the compressed stream end the connection") {
    for (const std::string_view octets :
         {std::string_view("\xff\xff\xff\xff garbage"), std::string_view("\x03\x00", 2)}) {
        Fixture f;
        REQUIRE(run_task(f.loop, f.raw->write_all(octets)));
        std::string piece(100, '\0');
        const auto got = run_task(f.loop, f.one->read_some(std::span<char>(piece)));
        REQUIRE_FALSE(got);
        CHECK(got.error().code == Errc::closed);
    }
}

TEST_CASE("RFC 8437 4.1: compression ends both ways, whatever marks the end, and begins again") {
    Fixture f;
    for (const int round : {1, 2, 3}) {
        CAPTURE(round);
        REQUIRE(run_task(f.loop, f.two->write_all("a UNAUTHENTICATE\r\n")));  // flushed, as with every write
        CHECK(f.read(*f.one, 18, 100) == "a UNAUTHENTICATE\r\n");
        REQUIRE(run_task(f.loop, f.one->write_last("a OK\r\n")));
        CHECK_FALSE(f.one->is_deflating());
        CHECK(f.read(*f.two, 6, 100) == "a OK\r\n");
        REQUIRE(run_task(f.loop, f.two->write_last("")));  // an empty last block, which comes late
        REQUIRE(run_task(f.loop, f.two->write_all("b NOOP\r\n")));
        CHECK(f.read(*f.one, 8, 3) == "b NOOP\r\n");
        REQUIRE(run_task(f.loop, f.one->write_all("b OK\r\n")));
        CHECK(f.read(*f.two, 6, 100) == "b OK\r\n");
        f.one->deflate_again();
        f.two->deflate_again();
    }
}

TEST_CASE("RFC 8437 4.1: what follows at once in clear is not inflated") {
    Fixture f;
    Fixture packer;  // what it deflates is gathered
    const auto gathered = [&] {
        std::string piece(1000, '\0');
        const auto got = run_task(packer.loop, packer.raw->read_some(std::span<char>(piece)));
        REQUIRE(got);
        return piece.substr(0, *got);
    };
    REQUIRE(run_task(packer.loop, packer.one->write_all("a UNAUTHENTICATE\r\n")));
    const std::string flushed = gathered();
    REQUIRE(run_task(packer.loop, packer.one->write_last("a UNAUTHENTICATE\r\n")));
    const std::string finished = gathered();
    CHECK(finished.size() < flushed.size());
    Fixture other;
    REQUIRE(run_task(f.loop, f.raw->write_all(flushed + "b LOGIN x y\r\n")));
    CHECK(f.read(*f.one, 18, 100) == "a UNAUTHENTICATE\r\n");
    REQUIRE(run_task(f.loop, f.one->write_last("a OK\r\n")));
    CHECK(f.read(*f.one, 13, 100) == "b LOGIN x y\r\n");
    // The packer's second piece refers to its first.
    REQUIRE(run_task(other.loop, other.raw->write_all(flushed + finished + "b LOGIN x y\r\n")));
    CHECK(other.read(*other.one, 36, 18) == "a UNAUTHENTICATE\r\na UNAUTHENTICATE\r\n");
    REQUIRE(run_task(other.loop, other.one->write_last("a OK\r\n")));
    CHECK(other.read(*other.one, 13, 100) == "b LOGIN x y\r\n");
}
