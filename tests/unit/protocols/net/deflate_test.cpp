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
    std::unique_ptr<Stream> one;
    std::unique_ptr<Stream> two;
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
