#include "admin/transfer/crlf.h"

#include <doctest/doctest.h>

#include <string>

using namespace posthouse;

namespace {

struct Case {
    std::string file;
    std::string mail;
};

const Case kCases[] = {
    {"", ""},
    {"a", "a"},
    {"a\nb\n", "a\r\nb\r\n"},
    {"a\r\nb\n", "a\r\nb\r\n"},
    {"\n\n", "\r\n\r\n"},
    {"a\rb\n", "a\rb\r\n"},
    {"a\r\r\nb", "a\r\r\nb"},
    {std::string("a\0\nb", 4), std::string("a\0\r\nb", 5)},
    {"\r", "\r"},
};

}  // namespace

TEST_CASE("a bare LF becomes CRLF wherever the pieces are cut; all else stays") {
    for (const Case& c : kCases) {
        CAPTURE(c.file);
        for (std::size_t cut = 0; cut <= c.file.size(); ++cut) {
            std::string out;
            char last = 0;
            transfer::append_as_crlf(out, std::string_view(c.file).substr(0, cut), last);
            transfer::append_as_crlf(out, std::string_view(c.file).substr(cut), last);
            CHECK(out == c.mail);
        }
    }
}

TEST_CASE("what is written with LF comes back as it was; what would not is told before") {
    const std::string mails[] = {"",    "a\r\nb\r\n", "a\rb\r\n", "a\r\nb", "\r\n",
                                 "a\r", "a\r\r\nb",   "a\nb",     "\n",     "\r\r"};
    for (const std::string& mail : mails) {
        CAPTURE(mail);
        for (std::size_t cut = 0; cut <= mail.size(); ++cut) {
            const std::string_view first = std::string_view(mail).substr(0, cut);
            const std::string_view second = std::string_view(mail).substr(cut);
            char last = 0;
            const bool plain = transfer::is_plain_crlf(first, last) && transfer::is_plain_crlf(second, last);
            std::string file;
            bool held_cr = false;
            transfer::append_as_lf(file, first, held_cr);
            transfer::append_as_lf(file, second, held_cr);
            if (held_cr) file += '\r';
            std::string back;
            char before = 0;
            transfer::append_as_crlf(back, file, before);
            if (plain) CHECK(back == mail);
            CHECK(plain == (mail.find("\r\r") == std::string::npos && (back == mail)));
        }
    }
}
