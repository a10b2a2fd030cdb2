#include "server/smtp/content.h"

#include <doctest/doctest.h>

#include <string>

using namespace posthouse::server::smtp;

namespace {

// Decodes `input` cut after every `piece` octets; `rest` is what stays behind the end of data.
std::string decode(std::string_view input, std::size_t piece, bool& done, std::size_t& rest) {
    DotDecoder decoder;
    std::string out;
    rest = 0;
    while (!input.empty()) {
        std::string_view part = input.substr(0, piece);
        input.remove_prefix(part.size());
        while (!part.empty() && !decoder.done()) out += decoder.next(part);
        if (decoder.done()) {
            rest = part.size() + input.size();
            break;
        }
    }
    done = decoder.done();
    return out;
}

// Octet by octet, as RFC 5321 4.5.2 tells it: the reference for the fast one.
bool is_clean(std::string_view text) {
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\0') return false;
        if (text[i] == '\r' && (i + 1 == text.size() || text[i + 1] != '\n')) return false;
        if (text[i] == '\n' && (i == 0 || text[i - 1] != '\r')) return false;
    }
    return true;
}

}  // namespace

TEST_CASE("the end of data, RFC 5321 4.1.1.4, in any pieces") {
    struct Case {
        std::string_view input;
        std::string_view content;
        bool done;
        std::size_t rest;
    };
    constexpr Case cases[] = {
        {".\r\n", "", true, 0},
        {"a\r\n.\r\nQUIT\r\n", "a\r\n", true, 6},
        {"..\r\n...\r\n.a\r\n.\r\n", ".\r\n..\r\na\r\n", true, 0},
        {"a\n.\nb\r\n.\r\n", "a\n.\nb\r\n", true, 0},
        {"a\n.\r\nb\r\n.\r\n", "a\n.\r\nb\r\n", true, 0},
        {"a\r\n.\nb\r\n.\r\n", "a\r\n\nb\r\n", true, 0},
        {"a\r.\rb\r\n.\r\n", "a\r.\rb\r\n", true, 0},
        {"a\r\n.\rb\r\n.\r\n", "a\r\n\rb\r\n", true, 0},
        {"a\r\n.\r\r\n.\r\n", "a\r\n\r\r\n", true, 0},
        {"a\r\r\n.\r\n", "a\r\r\n", true, 0},
        {"\r\n\r\n.\r\n", "\r\n\r\n", true, 0},
        {"a\r\n.", "a\r\n", false, 0},
    };
    for (const Case& c : cases) {
        CAPTURE(c.input);
        for (std::size_t piece = 1; piece <= c.input.size(); ++piece) {
            CAPTURE(piece);
            bool done = false;
            std::size_t rest = 0;
            CHECK(decode(c.input, piece, done, rest) == c.content);
            CHECK(done == c.done);
            CHECK(rest == c.rest);
        }
    }
}

TEST_CASE("bare CR, LF and NUL are seen over every cut and every block") {
    for (const std::string_view text : {"a\r\nb\r\n", "a\nb", "a\rb", "\n", "\r", "a\r\r\n", "\n\r", "\r\n\n"}) {
        for (std::size_t before = 0; before < 260; before += 43) {
            const std::string all = std::string(before, 'x') + std::string(text) + std::string(130, 'y');
            for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, all.size()}) {
                LineScan scan;
                for (std::size_t at = 0; at < all.size(); at += piece)
                    scan.feed(std::string_view(all).substr(at, piece));
                CAPTURE(before);
                CAPTURE(piece);
                CHECK(scan.clean() == is_clean(all));
            }
        }
    }
    LineScan scan;
    scan.feed(std::string_view("a\0b", 3));
    CHECK_FALSE(scan.clean());
    CHECK_FALSE(scan.has_8bit());
    scan.feed("\xc3\xa9");
    CHECK(scan.has_8bit());
}
