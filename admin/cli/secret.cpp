#include "admin/cli/secret.h"

#include <fmt/format.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <istream>

#include "protocols/base/random.h"

namespace posthouse::admin {
namespace {

Result<std::string> read_first_line(std::istream& in, std::string_view where) {
    std::string line;
    // One octet more than allowed shows that it is too long without reading on.
    while (line.size() <= kSecretOctetsMax) {
        const int c = in.get();
        if (c == std::char_traits<char>::eof() || c == '\n') break;
        line += static_cast<char>(c);
    }
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty())
        return Error(Errc::invalid, fmt::format("the first line of {} is empty; write the password there", where));
    if (line.size() > kSecretOctetsMax)
        return Error(Errc::too_large, fmt::format("{} is too long for a password", where));
    return line;
}

// The terminal without echo while it lives.
class QuietTerminal {
 public:
    QuietTerminal() {
        ::tcgetattr(STDIN_FILENO, &before_);
        termios quiet = before_;
        quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
        ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    }
    ~QuietTerminal() {
        ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
        std::cerr << '\n';
    }
    QuietTerminal(const QuietTerminal&) = delete;
    QuietTerminal& operator=(const QuietTerminal&) = delete;

 private:
    termios before_{};
};

Result<std::string> ask(std::string_view prompt) {
    std::cerr << prompt << ": " << std::flush;
    const QuietTerminal quiet;
    return read_first_line(std::cin, "your answer");
}

}  // namespace

Result<std::string> read_given_secret(const std::string& file, const char* environment) {
    if (file == "-") return read_first_line(std::cin, "standard input");
    if (!file.empty()) {
        std::ifstream in(file, std::ios::binary);
        if (!in) return Error(Errc::io, fmt::format("{} cannot be read: {}", file, std::strerror(errno)));
        return read_first_line(in, file);
    }
    if (const char* value = std::getenv(environment); value != nullptr && *value != '\0') return std::string(value);
    return Error(Errc::not_found,
                 fmt::format("no password was given; use --password-file FILE or set {}", environment));
}

Result<std::string> read_secret(const std::string& file, const char* environment, std::string_view prompt) {
    auto given = read_given_secret(file, environment);
    if (given || given.error().code != Errc::not_found || ::isatty(STDIN_FILENO) == 0) return given;
    TRY(std::string first, ask(prompt));
    TRY(const std::string second, ask("again"));
    if (first != second) return Error(Errc::invalid, "the two answers differ; run the command again");
    return first;
}

Result<std::string> read_known_secret(const std::string& file, const char* environment, std::string_view prompt) {
    auto given = read_given_secret(file, environment);
    if (given || given.error().code != Errc::not_found || ::isatty(STDIN_FILENO) == 0) return given;
    return ask(prompt);
}

std::string generate_password() {
    const std::string token = system_random().token(20);
    return fmt::format("{}-{}-{}-{}", token.substr(0, 5), token.substr(5, 5), token.substr(10, 5), token.substr(15, 5));
}

}  // namespace posthouse::admin
