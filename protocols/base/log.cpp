#include "protocols/base/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <memory>
#include <mutex>

#include "protocols/base/ascii.h"

namespace posthouse::log {
namespace {

std::atomic<Level> g_level{Level::warn};

spdlog::level::level_enum to_spdlog(Level level) {
    switch (level) {
        case Level::debug: return spdlog::level::debug;
        case Level::info: return spdlog::level::info;
        case Level::warn: return spdlog::level::warn;
        case Level::error: return spdlog::level::err;
    }
    return spdlog::level::info;
}

std::mutex g_mutex;
std::shared_ptr<spdlog::logger> g_logger;

std::shared_ptr<spdlog::logger> make_logger(spdlog::sink_ptr sink) {
    auto logger = std::make_shared<spdlog::logger>("posthouse", std::move(sink));
    logger->set_level(spdlog::level::trace);
    logger->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
    logger->flush_on(spdlog::level::debug);
    return logger;
}

std::shared_ptr<spdlog::logger> logger() {
    const std::lock_guard lock(g_mutex);
    if (!g_logger) g_logger = make_logger(std::make_shared<spdlog::sinks::stderr_sink_mt>());
    return g_logger;
}

// Bidirectional overrides and isolates (Unicode TR 9): they reorder what a terminal shows.
bool is_bidi_control(std::uint32_t code) {
    return (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) || code == 0x200e ||
           code == 0x200f || code == 0x2028 || code == 0x2029;
}

void append_escaped_octet(std::string& out, char c) {
    constexpr char kHex[] = "0123456789abcdef";
    const auto octet = static_cast<unsigned char>(c);
    out += "\\x";
    out.push_back(kHex[octet >> 4U]);
    out.push_back(kHex[octet & 15U]);
}

std::size_t utf8_length(char lead) {
    const auto octet = static_cast<unsigned char>(lead);
    if (octet >= 0xf0) return 4;
    if (octet >= 0xe0) return 3;
    return 2;
}

void append_escaped_8bit(std::string& out, std::string_view character) {
    if (!ascii::is_valid_utf8(character)) {
        for (const char c : character) append_escaped_octet(out, c);
        return;
    }
    std::uint32_t code = static_cast<unsigned char>(character[0]) & (0xffU >> (character.size() + 1));
    for (const char c : character.substr(1)) code = (code << 6U) | (static_cast<unsigned char>(c) & 0x3fU);
    const bool c1 = code >= 0x80 && code <= 0x9f;
    if (c1 || is_bidi_control(code)) out += fmt::format("\\u{{{:04x}}}", code);
    else out += character;
}

}  // namespace

Result<> open(const std::string& path, Level level) {
    try {
        spdlog::sink_ptr sink;
        if (path.empty()) sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
        else sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(path);
        auto made = make_logger(std::move(sink));
        const std::lock_guard lock(g_mutex);
        g_logger = std::move(made);
    } catch (const spdlog::spdlog_ex& failure) {
        return Error(Errc::io, fmt::format("the log file {} cannot be opened: {}", path, failure.what()));
    }
    set_level(level);
    return {};
}

void set_level(Level level) { g_level.store(level, std::memory_order_relaxed); }

Result<Level> parse_level(std::string_view name) {
    if (name == "debug") return Level::debug;
    if (name == "info") return Level::info;
    if (name == "warn") return Level::warn;
    if (name == "error") return Level::error;
    return Error(Errc::invalid, "log levels are debug, info, warn and error");
}

bool enabled(Level level) { return level >= g_level.load(std::memory_order_relaxed); }

void write(Level level, std::string_view module, std::string_view message) {
    if (!enabled(level)) return;
    const bool cut = message.size() > kLogRecordOctets;
    std::string line = fmt::format("{}: {}", module, escape(message.substr(0, kLogRecordOctets)));
    if (cut) line += " ...";
    logger()->log(to_spdlog(level), "{}", line);
}

std::string escape(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    std::size_t i = 0;
    while (i < text.size()) {
        const char c = text[i];
        if (ascii::is_8bit(c)) {
            const std::string_view character = text.substr(i, utf8_length(c));
            const bool whole = ascii::is_valid_utf8(character);
            append_escaped_8bit(out, whole ? character : text.substr(i, 1));
            i += whole ? character.size() : 1;
            continue;
        }
        if (c == '\n') out += "\\n";
        else if (c == '\r') out += "\\r";
        else if (c == '\t') out += "\\t";
        else if (ascii::is_control(c)) append_escaped_octet(out, c);
        else out.push_back(c);
        ++i;
    }
    return out;
}

}  // namespace posthouse::log
