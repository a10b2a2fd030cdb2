// Line ends of what goes out (relay/message.h): CRLF and nothing else, however the octets come.
#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

#include "relay/message.h"

namespace posthouse::relay {
namespace {

// One octet after the other, as RFC 5321 2.3.8 has it.
std::string slowly(std::string_view octets) {
    std::string out;
    for (std::size_t i = 0; i < octets.size(); ++i) {
        const bool after_cr = i > 0 && octets[i - 1] == '\r';
        if (octets[i] == '\n' && !after_cr) out += '\r';
        out += octets[i];
        const bool is_bare = octets[i] == '\r' && (i + 1 == octets.size() || octets[i + 1] != '\n');
        if (is_bare) out += '\n';
    }
    return out;
}

std::string in_pieces(std::string_view octets, std::size_t first) {
    std::string out;
    LineEnds ends;
    ends.append(out, octets.substr(0, first));
    ends.append(out, octets.substr(first));
    ends.finish(out);
    return out;
}

}  // namespace

TEST_CASE("each bare CR and bare LF becomes CRLF wherever it stands: octets are compared in blocks") {
    for (const std::size_t size : {1U, 2U, 254U, 255U, 256U, 257U, 509U, 510U, 511U, 512U, 766U}) {
        for (std::size_t at = 0; at < size; ++at) {
            for (const std::string_view end : {"\r", "\n", "\r\n"}) {
                if (at + end.size() > size) continue;
                std::string text(size, 'a');
                text.replace(at, end.size(), end);
                if (in_pieces(text, size) == slowly(text)) continue;
                FAIL("an end of " << end.size() << " octets at " << at << " of " << size);
            }
        }
    }
}

TEST_CASE("a bare CR does not make up for a bare LF, in the same block or in another") {
    for (std::size_t cr = 0; cr < 600; cr += 7) {
        for (std::size_t lf = 0; lf < 600; lf += 5) {
            if (cr == lf) continue;
            std::string text(600, 'a');
            text[cr] = '\r';
            text[lf] = '\n';
            if (in_pieces(text, text.size()) == slowly(text)) continue;
            FAIL("CR at " << cr << ", LF at " << lf);
        }
    }
}

TEST_CASE("nothing but line ends, and a cut through one") {
    std::string ends;
    for (int i = 0; i < 400; ++i) ends += "\r\n";
    CHECK(in_pieces(ends, ends.size()) == ends);
    CHECK(in_pieces(ends, 255) == ends);
    CHECK(in_pieces(std::string(600, '\n'), 600) == ends + ends.substr(0, 400));
    // So many that what counts them could begin anew.
    for (const char end : {'\r', '\n'}) {
        for (const std::size_t count : {255U, 256U, 257U, 512U}) {
            const std::string text = "a" + std::string(count, end) + "a" + std::string(400, 'a');
            CAPTURE(count);
            CHECK(in_pieces(text, text.size()) == slowly(text));
        }
    }
    const std::string text = "one\r\ntwo\nthree\rfour\r\n\r\r\n\n";
    for (std::size_t first = 0; first <= text.size(); ++first) {
        CAPTURE(first);
        CHECK(in_pieces(text, first) == slowly(text));
    }
}

}  // namespace posthouse::relay
